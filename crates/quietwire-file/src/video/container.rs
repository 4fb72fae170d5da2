//! The containers of videos, and the audio codecs that they hold.

use std::path::Path;

use crate::video::probe::Stream;

/// A container that ffmpeg writes.
#[derive(Debug)]
pub(super) struct Container {
    extensions: &'static [&'static str],
    /// The usual name.
    pub name: &'static str,
    /// ffmpeg's name.
    pub muxer: &'static str,
    /// Whether it is of the QuickTime family: it has a track for the time code, and a table of keys for
    /// the metadata of vendors.
    pub is_quicktime: bool,
    /// Codecs that it holds. The first one replaces a codec that it does not hold.
    codecs: &'static [Codec],
}

/// An audio codec.
#[derive(Debug)]
pub(super) struct Codec {
    /// ffmpeg's name.
    pub name: &'static str,
    /// ffmpeg's name of the encoder.
    pub encoder: &'static str,
    /// Highest bit rate for one channel and for all, bit/s. `None` for a lossless codec.
    max_bits_per_s: Option<(u64, u64)>,
}

const fn lossy(name: &'static str, encoder: &'static str, max_bits_per_s: u64) -> Codec {
    Codec {
        name,
        encoder,
        max_bits_per_s: Some((MAX_CHANNEL_BITS_PER_S, max_bits_per_s)),
    }
}

const fn lossless(name: &'static str) -> Codec {
    Codec {
        name,
        encoder: name,
        max_bits_per_s: None,
    }
}

/// Lowest bit rate for one channel, bit/s. The audio is encoded a second time, so it is not low.
const MIN_CHANNEL_BITS_PER_S: u64 = 96_000;
const MAX_CHANNEL_BITS_PER_S: u64 = 256_000;

const AAC: Codec = lossy("aac", "aac", 2_048_000);
const OPUS: Codec = lossy("opus", "libopus", 510_000);
const VORBIS: Codec = lossy("vorbis", "libvorbis", 2_048_000);
const MP3: Codec = lossy("mp3", "libmp3lame", 320_000);
const AC3: Codec = lossy("ac3", "ac3", 640_000);
const EAC3: Codec = lossy("eac3", "eac3", 2_048_000);
const ALAC: Codec = lossless("alac");
const FLAC: Codec = lossless("flac");

const CONTAINERS: &[Container] = &[
    Container {
        extensions: &["mp4", "m4v"],
        name: "MP4",
        muxer: "mp4",
        is_quicktime: true,
        codecs: &[AAC, OPUS, MP3, AC3, EAC3, ALAC, FLAC],
    },
    Container {
        extensions: &["mov"],
        name: "MOV",
        muxer: "mov",
        is_quicktime: true,
        codecs: &[
            AAC,
            MP3,
            AC3,
            EAC3,
            ALAC,
            lossless("pcm_s16le"),
            lossless("pcm_s16be"),
            lossless("pcm_s24le"),
            lossless("pcm_s24be"),
            lossless("pcm_f32le"),
            lossless("pcm_f32be"),
        ],
    },
    Container {
        extensions: &["mkv"],
        name: "Matroska",
        muxer: "matroska",
        is_quicktime: false,
        codecs: &[
            AAC,
            OPUS,
            VORBIS,
            MP3,
            AC3,
            EAC3,
            ALAC,
            FLAC,
            lossless("pcm_s16le"),
            lossless("pcm_s24le"),
            lossless("pcm_f32le"),
        ],
    },
    Container {
        extensions: &["webm"],
        name: "WebM",
        muxer: "webm",
        is_quicktime: false,
        codecs: &[OPUS, VORBIS],
    },
];

/// Whether a name ends in the extension of a video that [`Output::Video`](crate::Output::Video) can be.
pub fn has_video_extension(path: &Path) -> bool {
    Container::of(path).is_some()
}

impl Container {
    /// The container that a name stands for.
    pub(super) fn of(path: &Path) -> Option<&'static Self> {
        let extension = path.extension()?.to_string_lossy().to_lowercase();
        CONTAINERS
            .iter()
            .find(|container| container.extensions.contains(&extension.as_str()))
    }

    /// The codec of the cleaned audio: that of the input, if the container holds it.
    pub(super) fn codec(&self, input: Option<&str>) -> &'static Codec {
        let same = self.codecs.iter().find(|codec| Some(codec.name) == input);
        same.unwrap_or(&self.codecs[0])
    }
}

impl Codec {
    /// The bit rate: that of the input, within the limits of the codec. `None` for a lossless codec.
    pub(super) fn bits_per_s(&self, input: &Stream) -> Option<u64> {
        let (max_channel, max) = self.max_bits_per_s?;
        let channels = input.channels.unwrap_or(1).max(1);
        let found = input.bit_rate.as_deref().and_then(|rate| rate.parse().ok());
        let wanted = found.unwrap_or(0).max(MIN_CHANNEL_BITS_PER_S * channels);
        Some(wanted.min(max_channel * channels).min(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_stays_where_the_container_holds_it() {
        let codec = |name: &str, input| Container::of(Path::new(name)).unwrap().codec(input).name;
        assert_eq!(codec("a.mp4", Some("aac")), "aac");
        assert_eq!(codec("a.MOV", Some("pcm_s16le")), "pcm_s16le");
        assert_eq!(codec("a.mp4", Some("pcm_s16le")), "aac");
        assert_eq!(codec("a.mkv", Some("flac")), "flac");
        assert_eq!(codec("a.webm", Some("aac")), "opus");
        assert_eq!(codec("a.mkv", None), "aac");
        for name in ["a.wav", "mp4", "a.mp3"] {
            assert!(!has_video_extension(Path::new(name)), "{name}");
        }
    }
}
