//! Audio inputs: WAV by this crate, bare samples, everything else through decoders.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use symphonia::core::io::ReadOnlySource;

use super::decode::Decoded;
use super::error::FileError;
use super::sample::SampleFormat;
use super::wav::{Header, WavReader, WavSpec, read_header};

/// Where audio comes from.
pub enum Input {
    /// A file.
    File(PathBuf),
    /// A pipe with any format that needs no seeking; WAV always works.
    Stream(Box<dyn Read + Send + Sync>),
    /// A pipe with bare interleaved little-endian samples.
    Raw {
        /// The pipe.
        source: Box<dyn Read + Send + Sync>,
        /// How each sample is stored.
        format: SampleFormat,
        /// Sample rate, Hz.
        rate_hz: u32,
        /// Interleaved channels.
        channels: u16,
    },
}

impl Input {
    /// What messages call this input.
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

/// What an input is.
#[derive(Clone, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct AudioInfo {
    /// The container, such as `WAV` or `Ogg`.
    pub container: String,
    /// The codec, such as `pcm` or `opus`.
    pub codec: String,
    /// Sample rate, Hz.
    pub rate_hz: u32,
    /// Channels.
    pub channels: u16,
    /// How a sample is stored, or, of a lossy codec, the depth that it is unpacked to.
    pub sample_format: SampleFormat,
    /// Length in frames where the header tells; see [`frames_exact`](Self::frames_exact).
    pub frames: Option<u64>,
    /// Whether [`frames`](Self::frames) is certain or an estimate.
    pub frames_exact: bool,
    /// The speaker mask of a `WAVE_FORMAT_EXTENSIBLE` header.
    #[serde(skip)]
    pub channel_mask: Option<u32>,
}

/// An open audio input, read block by block.
pub struct Reader {
    path: PathBuf,
    info: AudioInfo,
    source: Source,
    samples: Vec<f32>,
    /// Samples at the front of `samples` that are handed out already.
    used: usize,
    frames: u64,
}

enum Source {
    Wav(Box<WavReader>),
    Decoded(Box<Decoded>),
}

impl Reader {
    /// Opens an input and reads its header.
    pub fn open(input: Input) -> Result<Self, FileError> {
        let path = input.name().to_path_buf();
        match input {
            Input::Raw {
                source,
                format,
                rate_hz,
                channels,
            } => {
                let spec = WavSpec {
                    format,
                    rate_hz,
                    channels,
                    channel_mask: None,
                };
                let source = Box::new(BufReader::new(source));
                let wav = WavReader::raw(source, path.clone(), spec);
                Ok(Self::from_wav(path, wav, spec, "raw"))
            }
            Input::Stream(mut source) => {
                let head = peek(&mut source, &path)?;
                let mut source = Cursor::new(head.clone()).chain(source);
                if !is_wav(&head) {
                    let source = Box::new(ReadOnlySource::new(source));
                    return Self::decoded(path, source, &head);
                }
                match read_header(&mut source, &path)? {
                    Header::Pcm(spec, length) => {
                        let source = Box::new(BufReader::new(source));
                        let wav = WavReader::new(source, path.clone(), spec, length);
                        Ok(Self::from_wav(path, wav, spec, "WAV"))
                    }
                    Header::Compressed(tag) => Err(FileError::Unsupported {
                        path,
                        what: format!("WAV with format tag {tag} from a pipe"),
                    }),
                }
            }
            Input::File(_) => {
                let open = || {
                    File::open(&path).map_err(|source| FileError::Open {
                        path: path.clone(),
                        source,
                    })
                };
                let mut source = BufReader::new(open()?);
                let head = peek(&mut source, &path)?;
                if is_wav(&head) {
                    let mut source = BufReader::with_capacity(1 << 16, open()?);
                    if let Header::Pcm(spec, length) = read_header(&mut source, &path)? {
                        let wav = WavReader::new(Box::new(source), path.clone(), spec, length);
                        return Ok(Self::from_wav(path, wav, spec, "WAV"));
                    }
                }
                let source = Box::new(open()?);
                Self::decoded(path, source, &head)
            }
        }
    }

