//! The audio tracks of a container.

use symphonia::core::codecs::CodecParameters;
use symphonia::core::formats::{FormatReader, Track, TrackFlags};

use crate::matroska::MatroskaTrack;
use crate::mp4::Mp4Track;

/// One audio track of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioTrack {
    /// Its number among the audio tracks, from 1.
    pub number: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its language as the container states it, for example `eng`.
    pub language: Option<String>,
    /// Whether players play it by default.
    pub is_default: bool,
    /// symphonia's id
    pub(crate) id: u32,
}

impl std::fmt::Display for AudioTrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "audio track {}", self.number)?;
        let details = [&self.name, &self.language];
        let details: Vec<_> = details.into_iter().flatten().map(String::as_str).collect();
        match details[..] {
            [] => Ok(()),
            _ => write!(f, " ({})", details.join(", ")),
        }
    }
}

/// The audio tracks of a file, in its order.
pub(crate) fn audio_tracks(
    format: &dyn FormatReader,
    mp4: &[Mp4Track],
    matroska: &[MatroskaTrack],
) -> Vec<AudioTrack> {
    let is_audio = |track: &&Track| {
        matches!(track.codec_params, Some(CodecParameters::Audio(_)))
            || mp4.iter().any(|other| other.id == track.id)
            || matroska
                .iter()
                .any(|other| other.is_audio && other.number == u64::from(track.id))
    };
    let tracks = format.tracks().iter().filter(is_audio).enumerate();
    tracks
        .map(|(index, track)| {
            let mp4 = mp4.iter().find(|other| other.id == track.id);
            let matroska = matroska
                .iter()
                .find(|other| other.number == u64::from(track.id));
            let is_default = match (mp4, matroska) {
                (Some(mp4), _) => mp4.is_enabled,
                (_, Some(matroska)) => matroska.is_default,
                (None, None) => track.flags.contains(TrackFlags::DEFAULT),
            };
            AudioTrack {
                number: index + 1,
                name: matroska.and_then(|track| track.name.clone()),
                language: mp4
                    .and_then(|track| track.language.clone())
                    .or(track.language.clone())
                    .filter(|code| code != "und"),
                is_default,
                id: track.id,
            }
        })
        .collect()
}
