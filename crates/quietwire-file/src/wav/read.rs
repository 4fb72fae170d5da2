//! Reads WAV from a source that may be seekable or not.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::FileError;
use crate::sample_format::SampleFormat;
use crate::wav::format::{DS64_BYTES, GUID_TAIL, TAG_EXTENSIBLE, TAG_FLOAT, TAG_INT, WavSpec};

/// Frames of one read.
const BLOCK_FRAMES: usize = 4096;

/// The contents of a WAV header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// Integer or floating-point samples.
    Pcm(WavSpec, DataLength),
    /// A compressed WAV (A-law, mu-law, ADPCM ...), by its format tag.
    Compressed(u16),
}

/// The number of bytes of samples after the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataLength {
    /// Exactly this many.
    Exactly(u64),
    /// At most this many. The header of a pipe has no exact number.
    AtMost(u64),
}

/// Reads a header up to the first sample. The source must start at the `RIFF` mark.
pub(crate) fn read_header(source: &mut impl Read, path: &Path) -> Result<Header, FileError> {
    HeaderReader { source, path }.read()
}

struct HeaderReader<'a, R> {
    source: &'a mut R,
    path: &'a Path,
}

impl<R: Read> HeaderReader<'_, R> {
    fn read(mut self) -> Result<Header, FileError> {
        let [mark, riff_size, wave] = self.words("RIFF mark")?;
        let rf64 = matches!(&mark, b"RF64" | b"BW64");
        if !(rf64 || &mark == b"RIFF") || &wave != b"WAVE" {
            return Err(self.header_error(
                "RIFF mark",
                "RIFF or RF64, then WAVE",
                mark.escape_ascii(),
            ));
        }
        let riff_size = u32::from_le_bytes(riff_size);
        let mut ds64_data = None;
        let mut format = None;
        loop {
            let [id, size] = self.words("chunk list")?;
            let size = u32::from_le_bytes(size);
            match &id {
                b"ds64" => {
                    if size < DS64_BYTES {
                        return Err(self.header_error("ds64 chunk", "28 bytes or more", size));
                    }
                    let [_, _, low, high] = self.words("ds64 chunk")?;
                    let (low, high) = (u32::from_le_bytes(low), u32::from_le_bytes(high));
                    ds64_data = Some(u64::from(high) << 32 | u64::from(low));
                    self.skip(u64::from(size) - 16)?;
                }
                b"fmt " => format = Some(self.format(size)?),
                b"data" => {
                    let Some(format) = format else {
                        return Err(self.header_error(
                            "chunk list",
                            "fmt before data",
                            "data first",
                        ));
                    };
                    let spec = match format {
                        Ok(spec) => spec,
                        Err(tag) => return Ok(Header::Compressed(tag)),
                    };
                    return Ok(Header::Pcm(spec, data_length(size, riff_size, ds64_data)));
                }
                // Chunks are padded to even lengths.
                _ => self.skip(u64::from(size) + u64::from(size % 2))?,
            }
        }
    }

    /// The format, or the tag of a compressed format.
    fn format(&mut self, size: u32) -> Result<Result<WavSpec, u16>, FileError> {
        let mut body = [0; 40];
        let used = body.len().min(size as usize);
        if used < 16 {
            return Err(self.header_error("fmt chunk", "16 bytes or more", size));
        }
        self.fill(&mut body[..used], "fmt chunk")?;
        self.skip(u64::from(size) - used as u64 + u64::from(size % 2))?;
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
                return Ok(Err(tag));
            }
            tag = u16_at(24);
            channel_mask = Some(u32_at(20));
        }
        if !matches!(tag, TAG_INT | TAG_FLOAT) {
            return Ok(Err(tag));
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
        Ok(Ok(WavSpec {
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
                _ => FileError::Read {
                    path: self.path.into(),
                    source: error,
                },
            })
    }

    fn skip(&mut self, bytes: u64) -> Result<(), FileError> {
        // The next read finds the end of a file that ends within this chunk.
        io::copy(&mut self.source.by_ref().take(bytes), &mut io::sink())
            .map(drop)
            .map_err(|source| FileError::Read {
                path: self.path.into(),
                source,
            })
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

/// The length of the data. Programs that write to a pipe cannot return to the header and write the
/// length. Their headers contain all ones (ffmpeg), zero, 2 GiB (arecord) or slightly less (SoX).
fn data_length(size: u32, riff_size: u32, ds64_data: Option<u64>) -> DataLength {
    let near_2_gib = 0x7FFF_0000..=0x8000_0000;
    let unfinished = riff_size == 0 || riff_size == u32::MAX || near_2_gib.contains(&riff_size);
    match (size, ds64_data) {
        (u32::MAX, Some(bytes)) if bytes != 0 && bytes < u64::MAX => DataLength::Exactly(bytes),
        (u32::MAX, _) => DataLength::AtMost(u64::MAX),
        (0, _) if unfinished => DataLength::AtMost(u64::MAX),
        _ if near_2_gib.contains(&size) => DataLength::AtMost(size.into()),
        _ => DataLength::Exactly(size.into()),
    }
}

/// The samples of a WAV file.
pub(crate) struct WavReader {
    source: Box<dyn Read + Send + Sync>,
    path: PathBuf,
    spec: WavSpec,
    length: DataLength,
    bytes: Vec<u8>,
    frames: u64,
}

impl WavReader {
    /// A reader of the samples after a header.
    pub(crate) fn new(
        source: Box<dyn Read + Send + Sync>,
        path: PathBuf,
        spec: WavSpec,
        length: DataLength,
    ) -> Self {
        Self {
            source,
            path,
            spec,
            length,
            bytes: Vec::new(),
            frames: 0,
        }
    }

    /// A reader of samples without a header.
    pub(crate) fn raw(source: Box<dyn Read + Send + Sync>, path: PathBuf, spec: WavSpec) -> Self {
        Self::new(source, path, spec, DataLength::AtMost(u64::MAX))
    }

    /// Frames, if the header states them.
    pub(crate) fn frames(&self) -> Option<u64> {
        match self.length {
            DataLength::Exactly(bytes) => Some(bytes / self.spec.frame_bytes() as u64),
            DataLength::AtMost(_) => None,
        }
    }

    /// Appends the next samples. Returns false at the end.
    pub(crate) fn read(&mut self, samples: &mut Vec<f32>) -> Result<bool, FileError> {
        let frame_bytes = self.spec.frame_bytes() as u64;
        let (DataLength::Exactly(declared) | DataLength::AtMost(declared)) = self.length;
        let left = declared / frame_bytes - self.frames;
        let wanted = left.min(BLOCK_FRAMES as u64) * frame_bytes;
        self.bytes.clear();
        let found = self
            .source
            .by_ref()
            .take(wanted)
            .read_to_end(&mut self.bytes)
            .map_err(|source| FileError::Read {
                path: self.path.clone(),
                source,
            })?;
        // An incomplete frame at the end of a stream is ignored.
        let frames = found as u64 / frame_bytes;
        self.frames += frames;
        if (found as u64) < wanted
            && let Some(expected) = self.frames()
        {
            let found = self.frames;
            return Err(FileError::Truncated {
                path: self.path.clone(),
                expected,
                found,
            });
        }
        self.spec
            .format
            .decode(&self.bytes[..(frames * frame_bytes) as usize], samples);
        Ok(frames > 0)
    }
}
