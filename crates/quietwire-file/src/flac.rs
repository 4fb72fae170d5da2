//! Reads FLAC frame by frame. Read here because symphonia loses the last frame when a tag follows it.

pub(crate) mod block;

use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use flac_codec::Error;
use flac_codec::decode::FlacSampleReader;
use flac_codec::metadata::Metadata;
use symphonia::core::checksum::Md5;
use symphonia::core::io::Monitor;

use crate::audio_info::AudioInfo;
use crate::error::FileError;
use crate::flac::block::{Block, STREAMINFO, VORBIS_COMMENT, read_blocks};
use crate::note::Note;
use crate::sample_format::SampleFormat;
use crate::speaker_layout::default_mask;

/// Bytes of a `STREAMINFO` block (RFC 9639, section 8.2).
const STREAMINFO_BYTES: usize = 34;
/// Bytes after the last frame that are examined.
const MAX_TAG_BYTES: u64 = 1 << 20;
type Source = BufReader<Box<dyn Read + Send + Sync>>;

/// The samples of a FLAC file.
pub(crate) struct FlacReader {
    path: PathBuf,
    /// `None` after the end
    decoder: Option<FlacSampleReader<Chain<Cursor<Vec<u8>>, Lent>>>,
    /// the source, given back by the decoder
    home: Arc<Mutex<Option<Source>>>,
    bits: u32,
    channels: usize,
    rate_hz: u32,
    total: Option<u64>,
    frames: u64,
    md5: Option<([u8; 16], Md5)>,
    blocks: Vec<Block>,
    notes: Vec<Note>,
}

/// The source while the decoder has it. Given back when the decoder is dropped.
struct Lent {
    source: Option<Source>,
    home: Arc<Mutex<Option<Source>>>,
}

impl Read for Lent {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Some(source) => source.read(bytes),
            None => Ok(0),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Ok(mut home) = self.home.lock() {
            *home = self.source.take();
        }
    }
}

/// Whether the first bytes are those of a FLAC file without a tag in front of it.
pub(crate) fn is_flac(head: &[u8]) -> bool {
    head.starts_with(b"fLaC")
}

