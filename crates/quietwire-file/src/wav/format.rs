//! The contents of a WAV `fmt ` chunk.

use crate::sample_format::SampleFormat;

/// `wFormatTag` of integer samples.
pub(super) const TAG_INT: u16 = 1;
/// `wFormatTag` of floating-point samples.
pub(super) const TAG_FLOAT: u16 = 3;
/// `wFormatTag` of `WAVE_FORMAT_EXTENSIBLE`: a GUID holds the format.
pub(super) const TAG_EXTENSIBLE: u16 = 0xFFFE;

/// The last 14 bytes of every subformat GUID that contains a format tag.
pub(super) const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];

/// Bytes of a `ds64` chunk without a table (EBU Tech 3306), and of the `JUNK` chunk that reserves its
/// place.
pub(super) const DS64_BYTES: u32 = 28;

/// The contents of a WAV `fmt ` chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WavSpec {
    pub format: SampleFormat,
    pub rate_hz: u32,
    pub channels: u16,
    /// The speaker mask of a `WAVE_FORMAT_EXTENSIBLE` header.
    pub channel_mask: Option<u32>,
}

impl WavSpec {
    pub(super) fn frame_bytes(&self) -> usize {
        usize::from(self.channels) * self.format.bytes()
    }
}
