//! Sources of audio.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::sample_format::SampleFormat;

/// A source of audio.
pub enum Input {
    /// A file, or the path of a pipe or device, which is read like [`Stream`](Self::Stream).
    File(PathBuf),
    /// A pipe. Formats whose demuxer must seek are refused; WAV, FLAC, MP3 and Ogg need no seeking.
    Stream(Box<dyn Read + Send + Sync>),
    /// A pipe with interleaved little-endian samples and no header.
    Raw {
        /// The pipe.
        source: Box<dyn Read + Send + Sync>,
        /// Format of one sample.
        format: SampleFormat,
        /// Sample rate, Hz.
        rate_hz: u32,
        /// Interleaved channels.
        channels: u16,
    },
}

impl Input {
    /// The path, or `stdin` for a pipe: the name in messages.
    pub fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Stream(_) | Self::Raw { .. } => Path::new("stdin"),
        }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Input").field(&self.name()).finish()
    }
}
