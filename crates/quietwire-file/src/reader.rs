//! Reads audio inputs block by block: WAV, FLAC and samples without a header here, all other formats with
//! [`DecodedTrack`].

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use symphonia::core::io::{MediaSource, ReadOnlySource};

use crate::audio_info::AudioInfo;
use crate::decode::DecodedTrack;
use crate::decode::names::wav_codec;
use crate::error::FileError;
use crate::flac::{FlacReader, is_flac};
use crate::input::Input;
use crate::matroska::EBML;
use crate::metadata::Metadata;
use crate::mp4::is_mp4;
use crate::note::Note;
use crate::read_options::ReadOptions;
use crate::section::Section;
use crate::spool::spool;
use crate::track::AudioTrack;
use crate::via_ffmpeg;
use crate::wav::format::WavSpec;
use crate::wav::header::{Format, Header, W64_RIFF, read_header};
use crate::wav::length::layout;
use crate::wav::read::WavReader;

/// Format tags of MPEG audio in a WAV.
const MPEG_TAGS: [u16; 2] = [0x50, 0x55];

/// An open audio input, read block by block.
pub struct Reader {
    path: PathBuf,
    info: AudioInfo,
    source: Source,
    samples: Vec<f32>,
    /// samples at the front of `samples` that were returned already
    used: usize,
    frames: u64,
    non_finite_samples: u64,
}

enum Source {
    Wav(Box<WavReader>),
    Flac(Box<FlacReader>),
    Decoded(Box<DecodedTrack>),
}

impl Reader {
    /// Opens an input and reads its header. Of a container with several audio tracks, the default one.
    ///
    /// # Errors
    /// [`FileError::Open`] or [`FileError::Read`] when the input cannot be read,
    /// [`FileError::Empty`], [`FileError::NotAudio`], [`FileError::Wav`], [`FileError::Unsupported`]
    /// or [`FileError::Corrupt`] for its contents.
    pub fn open(input: Input) -> Result<Self, FileError> {
        Self::open_with(input, &ReadOptions::default())
    }

