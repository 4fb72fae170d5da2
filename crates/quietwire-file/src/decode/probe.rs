//! Finds the demuxer of a file and its audio track.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::*;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;

use crate::decode::not_audio::{no_index, not_audio};
use crate::error::FileError;
use crate::extended::{self, Extended};
use crate::matroska::{self, Matroska};
use crate::metadata::Chapter;
use crate::mp3::{self, Mp3Header};
use crate::mp4::{self, Mp4Track};
use crate::overlay::Overlay;
use crate::section::Section;
use crate::speaker_layout;
use crate::track::AudioTrack;
use crate::trailing_tags::{self, TrailingTags};

/// What the helpers of this crate found in the file before symphonia read it.
pub(super) struct Probed {
    pub mp4: Vec<Mp4Track>,
    pub has_index: bool,
    /// speaker layout of a CAF
    pub caf_layout: Option<Vec<u8>>,
    pub matroska: Matroska,
    /// positions and bytes that symphonia must read in place of the file's
    pub replaced: Vec<(u64, Vec<u8>)>,
    pub mp3: Option<Mp3Header>,
    pub id3: Option<Vec<u8>>,
    /// tags behind the audio of an MP3
    pub trailing: Option<TrailingTags>,
    /// bytes of a seekable file
    pub bytes: Option<u64>,
    /// bytes that the container states
    pub stated_bytes: Option<u64>,
    pub chapters: Vec<Chapter>,
}

impl Probed {
    /// Leaves the source at its start.
    pub(super) fn new(source: &mut dyn MediaSource, head: &[u8]) -> Self {
        let mut probed = Self {
            mp4: Vec::new(),
            has_index: true,
            caf_layout: None,
            matroska: Matroska::default(),
            replaced: Vec::new(),
            mp3: None,
            id3: None,
            trailing: None,
            bytes: None,
            stated_bytes: None,
            chapters: Vec::new(),
        };
        if source.is_seekable() {
            probed.bytes = source.byte_len();
            let is_mp4 = mp4::is_mp4(head);
            probed.stated_bytes = extended::stated_end(source, head, is_mp4);
            let chapters = mp4::chapters(source, head).into_iter();
            probed.chapters = chapters
                .map(|(start_s, title)| Chapter { start_s, title })
                .collect();
            match mp4::tracks(source, head) {
                Ok(tracks) => probed.mp4 = tracks,
                Err(mp4::NoIndex) => probed.has_index = false,
            }
            probed.caf_layout = speaker_layout::of_caf(source, head);
            probed.matroska = matroska::read(source, head);
            probed.replaced.append(&mut probed.matroska.replaced);
            // symphonia refuses PCM with more than two channels in QuickTime.
            let surround = probed.mp4.iter().filter_map(|track| track.pcm_channels);
            let surround = surround.filter(|(channels, _)| *channels > 2);
            let stereo = surround.map(|(_, at)| (at, vec![0, 2]));
            probed.replaced.extend(stereo);
            let chapters = std::mem::take(&mut probed.matroska.chapters).into_iter();
            let chapters = chapters.map(|(start_s, title)| Chapter { start_s, title });
            probed.chapters.extend(chapters);
            if mp3::may_be_mp3(head) {
                probed.mp3 = mp3::header(source);
                probed.id3 = mp3::id3_tag(source);
                probed.trailing = trailing_tags::read(source);
            }
        }
        probed
    }
}

/// symphonia takes the samples of some QuickTime types for little-endian.
pub(super) fn big_endian(sample_type: [u8; 4], codec: AudioCodecId) -> AudioCodecId {
    match (&sample_type, codec) {
        (b"in24", CODEC_ID_PCM_S24LE) => CODEC_ID_PCM_S24BE,
        (b"in32", CODEC_ID_PCM_S32LE) => CODEC_ID_PCM_S32BE,
        (b"fl32", CODEC_ID_PCM_F32LE) => CODEC_ID_PCM_F32BE,
        (b"fl64", CODEC_ID_PCM_F64LE) => CODEC_ID_PCM_F64BE,
        (_, codec) => codec,
    }
}

/// Finds the demuxer.
pub(super) fn probe(
    source: Box<dyn MediaSource>,
    path: &Path,
    head: &[u8],
    probed: &Probed,
) -> Result<Box<dyn FormatReader>, FileError> {
    let mut hint = Hint::new();
    if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
        hint.with_extension(extension);
    }
    let source = match &probed.trailing {
        Some(tags) if probed.bytes.is_some_and(|bytes| tags.audio_end < bytes) => {
            let section = Section::new(source, 0, Some(tags.audio_end));
            Box::new(section.map_err(|source| FileError::Read {
                path: path.into(),
                source,
            })?)
        }
        _ => source,
    };
    let is_probing = Arc::new(AtomicBool::new(true));
    let source: Box<dyn MediaSource> =
        match (probed.bytes, probed.stated_bytes, &probed.replaced[..]) {
            (Some(bytes), Some(stated), _) if bytes < stated => Box::new(Extended::new(
                source,
                bytes,
                stated,
                Arc::clone(&is_probing),
            )),
            (_, _, []) => source,
            (_, _, replaced) => Box::new(Overlay::new(source, replaced.to_vec())),
        };
    let stream = MediaSourceStream::new(source, Default::default());
    let (fmt, meta) = (FormatOptions::default(), MetadataOptions::default());
    let format = symphonia::default::get_probe().probe(&hint, stream, fmt, meta);
    is_probing.store(false, Ordering::Relaxed);
    format.map_err(|error| match probed.has_index {
        true => not_audio(error, path, head),
        false => no_index(path),
    })
}

/// The track with this number, or the default track.
pub(super) fn choose<'a>(
    tracks: &'a [AudioTrack],
    number: Option<usize>,
    path: &Path,
) -> Result<&'a AudioTrack, FileError> {
    let chosen = match number {
        Some(number) => tracks.iter().find(|track| track.number == number),
        None => tracks
            .iter()
            .find(|track| track.is_default)
            .or(tracks.first()),
    };
    chosen.ok_or_else(|| match number.filter(|_| !tracks.is_empty()) {
        Some(found) => FileError::Track {
            path: path.into(),
            found,
            tracks: tracks.len(),
        },
        None => FileError::Unsupported {
            path: path.into(),
            what: "a file without an audio track".into(),
        },
    })
}
