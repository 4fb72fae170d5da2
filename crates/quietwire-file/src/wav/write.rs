//! Writes WAV to a file, whose header is completed at the end, or to a pipe.

use std::io::{self, Write};

use crate::metadata::WavMetadata;
use crate::wav::format::{DS64_BYTES, GUID_TAIL, TAG_EXTENSIBLE, TAG_FLOAT, TAG_INT, WavSpec};

/// Writes a WAV header and the samples after it.
pub(crate) struct WavWriter {
    spec: WavSpec,
    reserve_ds64: bool,
    data_bytes: u64,
    /// chunks before the audio
    before: Vec<u8>,
    /// chunks after the audio
    after: Vec<u8>,
    bytes: Vec<u8>,
}

impl WavWriter {
    /// Writes the header and the metadata before the audio. `frames` is the final length, if it is known.
    pub(crate) fn new(
        spec: WavSpec,
        frames: Option<u64>,
        metadata: WavMetadata,
        out: &mut dyn Write,
    ) -> io::Result<Self> {
        let data_bytes = frames.map(|frames| frames.saturating_mul(spec.frame_bytes() as u64));
        let WavMetadata { before, after, .. } = metadata;
        let metadata_bytes = (before.len() + after.len()) as u64;
        // A short file has the 44-byte header that every program reads.
        let reserve_ds64 =
            data_bytes.is_none_or(|bytes| !fits_riff(bytes.saturating_add(metadata_bytes)));
        let writer = Self {
            spec,
            reserve_ds64,
            data_bytes: 0,
            before,
            after,
            bytes: Vec::new(),
        };
        out.write_all(&writer.header(data_bytes))?;
        Ok(writer)
    }

    /// Writes quantized samples.
    pub(crate) fn write(&mut self, samples: &[f32], out: &mut dyn Write) -> io::Result<()> {
        self.bytes.clear();
        self.spec.format.encode(samples, &mut self.bytes);
        self.data_bytes += self.bytes.len() as u64;
        out.write_all(&self.bytes)
    }

    /// Pads the data to an even length, writes the metadata after the audio and returns the final
    /// header, which has the same length. `late`: chunks that were not known at the start.
    pub(crate) fn finish(mut self, late: &[u8], out: &mut dyn Write) -> io::Result<Vec<u8>> {
        if self.data_bytes % 2 == 1 {
            out.write_all(&[0])?;
        }
        self.after.extend(late);
        out.write_all(&self.after)?;
        Ok(self.header(Some(self.data_bytes)))
    }

    fn header(&self, data_bytes: Option<u64>) -> Vec<u8> {
        header(
            &self.spec,
            data_bytes,
            self.reserve_ds64,
            &self.before,
            self.after.len() as u64,
        )
    }
}

/// Whether the 32-bit sizes of RIFF can represent this length and 1 KiB for the header.
fn fits_riff(data_bytes: u64) -> bool {
    data_bytes < u64::from(u32::MAX) - 1024
}

