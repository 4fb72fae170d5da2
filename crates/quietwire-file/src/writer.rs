//! Audio outputs: WAV, FLAC or samples without a header, to a file or a pipe.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flac_codec::encode::{FlacSampleWriter, Options};

use crate::atomic_file::{AtomicFile, is_special};
use crate::error::FileError;
use crate::file_attributes::FileAttributes;
use crate::inserted::Inserted;
use crate::metadata::{FlacMetadata, WavMetadata};
use crate::output::Output;
use crate::sample_format::SampleFormat;
use crate::wav::format::WavSpec;
use crate::wav::write::WavWriter;

/// Largest number of frames: a 36-bit field (RFC 9639, section 8.2).
const FLAC_MAX_FRAMES: u64 = (1 << 36) - 1;
/// Highest rate, Hz: a 20-bit field (RFC 9639, section 8.2).
const FLAC_MAX_HZ: u32 = (1 << 20) - 1;

/// Position after the `STREAMINFO` block, which other blocks follow.
const FLAC_METADATA_AT: u64 = 42;

/// The container of an audio output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Wav,
    Flac,
    /// Samples without a header.
    Raw,
}

impl Container {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wav => "WAV",
            Self::Flac => "FLAC",
            Self::Raw => "raw",
        }
    }

    /// The name of its codec in reports.
    pub(crate) fn codec(self) -> &'static str {
        match self {
            Self::Flac => "flac",
            Self::Wav | Self::Raw => "pcm",
        }
    }
}

/// The format of one output.
pub(crate) struct WriterSpec {
    pub container: Container,
    pub wav: WavSpec,
    /// Final length in frames, if it is known exactly.
    pub frames: Option<u64>,
    pub overwrite: bool,
    pub attributes: FileAttributes,
    /// Whether `frames` is the true length. Otherwise the audio may end early.
    pub is_certain: bool,
    pub wav_metadata: WavMetadata,
    pub flac_metadata: FlacMetadata,
}

/// One audio output.
pub(crate) struct Writer {
    path: PathBuf,
    spec: WavSpec,
    state: State,
}

enum State {
    WavFile(AtomicFile, BufWriter<File>, WavWriter),
    WavStream(BufWriter<Box<dyn Write + Send>>, WavWriter),
    Raw(BufWriter<Box<dyn Write + Send>>),
    Flac(AtomicFile, Box<Flac>),
}

struct Flac {
    encoder: FlacSampleWriter<Inserted<BufWriter<File>>>,
    /// a second handle to the file: the encoder does not return its own
    file: File,
    integers: Vec<i32>,
    frames: u64,
}

impl Writer {
    /// Creates an output. A device or a named pipe is written in place.
    pub(crate) fn create(output: Output, spec: &WriterSpec) -> Result<Self, FileError> {
        let (path, stream) = match output {
            Output::Stream(stream) => (PathBuf::from("stdout"), Some(stream)),
            Output::File(path) if is_special(&path) && spec.container != Container::Flac => {
                let file = File::options().write(true).open(&path);
                let file = file.map_err(|source| FileError::Write {
                    path: path.clone(),
                    source,
                })?;
                (path, Some(Box::new(file) as Box<dyn Write + Send>))
            }
            Output::File(path) | Output::Video(path) => (path, None),
        };
        let failed = |source| FileError::Write {
            path: path.clone(),
            source,
        };
        let metadata = spec.wav_metadata.clone();
        let state = match (spec.container, stream) {
            (Container::Wav, Some(stream)) => {
                let mut out = BufWriter::new(stream);
                let wav =
                    WavWriter::new(spec.wav, spec.frames, metadata, &mut out).map_err(failed)?;
                State::WavStream(out, wav)
            }
            (Container::Wav, None) => {
                let (part, file) = AtomicFile::create(&path, spec.overwrite, &spec.attributes)?;
                let mut out = BufWriter::new(file);
                let wav =
                    WavWriter::new(spec.wav, spec.frames, metadata, &mut out).map_err(failed)?;
                State::WavFile(part, out, wav)
            }
            (Container::Raw, Some(stream)) => State::Raw(BufWriter::new(stream)),
            (Container::Flac, None) => flac(&path, spec)?,
            (Container::Raw, None) | (Container::Flac, Some(_)) => {
                let what =
                    "FLAC to a pipe or a device, or samples without a header in a file".into();
                return Err(FileError::Unsupported { path, what });
            }
        };
        Ok(Self {
            path,
            spec: spec.wav,
            state,
        })
    }

