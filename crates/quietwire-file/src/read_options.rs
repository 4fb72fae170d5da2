//! The choices that an input with several possible readings leaves.

/// How an input is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The audio track of a container, counted from 1. `None`: the default track.
    pub track: Option<usize>,
    /// Whether the program `ffmpeg` decodes what this library cannot decode.
    pub via_ffmpeg: bool,
}
