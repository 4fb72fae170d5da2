//! Reads audio inputs block by block: WAV and samples without a header here, all other formats with
//! [`DecodedTrack`].

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use symphonia::core::io::ReadOnlySource;

use crate::audio_info::AudioInfo;
use crate::decode::DecodedTrack;
use crate::error::FileError;
use crate::input::Input;
use crate::wav::format::WavSpec;
use crate::wav::read::{Header, WavReader, read_header};

/// An open audio input, read block by block.
pub struct Reader {
    path: PathBuf,
    info: AudioInfo,
    source: Source,
    samples: Vec<f32>,
    /// samples at the front of `samples` that were returned already
    used: usize,
    frames: u64,
}

enum Source {
    Wav(Box<WavReader>),
    Decoded(Box<DecodedTrack>),
}

impl Reader {
    /// Opens an input and reads its header.
    ///
    /// # Errors
    /// [`FileError::Open`] or [`FileError::Read`] when the input cannot be read,
    /// [`FileError::Empty`], [`FileError::NotAudio`], [`FileError::Wav`], [`FileError::Unsupported`]
    /// or [`FileError::Corrupt`] for its contents.
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
        let (decoded, info) = catch_panic(&path, 0.0, || {
            DecodedTrack::open(source, &path, head, &mut samples)
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

    /// The format and length of the input.
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// Replaces `block` by the next `frames` frames, interleaved, and returns their number, which is
    /// smaller than `frames` only at the end.
    ///
    /// # Errors
    /// [`FileError::Read`] when the input cannot be read, [`FileError::Corrupt`],
    /// [`FileError::Truncated`], [`FileError::Unsupported`] or [`FileError::NotFinite`] for its
    /// contents.
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
                    catch_panic(&self.path, at_s, || decoded.read(&mut self.samples))?
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

/// Runs a decoder. Some decoders panic on damaged data: the caller gets the error of a damaged file,
/// and the decoder is not used again.
fn catch_panic<T>(
    path: &Path,
    at_s: f64,
    decode: impl FnOnce() -> Result<T, FileError>,
) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        let reason = "the decoder panicked".into();
        Err(FileError::Corrupt {
            path: path.into(),
            at_s,
            reason,
        })
    })
}

/// The first bytes, from which the format is recognized.
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