    /// The format of one sample.
    pub(crate) fn format(&self) -> SampleFormat {
        self.spec.format
    }

    /// Writes interleaved samples that were quantized to the output's format.
    pub(crate) fn write(&mut self, samples: &[f32]) -> Result<(), FileError> {
        match &mut self.state {
            State::WavFile(_, out, wav) => wav.write(samples, out),
            State::WavStream(out, wav) => wav.write(samples, out),
            State::Raw(out) => {
                let mut bytes = Vec::with_capacity(samples.len() * self.spec.format.bytes());
                self.spec.format.encode(samples, &mut bytes);
                out.write_all(&bytes)
            }
            State::Flac(_, flac) => return flac.write(samples, &self.spec, &self.path),
        }
        .map_err(|source| FileError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// Completes the output and gives a file its final name. `late`: chunks of metadata that were not
    /// known at the start. Only a WAV file takes them.
    pub(crate) fn finish(self, late: &[u8]) -> Result<(), FileError> {
        let Self { path, state, .. } = self;
        let failed = |source| FileError::Write {
            path: path.clone(),
            source,
        };
        match state {
            State::WavFile(part, mut out, wav) => {
                let header = wav.finish(late, &mut out).map_err(failed)?;
                out.seek(SeekFrom::Start(0)).map_err(failed)?;
                out.write_all(&header).map_err(failed)?;
                let file = out
                    .into_inner()
                    .map_err(|error| failed(error.into_error()))?;
                part.commit(&file)
            }
            State::WavStream(mut out, wav) => wav
                .finish(&[], &mut out)
                .and_then(|_| out.flush())
                .map_err(failed),
            State::Raw(mut out) => out.flush().map_err(failed),
            State::Flac(part, flac) => {
                let Flac { encoder, file, .. } = *flac;
                encoder
                    .finalize()
                    .map_err(|error| flac_error(&path, error))?;
                part.commit(&file)
            }
        }
    }
}

fn flac(path: &Path, spec: &WriterSpec) -> Result<State, FileError> {
    let WavSpec {
        format,
        rate_hz,
        channels,
        ..
    } = spec.wav;
    let (Ok(channels @ 1..=8), 1..=FLAC_MAX_HZ) = (u8::try_from(channels), rate_hz) else {
        let (path, channels, max_hz) = (path.into(), channels.into(), FLAC_MAX_HZ);
        return Err(FileError::UnsupportedByFlac {
            path,
            channels,
            rate_hz,
            max_hz,
        });
    };
    if spec.frames.is_some_and(|frames| frames > FLAC_MAX_FRAMES) {
        return Err(FileError::TooLongForFlac {
            path: path.into(),
            max: FLAC_MAX_FRAMES,
        });
    }
    let (part, file) = AtomicFile::create(path, spec.overwrite, &spec.attributes)?;
    let second = file.try_clone().map_err(|source| FileError::Write {
        path: path.into(),
        source,
    })?;
    let metadata = spec.flac_metadata.bytes();
    let encoder = FlacSampleWriter::new(
        Inserted::new(BufWriter::new(file), FLAC_METADATA_AT, metadata),
        Options::default(),
        rate_hz,
        format.bits().into(),
        channels,
        spec.frames
            .filter(|_| spec.is_certain)
            .map(|frames| frames * u64::from(channels)),
    )
    .map_err(|error| flac_error(path, error))?;
    let flac = Flac {
        encoder,
        file: second,
        integers: Vec::new(),
        frames: 0,
    };
    Ok(State::Flac(part, Box::new(flac)))
}

impl Flac {
    fn write(&mut self, samples: &[f32], spec: &WavSpec, path: &Path) -> Result<(), FileError> {
        self.frames += samples.len() as u64 / u64::from(spec.channels);
        if self.frames > FLAC_MAX_FRAMES {
            return Err(FileError::TooLongForFlac {
                path: path.into(),
                max: FLAC_MAX_FRAMES,
            });
        }
        self.integers.clear();
        self.integers
            .extend(samples.iter().map(|&sample| spec.format.integer(sample)));
        self.encoder
            .write(&self.integers)
            .map_err(|error| flac_error(path, error))
    }
}

fn flac_error(path: &Path, error: flac_codec::Error) -> FileError {
    match error {
        flac_codec::Error::Io(source) => FileError::Write {
            path: path.into(),
            source,
        },
        other => FileError::Encode {
            path: path.into(),
            reason: other.to_string(),
        },
    }
}