    /// Opens an input with options and reads its header.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`FileError::Track`] for a track that the file does not have.
    pub fn open_with(input: Input, options: &ReadOptions) -> Result<Self, FileError> {
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
            Input::Stream(source) => Self::open_stream(source, path, options),
            Input::File(_) => {
                let mut file = File::open(&path).map_err(|source| FileError::Open {
                    path: path.clone(),
                    source,
                })?;
                if !MediaSource::is_seekable(&file) {
                    return Self::open_stream(Box::new(file), path, options);
                }
                let head = peek(&mut file, &path)?;
                let opened = Self::file(file, &head, path.clone(), options);
                match opened {
                    Err(error) if options.via_ffmpeg => Self::via_ffmpeg(error, path, options),
                    opened => opened,
                }
            }
        }
    }

    /// Opens a source that cannot seek. `path` is its name in messages. Formats whose demuxer must seek
    /// are copied into a temporary file first.
    pub(crate) fn open_stream(
        mut source: Box<dyn Read + Send + Sync>,
        path: PathBuf,
        options: &ReadOptions,
    ) -> Result<Self, FileError> {
        let head = peek(&mut source, &path)?;
        let mut source = Cursor::new(head.clone()).chain(source);
        if needs_seeking(&head) {
            let file = spool(source).map_err(|source| FileError::Read {
                path: path.clone(),
                source,
            })?;
            return Self::file(file, &head, path, options);
        }
        if is_flac(&head) {
            return Self::flac(Box::new(source), path);
        }
        if !is_wav(&head) {
            let source = Box::new(ReadOnlySource::new(source));
            return Self::decoded(path, source, &head, options);
        }
        let header = read_header(&mut source, &path)?;
        match header.format {
            Format::Pcm(spec) => {
                let container = header.container;
                let source = Box::new(BufReader::new(source));
                let wav = WavReader::stream(source, path.clone(), spec, header);
                Ok(Self::from_wav(path, wav, spec, container))
            }
            Format::Compressed(tag) => Err(FileError::Unsupported {
                path,
                what: format!("{} from a pipe", wav_codec(tag)),
            }),
        }
    }

    /// Opens a file that this library cannot decode with ffmpeg.
    fn via_ffmpeg(
        error: FileError,
        path: PathBuf,
        options: &ReadOptions,
    ) -> Result<Self, FileError> {
        let what = match error {
            FileError::Unsupported { what, .. } => what,
            FileError::NotAudio { .. } | FileError::Wav { .. } | FileError::Corrupt { .. } => {
                "unknown".into()
            }
            error => return Err(error),
        };
        let source = via_ffmpeg::decode(&path, options.track)?;
        let mut reader = Self::open_stream(source, path, &ReadOptions::default())?;
        let program = "ffmpeg".to_string();
        reader.info.codec.clone_from(&program);
        reader.info.sample_format = via_ffmpeg::sample_format(&what);
        reader.info.container = what;
        if let Source::Wav(wav) = &mut reader.source {
            wav.push_note(Note::DecodedBy { program });
        }
        Ok(reader)
    }

    /// Opens a seekable file.
    fn file(
        mut file: File,
        head: &[u8],
        path: PathBuf,
        options: &ReadOptions,
    ) -> Result<Self, FileError> {
        let failed = |source| FileError::Read {
            path: path.clone(),
            source,
        };
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        if is_flac(head) {
            return Self::flac(Box::new(file), path);
        }
        if !is_wav(head) {
            return Self::decoded(path, Box::new(file), head, options);
        }
        let mut source = BufReader::with_capacity(1 << 16, file);
        let header = read_header(&mut source, &path)?;
        match header.format {
            Format::Pcm(spec) => {
                let layout = layout(&mut source, &header).map_err(failed)?;
                let container = header.container;
                let wav = WavReader::file(Box::new(source), path.clone(), spec, header, layout);
                Ok(Self::from_wav(path, wav, spec, container))
            }
            Format::Compressed(tag) => {
                Self::compressed_wav(source.into_inner(), tag, &header, head, path, options)
            }
        }
    }

    fn compressed_wav(
        mut file: File,
        tag: u16,
        header: &Header,
        head: &[u8],
        path: PathBuf,
        options: &ReadOptions,
    ) -> Result<Self, FileError> {
        let failed = |source| FileError::Read {
            path: path.clone(),
            source,
        };
        let opened = if MPEG_TAGS.contains(&tag) {
            // The data is an MP3 file of its own.
            let mut data = Section::new(file, header.start, header.data_bytes).map_err(failed)?;
            let head = peek(&mut data, &path)?;
            data.seek(SeekFrom::Start(0)).map_err(failed)?;
            Self::decoded(path.clone(), Box::new(data), &head, options)
        } else {
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            Self::decoded(path.clone(), Box::new(file), head, options)
        };
        opened
            .map(|mut reader| {
                reader.info.container = header.container.into();
                reader
            })
            .map_err(|error| match error {
                FileError::Unsupported { .. } | FileError::NotAudio { .. } => {
                    let what = wav_codec(tag);
                    FileError::Unsupported { path, what }
                }
                error => error,
            })
    }

    fn flac(source: Box<dyn Read + Send + Sync>, path: PathBuf) -> Result<Self, FileError> {
        let (flac, info) = catch_panic(&path, 0.0, || FlacReader::open(source, &path))?;
        Ok(Self {
            path,
            info,
            source: Source::Flac(Box::new(flac)),
            samples: Vec::new(),
            used: 0,
            frames: 0,
            non_finite_samples: 0,
        })
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
            non_finite_samples: 0,
        }
    }

    fn decoded(
        path: PathBuf,
        source: Box<dyn MediaSource>,
        head: &[u8],
        options: &ReadOptions,
    ) -> Result<Self, FileError> {
        let mut samples = Vec::new();
        let (decoded, info) = catch_panic(&path, 0.0, || {
            DecodedTrack::open(source, &path, head, options.track, &mut samples)
        })?;
        let source = Source::Decoded(Box::new(decoded));
        Ok(Self {
            path,
            info,
            source,
            samples,
            used: 0,
            frames: 0,
            non_finite_samples: 0,
        })
    }

    /// The format and length of the input.
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// Facts about the input. Complete when [`read`](Self::read) has returned 0.
    pub fn notes(&self) -> &[Note] {
        match &self.source {
            Source::Wav(wav) => wav.notes(),
            Source::Flac(flac) => flac.notes(),
            Source::Decoded(decoded) => decoded.notes(),
        }
    }

    /// Whether the audio has exactly the frames of [`info`](Self::info). A pipe or a FLAC file may end
    /// early.
    pub(crate) fn is_certain(&self) -> bool {
        match &self.source {
            Source::Wav(wav) => wav.is_certain(),
            Source::Flac(_) => false,
            Source::Decoded(decoded) => decoded.is_certain(),
        }
    }

    /// The metadata. That of a piped WAV is complete when [`read`](Self::read) has returned 0.
    pub(crate) fn metadata(&self) -> Metadata {
        match &self.source {
            Source::Wav(wav) => Metadata {
                chunks: wav.chunks().clone(),
                chunks_after: wav.chunks_after().clone(),
                ..Metadata::default()
            },
            Source::Flac(flac) => Metadata {
                blocks: flac.blocks().to_vec(),
                ..Metadata::default()
            },
            Source::Decoded(decoded) => decoded.metadata().clone(),
        }
    }

    /// The audio tracks of a container. Empty for a format that has no tracks.
    pub fn tracks(&self) -> &[AudioTrack] {
        match &self.source {
            Source::Wav(_) | Source::Flac(_) => &[],
            Source::Decoded(decoded) => decoded.tracks(),
        }
    }

    /// Samples read so far that were NaN or infinite. [`read`](Self::read) returns 0 for them.
    pub fn non_finite_samples(&self) -> u64 {
        self.non_finite_samples
    }

    /// Replaces `block` by the next `frames` frames, interleaved, and returns their number, which is
    /// smaller than `frames` only at the end. Samples that are NaN or infinite become 0.
    ///
    /// # Errors
    /// [`FileError::Read`] when the input cannot be read, [`FileError::Corrupt`],
    /// or [`FileError::Unsupported`] for its contents. A file that ends early is no error: see
    /// [`notes`](Self::notes).
    pub fn read(&mut self, frames: usize, block: &mut Vec<f32>) -> Result<usize, FileError> {
        let channels = usize::from(self.info.channels);
        let wanted = frames * channels;
        self.samples.drain(..self.used);
        self.used = 0;
        while self.samples.len() < wanted {
            let more = match &mut self.source {
                Source::Wav(wav) => wav.read(&mut self.samples)?,
                Source::Flac(flac) => {
                    let at_s = self.frames as f64 / f64::from(self.info.rate_hz);
                    catch_panic(&self.path, at_s, || flac.read(&mut self.samples))?
                }
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
        for sample in block.iter_mut().filter(|sample| !sample.is_finite()) {
            *sample = 0.0;
            self.non_finite_samples += 1;
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
    let is_riff = matches!(head.get(..4), Some(b"RIFF" | b"RF64" | b"BW64"))
        && matches!(head.get(8..12), Some(b"WAVE"));
    is_riff || head.starts_with(&W64_RIFF)
}

/// Whether the demuxer of this format must seek.
fn needs_seeking(head: &[u8]) -> bool {
    is_mp4(head)
        || [&EBML[..], b"caff", b"FORM"]
            .iter()
            .any(|mark| head.starts_with(mark))
}
