//! Destinations and formats of cleaned audio.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The destination of the cleaned audio.
pub enum Output {
    /// A file. It appears under this name when it is complete.
    File(PathBuf),
    /// A video: a copy of the input file in which one audio track is cleaned. It holds all
    /// other streams, the chapters and the metadata of the input, as far as its container can. The
    /// cleaned audio has the codec of the input's, if the container can hold it. The programs ffmpeg
    /// and ffprobe must be on the search path, and the input must be a file.
    Video(PathBuf),
    /// A pipe: WAV, or samples without a header when the input is [`Input::Raw`](crate::Input::Raw).
    Stream(Box<dyn Write + Send>),
}

impl Output {
    /// The path, or `stdout` for a pipe: the name in messages.
    pub fn name(&self) -> &Path {
        match self {
            Self::File(path) | Self::Video(path) => path,
            Self::Stream(_) => Path::new("stdout"),
        }
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Output").field(&self.name()).finish()
    }
}

/// The container of an output. Its depth is that of the input; see
/// [`AudioInfo::sample_format`](crate::AudioInfo::sample_format).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OutputFormat {
    /// FLAC when the output's name ends in `.flac`, otherwise WAV.
    #[default]
    Auto,
    /// WAV. A file beyond 4 GiB is RF64.
    Wav,
    /// FLAC. Floats and 32-bit integers become 24-bit integers.
    Flac,
}
