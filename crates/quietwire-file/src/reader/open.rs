//! Recognizes the format of an input and opens its reader.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use symphonia::core::io::{MediaSource, ReadOnlySource};

use crate::audio_info::AudioInfo;
use crate::catch_panic::catch_panic;
use crate::decode::DecodedTrack;
use crate::decode::names::wav_codec;
use crate::error::FileError;
use crate::flac::{FlacReader, is_flac};
use crate::input::Input;
use crate::matroska::EBML;
use crate::mp3::id3v2_bytes;
use crate::mp4::is_mp4;
use crate::note::Note;
use crate::read_options::ReadOptions;
use crate::reader::{Reader, Source};
use crate::section::Section;
use crate::spool::spool;
use crate::via_ffmpeg;
use crate::wav::format::WavSpec;
use crate::wav::header::{Format, Header, W64_RIFF, read_header};
use crate::wav::length::layout;
use crate::wav::read::WavReader;

/// Format tags of MPEG audio in a WAV.
const MPEG_TAGS: [u16; 2] = [0x50, 0x55];

impl Reader {
    /// Opens an input. `path` is its name in messages.
    pub(super) fn open_any(
        input: Input,
        path: &Path,
        options: &ReadOptions,
    ) -> Result<Self, FileError> {
        let path = path.to_path_buf();
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
            Input::Stream(source) if options.via_ffmpeg => {
                let failed = |source| FileError::Read {
                    path: path.clone(),
                    source,
                };
                let mut file = spool(source).map_err(failed)?;
                let copy = file.try_clone().map_err(failed)?;
                let head = peek(&mut file, &path)?;
                let opened = Self::file(file, &head, path.clone(), options);
                Self::or_via_ffmpeg(opened, path.clone(), Some(copy), options)
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
                Self::or_via_ffmpeg(opened, path, None, options)
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
        let mut recorded = Recorded {
            source: &mut source,
            bytes: Vec::new(),
        };
        let header = read_header(&mut recorded, &path)?;
        let bytes = recorded.bytes;
        match header.format {
            Format::Pcm(spec) => {
                let container = header.name();
                let source = Box::new(BufReader::new(source));
                let wav = WavReader::stream(source, path.clone(), spec, header);
                Ok(Self::from_wav(path, wav, spec, container))
            }
            Format::Compressed(_) => {
                let spooled = spool(Cursor::new(bytes).chain(source));
                let file = spooled.map_err(|source| FileError::Read {
                    path: path.clone(),
                    source,
                })?;
                Self::file(file, &head, path, options)
            }
        }
    }

    /// Opens a file with ffmpeg if that is wanted and this library cannot decode it. `copy`: the file, if it
    /// has no path.
    fn or_via_ffmpeg(
        opened: Result<Self, FileError>,
        path: PathBuf,
        copy: Option<File>,
        options: &ReadOptions,
    ) -> Result<Self, FileError> {
        match opened {
            Err(error) if options.via_ffmpeg => Self::via_ffmpeg(error, path, copy, options),
            Ok(reader) if options.via_ffmpeg && reader.may_be_he_aac() => {
                let what = "AAC".into();
                let error = FileError::Unsupported {
                    path: path.clone(),
                    what,
                };
                Self::via_ffmpeg(error, path, copy, options)
            }
            opened => opened,
        }
    }

    /// Opens a file that this library cannot decode with ffmpeg.
    fn via_ffmpeg(
        error: FileError,
        path: PathBuf,
        copy: Option<File>,
        options: &ReadOptions,
    ) -> Result<Self, FileError> {
        let what = match error {
            FileError::Unsupported { what, .. } => what,
            FileError::NotAudio { .. } | FileError::Wav { .. } | FileError::Corrupt { .. } => {
                "unknown".into()
            }
            error => return Err(error),
        };
        if let Some(mut file) = copy.as_ref() {
            let rewound = file.seek(SeekFrom::Start(0));
            rewound.map_err(|source| FileError::Read {
                path: path.clone(),
                source,
            })?;
        }
        let source = via_ffmpeg::decode(&path, copy, options.track)?;
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
        let is_flac = is_flac(head) || is_tagged_flac(&mut file, head);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        if is_flac {
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
                let container = header.name();
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
            let mut data =
                Section::new(Box::new(file), header.start, header.data_bytes).map_err(failed)?;
            let head = peek(&mut data, &path)?;
            data.seek(SeekFrom::Start(0)).map_err(failed)?;
            Self::decoded(path.clone(), Box::new(data), &head, options)
        } else {
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            Self::decoded(path.clone(), Box::new(file), head, options)
        };
        opened
            .map(|mut reader| {
                reader.info.container = header.name().into();
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

/// Whether a file with an ID3v2 tag at its start is FLAC.
fn is_tagged_flac(file: &mut File, head: &[u8]) -> bool {
    let mut mark = [0; 4];
    head.first_chunk()
        .and_then(id3v2_bytes)
        .is_some_and(|bytes| {
            file.seek(SeekFrom::Start(bytes)).is_ok()
                && file.read_exact(&mut mark).is_ok()
                && is_flac(&mark)
        })
}

/// A source whose bytes are kept, for a second reader.
struct Recorded<'a, R> {
    source: &'a mut R,
    bytes: Vec<u8>,
}

impl<R: Read> Read for Recorded<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let found = self.source.read(bytes)?;
        self.bytes.extend_from_slice(&bytes[..found]);
        Ok(found)
    }
}

/// Whether the demuxer of this format must seek.
fn needs_seeking(head: &[u8]) -> bool {
    is_mp4(head)
        || [&EBML[..], b"caff", b"FORM"]
            .iter()
            .any(|mark| head.starts_with(mark))
}
