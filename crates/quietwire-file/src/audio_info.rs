//! The format and length of an audio file.

use crate::sample_format::SampleFormat;

/// The format and length of an input or output.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct AudioInfo {
    /// The container, for example `WAV` or `Ogg`.
    pub container: String,
    /// The codec, for example `pcm` or `opus`.
    pub codec: String,
    /// Sample rate, Hz.
    pub rate_hz: u32,
    /// Channels.
    pub channels: u16,
    /// Format of one sample. For a lossy codec, the format that it is decoded to: 16 bits.
    pub sample_format: SampleFormat,
    /// Length in frames, if the header states it. See [`frames_exact`](Self::frames_exact).
    pub frames: Option<u64>,
    /// Whether [`frames`](Self::frames) is exact. Otherwise it is an estimate.
    pub frames_exact: bool,
    /// The speaker mask of a `WAVE_FORMAT_EXTENSIBLE` header.
    #[serde(skip)]
    pub channel_mask: Option<u32>,
}