impl FlacReader {
    /// Reads the metadata blocks. The source must start at the `fLaC` mark or at an ID3v2 tag in front
    /// of it.
    pub(crate) fn open(
        source: Box<dyn Read + Send + Sync>,
        path: &Path,
    ) -> Result<(Self, AudioInfo), FileError> {
        let mut source = BufReader::with_capacity(1 << 16, source);
        let blocks = read_blocks(&mut source).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => FileError::Corrupt {
                path: path.into(),
                at_s: 0.0,
                reason: "the metadata blocks of the FLAC file are broken or cut off".into(),
            },
            _ => FileError::Read {
                path: path.into(),
                source: error,
            },
        })?;
        let corrupt = || FileError::Corrupt {
            path: path.into(),
            at_s: 0.0,
            reason: "the FLAC file has no valid STREAMINFO block".into(),
        };
        let info = blocks
            .iter()
            .find(|block| block.kind == STREAMINFO)
            .and_then(|block| <[u8; STREAMINFO_BYTES]>::try_from(&block.body[..]).ok())
            .ok_or_else(corrupt)?;
        // The decoder gets this block only: it is stricter than needed with the others. It gets no
        // length: the bytes after the last frame are examined here.
        let mut head = b"fLaC\x80\x00\x00\x22".to_vec();
        head.extend(info);
        let total = u64::from_be_bytes([
            0,
            0,
            0,
            info[13] & 0xF,
            info[14],
            info[15],
            info[16],
            info[17],
        ]);
        let total = Some(total).filter(|&total| total > 0);
        head[8 + 13] &= 0xF0;
        head[8 + 14..8 + 18].fill(0);
        let home = Arc::new(Mutex::new(None));
        let lent = Lent {
            source: Some(source),
            home: Arc::clone(&home),
        };
        let decoder =
            FlacSampleReader::new(Cursor::new(head).chain(lent)).map_err(|_| corrupt())?;
        let (bits, channels) = (decoder.bits_per_sample(), decoder.channel_count());
        let rate_hz = decoder.sample_rate();
        let md5 = decoder.md5().map(|&expected| (expected, Md5::default()));
        let info_channels = u16::from(channels);
        let reader = Self {
            path: path.into(),
            decoder: Some(decoder),
            home,
            bits,
            channels: channels.into(),
            rate_hz,
            total,
            frames: 0,
            md5,
            blocks,
            notes: Vec::new(),
        };
        let info = AudioInfo {
            container: "FLAC".into(),
            codec: "flac".into(),
            rate_hz,
            channels: info_channels,
            sample_format: match bits {
                25.. => SampleFormat::S32,
                17..=24 => SampleFormat::S24,
                1..=8 => SampleFormat::U8,
                _ => SampleFormat::S16,
            },
            frames: total,
            frames_exact: total.is_some(),
            channel_mask: reader.channel_mask(),
        };
        Ok((reader, info))
    }

    /// The metadata blocks.
    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Facts about the file. Complete at the end of the audio.
    pub(crate) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The speaker mask of more than two channels: that of the tag
    /// `WAVEFORMATEXTENSIBLE_CHANNEL_MASK` (RFC 9639, section 8.6.2), or the default.
    fn channel_mask(&self) -> Option<u32> {
        let comments = self
            .blocks
            .iter()
            .find(|block| block.kind == VORBIS_COMMENT);
        let tag = comments.and_then(|block| {
            let marker = b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x";
            let at = block
                .body
                .windows(marker.len())
                .position(|window| window.eq_ignore_ascii_case(marker))?;
            let digits = block.body[at + marker.len()..].iter();
            let digits: String = digits
                .take_while(|byte| byte.is_ascii_hexdigit())
                .map(|&byte| char::from(byte))
                .collect();
            u32::from_str_radix(&digits, 16).ok()
        });
        tag.or(default_mask(self.channels))
            .filter(|_| self.channels > 2)
    }

    /// Appends the samples of the next frame. Returns false at the end.
    pub(crate) fn read(&mut self, samples: &mut Vec<f32>) -> Result<bool, FileError> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(false);
        };
        let decoded = match decoder.fill_buf() {
            Ok([]) => {
                self.end()?;
                return Ok(false);
            }
            Ok(decoded) => decoded,
            Err(error) => {
                self.end_at(error)?;
                return Ok(false);
            }
        };
        let (count, frames) = (decoded.len(), (decoded.len() / self.channels) as u64);
        if self.total == Some(self.frames) {
            let at_s = self.frames as f64 / f64::from(self.rate_hz);
            let reason = format!("its header states {} frames, more follow", self.frames);
            self.notes.push(Note::Stopped { at_s, reason });
            self.decoder = None;
            return Ok(false);
        }
        if let Some((_, md5)) = &mut self.md5 {
            hash(md5, decoded, self.bits);
        }
        let scale = 2f64.powi(self.bits as i32 - 1).recip();
        samples.extend(decoded.iter().map(|&s| (f64::from(s) * scale) as f32));
        decoder.consume(count);
        self.frames += frames;
        Ok(true)
    }

    /// The end of the source after a whole frame.
    fn end(&mut self) -> Result<(), FileError> {
        self.decoder = None;
        if let Some(expected) = self.total.filter(|&total| total > self.frames) {
            return self.truncated(Some(expected));
        }
        match &self.md5 {
            Some((expected, md5)) if *expected != md5.md5() => {
                Err(self.corrupt("the checksum of the samples does not match the header's"))
            }
            _ => Ok(()),
        }
    }

    /// The bytes at the present position are no frame.
    fn end_at(&mut self, error: Error) -> Result<(), FileError> {
        self.decoder = None;
        let source = self.home.lock().ok().and_then(|mut home| home.take());
        let is_complete = self.total == Some(self.frames);
        match error {
            _ if is_complete => self.end(),
            Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.truncated(self.total)
            }
            Error::Io(source) => Err(FileError::Read {
                path: self.path.clone(),
                source,
            }),
            // Without a length, what is no frame may be a tag or padding after the last frame.
            Error::InvalidSyncCode if self.total.is_none() => self.end_at_tag(source),
            _ => Err(self.corrupt("a frame of the FLAC file cannot be decoded")),
        }
    }

    fn end_at_tag(&mut self, source: Option<Source>) -> Result<(), FileError> {
        let mut head = Vec::new();
        let failed = |source| FileError::Read {
            path: self.path.clone(),
            source,
        };
        let mut source = source
            .into_iter()
            .fold(Box::new(io::empty()) as Box<dyn Read>, |_, s| Box::new(s));
        source
            .by_ref()
            .take(MAX_TAG_BYTES)
            .read_to_end(&mut head)
            .map_err(failed)?;
        // The decoder has read the first two bytes.
        let is_tag = [&b"G"[..], b"3\x02", b"3\x03", b"3\x04", b"ETAGEX"]
            .iter()
            .any(|mark| head.starts_with(mark));
        let is_zero = head.iter().all(|&byte| byte == 0);
        if is_tag || is_zero {
            return self.end();
        }
        if head
            .windows(2)
            .any(|pair| pair[0] == 0xFF && pair[1] & 0xFE == 0xF8)
        {
            return Err(self.corrupt("a frame of the FLAC file cannot be decoded"));
        }
        let rest = io::copy(&mut source, &mut io::sink()).map_err(failed)?;
        let bytes = 2 + head.len() as u64 + rest;
        self.notes.push(Note::TrailingBytes { bytes });
        self.end()
    }

    fn truncated(&mut self, expected: Option<u64>) -> Result<(), FileError> {
        let found = self.frames;
        self.notes.push(Note::Truncated { expected, found });
        Ok(())
    }

    fn corrupt(&self, reason: &str) -> FileError {
        FileError::Corrupt {
            path: self.path.clone(),
            at_s: self.frames as f64 / f64::from(self.rate_hz.max(1)),
            reason: reason.into(),
        }
    }
}

/// Adds samples to the checksum of a FLAC file: little-endian, in whole bytes (RFC 9639, section 8.2).
fn hash(md5: &mut Md5, samples: &[i32], bits: u32) {
    let width = bits.div_ceil(8) as usize;
    let mut bytes = Vec::with_capacity(samples.len() * width);
    for sample in samples {
        bytes.extend(&sample.to_le_bytes()[..width]);
    }
    md5.process_buf_bytes(&bytes);
}