    fn from_wav(path: PathBuf, wav: WavReader, spec: WavSpec, container: &str) -> Self {
        let info = AudioInfo {
            container: container.into(),
            codec: "pcm".into(),
            rate_hz: spec.rate_hz,
            channels: spec.channels,
            sample_format: spec.format,
            frames: wav.frames(),
            frames_exact: wav.frames().is_some(),
            channel_mask: spec.channel_mask,
        };
        let source = Source::Wav(Box::new(wav));
        Self {
            path,
            info,
            source,
            samples: Vec::new(),
            used: 0,
            frames: 0,
        }
    }

    fn decoded(
        path: PathBuf,
        source: Box<dyn symphonia::core::io::MediaSource>,
        head: &[u8],
    ) -> Result<Self, FileError> {
        let mut samples = Vec::new();
        let (decoded, info) = guarded(&path, 0.0, || {
            Decoded::open(source, &path, head, &mut samples)
        })?;
        let source = Source::Decoded(Box::new(decoded));
        Ok(Self {
            path,
            info,
            source,
            samples,
            used: 0,
            frames: 0,
        })
    }

    /// What the input is.
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// Replaces `block` by the next `frames` frames, interleaved, and returns how many there
    /// were: fewer only at the end.
    pub fn read(&mut self, frames: usize, block: &mut Vec<f32>) -> Result<usize, FileError> {
        let channels = usize::from(self.info.channels);
        let wanted = frames * channels;
        self.samples.drain(..self.used);
        self.used = 0;
        while self.samples.len() < wanted {
            let more = match &mut self.source {
                Source::Wav(wav) => wav.read(&mut self.samples)?,
                Source::Decoded(decoded) => {
                    let at_s = self.frames as f64 / f64::from(self.info.rate_hz);
                    guarded(&self.path, at_s, || decoded.read(&mut self.samples))?
                }
            };
            if !more {
                break;
            }
        }
        self.used = wanted.min(self.samples.len());
        block.clear();
        block.extend_from_slice(&self.samples[..self.used]);
        if let Some(at) = block.iter().position(|sample| !sample.is_finite()) {
            let frame = self.frames + (at / channels) as u64;
            return Err(FileError::NotFinite {
                path: self.path.clone(),
                value: block[at].into(),
                channel: at % channels + 1,
                frame,
                at_s: frame as f64 / f64::from(self.info.rate_hz),
            });
        }
        let found = block.len() / channels;
        self.frames += found as u64;
        Ok(found)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .field("info", &self.info)
            .finish()
    }
}

/// Runs a decoder. One that panics on damaged data has a fault of its own; for the caller it is
/// a damaged file all the same, and the decoder is not used again.
fn guarded<T>(
    path: &Path,
    at_s: f64,
    decode: impl FnOnce() -> Result<T, FileError>,
) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        let reason = "the decoder gave up on it".into();
        Err(FileError::Corrupt {
            path: path.into(),
            at_s,
            reason,
        })
    })
}

/// The first bytes, for recognising a format and for saying what was found instead.
fn peek(source: &mut impl Read, path: &Path) -> Result<Vec<u8>, FileError> {
    let mut head = Vec::new();
    source
        .by_ref()
        .take(64)
        .read_to_end(&mut head)
        .map_err(|source| FileError::Read {
            path: path.into(),
            source,
        })?;
    if head.is_empty() {
        return Err(FileError::Empty {
            path: path.into(),
            found: "an empty file",
        });
    }
    Ok(head)
}

fn is_wav(head: &[u8]) -> bool {
    matches!(head.get(..4), Some(b"RIFF" | b"RF64" | b"BW64"))
        && matches!(head.get(8..12), Some(b"WAVE"))
}
