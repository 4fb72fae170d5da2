//! Reads the header of a WAV, RF64 or W64 file up to the first sample.

use std::io::{self, Read};
use std::path::Path;

use crate::error::FileError;
use crate::sample_format::SampleFormat;
use crate::wav::chunk::Chunks;
use crate::wav::format::{DS64_BYTES, GUID_TAIL, TAG_EXTENSIBLE, TAG_FLOAT, TAG_INT, WavSpec};

/// The first bytes of a W64 file: the GUID of its RIFF chunk.
pub(crate) const W64_RIFF: [u8; 16] = [
    b'r', b'i', b'f', b'f', 0x2E, 0x91, 0xCF, 0x11, 0xA5, 0xD6, 0x28, 0xDB, 0x04, 0xC1, 0, 0,
];

/// The contents of a header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub format: Format,
    /// `RF64`, `W64` or `WAV`.
    pub container: &'static str,
    /// Bytes of samples. `None`: the header states none.
    pub data_bytes: Option<u64>,
    /// Bytes of the file before the first sample.
    pub start: u64,
    /// The metadata before the audio.
    pub chunks: Chunks,
}

impl Header {
    /// The name in reports. RF64 is a WAV with longer sizes.
    pub(crate) fn name(&self) -> &'static str {
        match self.container {
            "W64" => "W64",
            _ => "WAV",
        }
    }
}

/// The format of the samples.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Integer or floating-point samples.
    Pcm(WavSpec),
    /// A compressed WAV (A-law, mu-law, ADPCM ...), by its format tag.
    Compressed(u16),
}

/// Reads a header up to the first sample. The source must start at the `RIFF` mark.
pub(crate) fn read_header(source: &mut impl Read, path: &Path) -> Result<Header, FileError> {
    let reader = HeaderReader {
        source,
        path,
        at: 0,
        chunks: Chunks::default(),
    };
    reader.read()
}

struct HeaderReader<'a, R> {
    source: &'a mut R,
    path: &'a Path,
    /// bytes read
    at: u64,
    chunks: Chunks,
}