/// The header for `data_bytes` bytes of samples, or for an unknown number. With a reserved `ds64`
/// chunk its length does not depend on that number. `before`: chunks before the data. `after_bytes`:
/// bytes of the chunks after it.
fn header(
    spec: &WavSpec,
    data_bytes: Option<u64>,
    reserve_ds64: bool,
    before: &[u8],
    after_bytes: u64,
) -> Vec<u8> {
    let metadata_bytes = before.len() as u64 + after_bytes;
    let rf64 = reserve_ds64
        && data_bytes.is_some_and(|bytes| !fits_riff(bytes.saturating_add(metadata_bytes)));
    let frames = data_bytes.map(|bytes| bytes / spec.frame_bytes() as u64);
    let mut h = Vec::with_capacity(128);
    h.extend(if rf64 { b"RF64" } else { b"RIFF" });
    h.extend([0; 4]);
    h.extend(b"WAVE");
    if reserve_ds64 {
        h.extend(if rf64 { b"ds64" } else { b"JUNK" });
        h.extend(DS64_BYTES.to_le_bytes());
        h.extend([0; DS64_BYTES as usize]);
    }
    format_chunk(spec, &mut h);
    if spec.format.is_float() {
        h.extend(b"fact");
        h.extend(4u32.to_le_bytes());
        h.extend(size32(frames).to_le_bytes());
    }
    h.extend(before);
    h.extend(b"data");
    h.extend(size32(data_bytes).to_le_bytes());

    let riff_size = data_bytes.map(|bytes| h.len() as u64 - 8 + bytes + bytes % 2 + after_bytes);
    h[4..8].copy_from_slice(&size32(riff_size).to_le_bytes());
    if rf64 {
        for (value, at) in [riff_size, data_bytes, frames]
            .into_iter()
            .flatten()
            .zip([20, 28, 36])
        {
            h[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
    h
}

fn format_chunk(spec: &WavSpec, h: &mut Vec<u8>) {
    let float = spec.format.is_float();
    let tag = if float { TAG_FLOAT } else { TAG_INT };
    let size: u32 = match spec.channel_mask {
        Some(_) => 40,
        None if float => 18,
        None => 16,
    };
    let frame_bytes = spec.frame_bytes() as u32;
    h.extend(b"fmt ");
    h.extend(size.to_le_bytes());
    h.extend(if size == 40 { TAG_EXTENSIBLE } else { tag }.to_le_bytes());
    h.extend(spec.channels.to_le_bytes());
    h.extend(spec.rate_hz.to_le_bytes());
    h.extend(spec.rate_hz.wrapping_mul(frame_bytes).to_le_bytes());
    h.extend((frame_bytes as u16).to_le_bytes());
    h.extend(spec.format.bits().to_le_bytes());
    if let Some(mask) = spec.channel_mask {
        h.extend(22u16.to_le_bytes());
        h.extend(spec.format.bits().to_le_bytes());
        h.extend(mask.to_le_bytes());
        h.extend(tag.to_le_bytes());
        h.extend(GUID_TAIL);
    } else if float {
        h.extend(0u16.to_le_bytes());
    }
}

/// A 32-bit size. All ones when it is unknown or in the `ds64` chunk.
fn size32(size: Option<u64>) -> u32 {
    size.and_then(|size| u32::try_from(size).ok())
        .unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sample_format::SampleFormat;
    use crate::wav::header::{Format, read_header};

    const SPEC: WavSpec = WavSpec {
        format: SampleFormat::S24,
        rate_hz: 48000,
        channels: 2,
        channel_mask: None,
    };

    fn parse(header: &[u8]) -> (WavSpec, Option<u64>) {
        let header = read_header(&mut &*header, Path::new("x.wav")).unwrap();
        match header.format {
            Format::Pcm(spec) => (spec, header.data_bytes),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_known_short_length_gives_the_plain_header() {
        let header = header(&SPEC, Some(600), false, &[], 0);
        assert_eq!(header.len(), 44);
        assert_eq!(header[4..8], (36u32 + 600).to_le_bytes());
        assert_eq!(parse(&header), (SPEC, Some(600)));
    }

    #[test]
    fn beyond_4_gib_the_reserved_chunk_becomes_ds64() {
        let reserved = header(&SPEC, None, true, &[], 0);
        assert_eq!(parse(&reserved).1, None);
        for bytes in [5u64 << 30, (5 << 30) + 3, 1 << 40] {
            let long = header(&SPEC, Some(bytes), true, &[], 0);
            assert_eq!(long.len(), reserved.len());
            assert_eq!(&long[..4], b"RF64");
            assert_eq!(long[12..16], *b"ds64");
            assert_eq!(
                long[20..28],
                (long.len() as u64 - 8 + bytes + bytes % 2).to_le_bytes()
            );
            assert_eq!(parse(&long), (SPEC, Some(bytes)));
        }
        let short = header(&SPEC, Some(600), true, &[], 0);
        assert_eq!((&short[..4], &short[12..16]), (&b"RIFF"[..], &b"JUNK"[..]));
        assert_eq!(parse(&short), (SPEC, Some(600)));
    }

    #[test]
    fn a_writer_that_passes_4_gib_finishes_as_rf64() {
        let mut out = Vec::new();
        let mut writer = WavWriter::new(SPEC, None, WavMetadata::default(), &mut out).unwrap();
        let reserved = out.len();
        writer.data_bytes = 6 << 30;
        writer.write(&[0.5, -0.5], &mut out).unwrap();
        assert_eq!(out[reserved..], [0, 0, 0x40, 0, 0, 0xC0]);
        let header = writer.finish(&[], &mut out).unwrap();
        assert_eq!(header.len(), reserved);
        assert_eq!(parse(&header), (SPEC, Some((6 << 30) + 6)));
    }

    #[test]
    fn every_spec_comes_back() {
        for format in [
            SampleFormat::U8,
            SampleFormat::S32,
            SampleFormat::F32,
            SampleFormat::F64,
        ] {
            for channel_mask in [None, Some(0x3F)] {
                let spec = WavSpec {
                    format,
                    rate_hz: 44100,
                    channels: 6,
                    channel_mask,
                };
                assert_eq!(parse(&header(&spec, Some(480), false, &[], 0)).0, spec);
            }
        }
    }
}
