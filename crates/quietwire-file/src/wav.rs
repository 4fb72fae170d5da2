//! WAV, read and written here because no maintained crate covers all of it: every depth,
//! `WAVE_FORMAT_EXTENSIBLE`, RF64 beyond 4 GiB, and headers that a pipe leaves unfinished.

mod read;
mod write;

pub(super) use read::{Header, WavReader, read_header};
pub(super) use write::WavWriter;

use super::sample::SampleFormat;

/// `wFormatTag` values.
const TAG_INT: u16 = 1;
const TAG_FLOAT: u16 = 3;
const TAG_EXTENSIBLE: u16 = 0xFFFE;

/// The last 14 bytes of every subformat GUID that wraps a plain format tag.
const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];

/// Body of a `ds64` chunk without a table, and of the `JUNK` chunk that keeps its place.
const DS64_BYTES: u32 = 28;

/// What a WAV `fmt ` chunk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WavSpec {
    pub format: SampleFormat,
    pub rate_hz: u32,
    pub channels: u16,
    /// The speaker mask, where the header is `WAVE_FORMAT_EXTENSIBLE`.
    pub channel_mask: Option<u32>,
}

impl WavSpec {
    fn frame_bytes(&self) -> usize {
        usize::from(self.channels) * self.format.bytes()
    }
}