impl<R: Read> HeaderReader<'_, R> {
    fn read(mut self) -> Result<Header, FileError> {
        let [mark] = self.words("RIFF mark")?;
        let container = match &mark {
            b"RIFF" => "WAV",
            b"RF64" | b"BW64" => "RF64",
            b"riff" => "W64",
            _ => return Err(self.mark_error(mark)),
        };
        let is_w64 = container == "W64";
        // W64: the rest of the GUID, a 64-bit size, the GUID `wave`.
        let mut rest = [0; 36];
        let rest = &mut rest[..if is_w64 { 36 } else { 8 }];
        self.fill(rest, "RIFF mark")?;
        let (wave, riff_size) = match is_w64 {
            true => (&rest[20..24], u32::MAX - 1),
            false => (
                &rest[4..8],
                u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]),
            ),
        };
        if wave != if is_w64 { b"wave" } else { b"WAVE" } {
            return Err(self.mark_error(mark));
        }
        let mut ds64_data = None;
        let mut format = None;
        loop {
            let (id, size) = match is_w64 {
                true => self.w64_chunk()?,
                false => {
                    let [id, size] = self.words("chunk list")?;
                    (id, u64::from(u32::from_le_bytes(size)))
                }
            };
            // Chunks are padded to even lengths, those of W64 to multiples of 8.
            let padding = size.wrapping_neg() % if is_w64 { 8 } else { 2 };
            match &id {
                b"ds64" => {
                    if size < u64::from(DS64_BYTES) {
                        return Err(self.header_error("ds64 chunk", "28 bytes or more", size));
                    }
                    let [_, _, low, high] = self.words("ds64 chunk")?;
                    let (low, high) = (u32::from_le_bytes(low), u32::from_le_bytes(high));
                    ds64_data = Some(u64::from(high) << 32 | u64::from(low));
                    self.skip(size - 16 + padding)?;
                }
                b"fmt " => format = Some(self.format(size, padding)?),
                b"data" => {
                    let Some(format) = format else {
                        return Err(self.header_error(
                            "chunk list",
                            "fmt before data",
                            "data first",
                        ));
                    };
                    let data_bytes = match (is_w64, u32::try_from(size)) {
                        (true, _) => Some(size),
                        (false, Ok(size)) => stated_length(size, riff_size, ds64_data),
                        (false, Err(_)) => None,
                    };
                    return Ok(Header {
                        format,
                        container,
                        data_bytes,
                        start: self.at,
                        chunks: self.chunks,
                    });
                }
                _ => {
                    let found = self
                        .chunks
                        .read(&mut self.source, id, size, padding)
                        .map_err(|error| self.read_error(error))?;
                    self.at += found;
                }
            }
        }
    }

    /// The name and the size of the next chunk of a W64 file: a GUID that starts with the name, and a
    /// size that includes these 24 bytes.
    fn w64_chunk(&mut self) -> Result<([u8; 4], u64), FileError> {
        let [id, _, _, _, low, high] = self.words("chunk list")?;
        let size = u64::from(u32::from_le_bytes(high)) << 32 | u64::from(u32::from_le_bytes(low));
        match size.checked_sub(24) {
            Some(size) => Ok((id, size)),
            None => Err(self.header_error("chunk list", "24 bytes or more", size)),
        }
    }

    fn format(&mut self, size: u64, padding: u64) -> Result<Format, FileError> {
        let mut body = [0; 40];
        let used = body.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        if used < 16 {
            return Err(self.header_error("fmt chunk", "16 bytes or more", size));
        }
        self.fill(&mut body[..used], "fmt chunk")?;
        self.skip(size - used as u64 + padding)?;
        let u16_at = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
        let u32_at =
            |at: usize| u32::from_le_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);

        let mut tag = u16_at(0);
        let mut channel_mask = None;
        if tag == TAG_EXTENSIBLE {
            if used < 40 {
                return Err(self.header_error(
                    "fmt chunk",
                    "40 bytes for WAVE_FORMAT_EXTENSIBLE",
                    size,
                ));
            }
            if body[26..40] != GUID_TAIL {
                return Ok(Format::Compressed(tag));
            }
            tag = u16_at(24);
            channel_mask = Some(u32_at(20));
        }
        if !matches!(tag, TAG_INT | TAG_FLOAT) {
            return Ok(Format::Compressed(tag));
        }
        let (channels, rate_hz) = (u16_at(2), u32_at(4));
        let (frame_bytes, bits) = (u16_at(12), u16_at(14));
        if channels == 0 {
            return Err(self.header_error("channels", "1 or more", channels));
        }
        if rate_hz == 0 {
            return Err(self.header_error("sample rate", "1 Hz or more", rate_hz));
        }
        let bytes = frame_bytes / channels;
        if frame_bytes % channels != 0 || bits == 0 || bits > 8 * bytes {
            let found = format!("{frame_bytes} for {channels} channels of {bits} bits");
            return Err(self.header_error(
                "bytes per frame",
                "whole samples of every channel",
                found,
            ));
        }
        let format = match (tag, bytes) {
            (TAG_INT, 1) => SampleFormat::U8,
            (TAG_INT, 2) => SampleFormat::S16,
            (TAG_INT, 3) => SampleFormat::S24,
            (TAG_INT, 4) => SampleFormat::S32,
            (TAG_FLOAT, 4) => SampleFormat::F32,
            (TAG_FLOAT, 8) => SampleFormat::F64,
            _ => {
                let kind = if tag == TAG_INT { "integer" } else { "float" };
                let what = format!("{}-bit {kind} WAV", u32::from(bytes) * 8);
                return Err(FileError::Unsupported {
                    path: self.path.into(),
                    what,
                });
            }
        };
        Ok(Format::Pcm(WavSpec {
            format,
            rate_hz,
            channels,
            channel_mask,
        }))
    }

    fn words<const N: usize>(&mut self, field: &'static str) -> Result<[[u8; 4]; N], FileError> {
        let mut words = [[0; 4]; N];
        self.fill(words.as_flattened_mut(), field)?;
        Ok(words)
    }

    fn fill(&mut self, bytes: &mut [u8], field: &'static str) -> Result<(), FileError> {
        self.source
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.header_error(
                    field,
                    "a header with a fmt and a data chunk",
                    "the end of the file",
                ),
                _ => self.read_error(error),
            })?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), FileError> {
        // The next read finds the end of a file that ends within this chunk.
        let skipped = io::copy(&mut self.source.by_ref().take(bytes), &mut io::sink());
        self.at += skipped.map_err(|error| self.read_error(error))?;
        Ok(())
    }

    fn read_error(&self, source: io::Error) -> FileError {
        FileError::Read {
            path: self.path.into(),
            source,
        }
    }

    fn mark_error(&self, mark: [u8; 4]) -> FileError {
        self.header_error("RIFF mark", "RIFF or RF64, then WAVE", mark.escape_ascii())
    }

    fn header_error(
        &self,
        field: &'static str,
        expected: &'static str,
        found: impl ToString,
    ) -> FileError {
        FileError::Wav {
            path: self.path.into(),
            field,
            expected,
            found: found.to_string(),
        }
    }
}

/// The bytes of samples that the sizes of a header state. Programs that write to a pipe cannot return
/// to the header and write the length. Their headers contain all ones (ffmpeg), zero, 2 GiB (arecord)
/// or slightly less (SoX).
fn stated_length(size: u32, riff_size: u32, ds64_data: Option<u64>) -> Option<u64> {
    let near_2_gib = 0x7FFF_0000..=0x8000_0000;
    let unfinished = riff_size == 0 || riff_size == u32::MAX || near_2_gib.contains(&riff_size);
    match (size, ds64_data) {
        (u32::MAX, Some(bytes)) if bytes != 0 && bytes < u64::MAX => Some(bytes),
        (u32::MAX, _) => None,
        (0, _) if unfinished => None,
        _ if near_2_gib.contains(&size) => None,
        _ => Some(size.into()),
    }
}
