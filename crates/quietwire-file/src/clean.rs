//! Cleans one input with one stream.

use std::path::{Path, PathBuf};
use std::time::Instant;

use quietwire::{ChannelMode, Denoiser};

use crate::audio_info::AudioInfo;
use crate::clean_job::{CleanJob, CleanOptions, Progress};
use crate::error::FileError;
use crate::file_attributes::FileAttributes;
use crate::input::Input;
use crate::note::Note;
use crate::output::{Output, OutputFormat};
use crate::output_spec::{add_metadata, writer_spec};
use crate::reader::Reader;
use crate::report::{CleanReport, FileSummary, ModelInfo};
use crate::sinks::{Measured, Outputs, Sinks};
use crate::telemetry_writer::TelemetryWriter;
use crate::video::{Video, VideoWriter};
use crate::wav::chunk::{Chunk, Chunks};
use crate::writer::{Container, Writer, WriterSpec};

/// Hops of telemetry that the stream keeps: more than one block completes.
const TELEMETRY_HOPS: usize = 64;

/// Cleans one file with its own stream. The output has as many frames as the input and is aligned
/// with it. On an error no output file is left.
///
/// # Errors
/// [`FileError::SameFile`], [`FileError::Exists`] or [`FileError::DuplicateOutput`] before any file is
/// touched. [`FileError::Rate`] or [`FileError::Channels`] for a file that no stream can process.
/// [`FileError::UnsupportedByFlac`] or [`FileError::TooLongForFlac`] for the output.
/// [`FileError::Program`] or [`FileError::Video`] for a video. [`FileError::Write`] for a full disk and
/// similar causes. [`FileError::Denoiser`] for options that
/// the model does not support. Otherwise as [`Reader::open_with`] and [`Reader::read`].
pub fn clean(
    job: CleanJob,
    options: &CleanOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<CleanReport, FileError> {
    let started = Instant::now();
    let mut run = Run::open(job, options)?;
    match run.process(progress) {
        Ok(frames) => run.finish(options, frames, started),
        Err(error) => Err(explained(error, run.video)),
    }
}

/// One open file with its stream and its outputs.
struct Run {
    reader: Reader,
    /// the next block of the input
    block: Vec<f32>,
    denoiser: Denoiser,
    sinks: Sinks,
    input_name: PathBuf,
    output_name: PathBuf,
    output_spec: WriterSpec,
    /// whether the output is a WAV file, which takes metadata at its end
    takes_late: bool,
    /// names of metadata that the output does not have
    left: Vec<String>,
    /// format and length of the input
    info: AudioInfo,
    video: Option<VideoWriter>,
}

impl Run {
    /// Opens the input, creates the stream, reads the first block and creates the outputs.
    fn open(job: CleanJob, options: &CleanOptions) -> Result<Self, FileError> {
        job.check_paths(options.overwrite)?;
        let input_name = job.input.name().to_path_buf();
        let output_name = job.output.name().to_path_buf();
        let is_raw = matches!(job.input, Input::Raw { .. });
        let attributes = FileAttributes::of(&job.input);
        let video = match (&job.input, &job.output) {
            (Input::File(input), Output::Video(output)) => {
                Some(Video::open(input, output, options.read.track)?)
            }
            _ => None,
        };
        let mut reader = match &video {
            Some(video) => {
                let source = Box::new(video.decode()?);
                Reader::open_stream(source, input_name.clone(), &options.read)?
            }
            None => Reader::open_with(job.input, &options.read)?,
        };
        let mut info = reader.info().clone();
        if let Some(video) = &video {
            (info.container, info.codec) = (video.container(), video.codec());
            let frames = video.duration_s().map(|s| s * f64::from(info.rate_hz));
            info.frames = frames.map(|frames| frames as u64);
            info.frames_exact = false;
        }
        let denoiser = denoiser(&info, options, job.telemetry.is_some())
            .map_err(|error| with_path(error, &input_name))?;

        // A file without audio creates no output: the first block is read before.
        let mut block = Vec::new();
        if reader.read(denoiser.hop_frames(), &mut block)? == 0 {
            return Err(FileError::Empty {
                path: input_name,
                found: "a header without samples",
            });
        }
        let mut output_spec = writer_spec(&info, &output_name, options, &attributes);
        let is_certain = reader.is_certain();
        output_spec.is_certain = is_certain;
        let is_stream = matches!(job.output, Output::Stream(_));
        if is_raw && is_stream && options.format == OutputFormat::Auto {
            output_spec.container = Container::Raw;
        }
        // The residual is another recording: it has no metadata.
        let is_file = matches!(job.output, Output::File(_));
        let takes_late = output_spec.container == Container::Wav && is_file;
        // ffmpeg copies the metadata of a video.
        let left = match video {
            Some(_) => Vec::new(),
            None => add_metadata(&mut output_spec, &reader.metadata(), options),
        };
        let residual = job.residual.map(|path| {
            let mut spec = writer_spec(&info, &path, options, &attributes);
            spec.is_certain = is_certain;
            Writer::create(Output::File(path), &spec)
        });
        let telemetry = job.telemetry.map(|path| {
            TelemetryWriter::create(&path, options.overwrite, &attributes.without_times())
        });
        let (output, video) = match video {
            Some(video) => {
                let (writer, pipe) = video.encode(options, &attributes)?;
                (Output::Stream(Box::new(pipe)), Some(writer))
            }
            None => (job.output, None),
        };
        let outputs = Outputs {
            residual: residual.transpose()?,
            audio: Writer::create(output, &output_spec)?,
            reports: job.reports,
            spectrogram: job.spectrogram,
            telemetry: telemetry.transpose()?,
            overwrite: options.overwrite,
            attributes,
        };
        Ok(Self {
            sinks: Sinks::new(&info, denoiser.latency(), outputs),
            reader,
            block,
            denoiser,
            input_name,
            output_name,
            output_spec,
            takes_late,
            left,
            info,
            video,
        })
    }

    /// Processes the whole input and the tail of the stream. Returns the frames of the input.
    fn process(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<u64, FileError> {
        let (total, rate_hz) = (self.info.frames, self.info.rate_hz);
        let hop = self.denoiser.hop_frames();
        let channels = self.denoiser.channels();
        let mut output = Vec::new();
        let mut frames = 0;
        while !self.block.is_empty() {
            output.resize(self.block.len(), 0.0);
            self.denoiser.process(&self.block, &mut output)?;
            self.sinks
                .push(&self.block, &mut output, self.denoiser.telemetry())?;
            frames += (self.block.len() / channels) as u64;
            self.push_telemetry(frames)?;
            progress(Progress {
                frames,
                total,
                rate_hz,
            });
            self.reader.read(hop, &mut self.block)?;
        }
        if total != Some(frames) {
            // The header did not state the length, or not this one.
            progress(Progress {
                frames,
                total: Some(frames),
                rate_hz,
            });
        }
        output.resize(self.denoiser.latency() * channels, 0.0);
        self.denoiser.flush(&mut output)?;
        self.sinks
            .push(&[], &mut output, self.denoiser.telemetry())?;
        Ok(frames)
    }

    /// Writes the hops of the latest block, which ended `frames` frames into the input.
    fn push_telemetry(&mut self, frames: u64) -> Result<(), FileError> {
        let hop = self.denoiser.hop_frames() as u64;
        let rate_hz = f64::from(self.denoiser.rate_hz());
        let hops: Vec<_> = self.denoiser.drain_telemetry().collect();
        let count = hops.len() as u64;
        for (hops_after, telemetry) in (0..count).rev().zip(hops) {
            let end = frames.saturating_sub(hops_after * hop);
            self.sinks.push_telemetry(end as f64 / rate_hz, telemetry)?;
        }
        Ok(())
    }

    /// The metadata that a piped WAV has after its audio.
    fn late_metadata(&self, options: &CleanOptions) -> Chunks {
        if options.strip_metadata || self.reader.is_certain() || self.video.is_some() {
            return Chunks::default();
        }
        self.reader.metadata().chunks_after
    }

    /// Completes all outputs.
    fn finish(
        self,
        options: &CleanOptions,
        frames: u64,
        started: Instant,
    ) -> Result<CleanReport, FileError> {
        let before = AudioInfo {
            frames: Some(frames),
            frames_exact: true,
            ..self.info.clone()
        };
        let container = self.output_spec.container;
        let (container, codec) = match &self.video {
            Some(video) => (video.container, video.codec),
            None => (container.name(), container.codec()),
        };
        let after = AudioInfo {
            container: container.into(),
            codec: codec.into(),
            sample_format: self.output_spec.wav.format,
            ..before.clone()
        };
        let seconds = frames as f64 / f64::from(before.rate_hz);
        let processing_s = started.elapsed().as_secs_f64();
        let model = model_info(options, &self.denoiser);
        let mut notes = self.reader.notes().to_vec();
        if let Some(video) = &self.video {
            notes.extend(video.notes(frames, before.rate_hz));
        }
        let (late, mut names) = (self.late_metadata(options), self.left);
        if !self.takes_late {
            names.extend(late.kept.iter().map(Chunk::name));
        }
        if !names.is_empty() {
            notes.push(Note::MetadataLeft { names });
        }
        let mut late_bytes = Vec::new();
        late.kept
            .iter()
            .for_each(|chunk| chunk.write(&mut late_bytes));
        let non_finite_samples = self.reader.non_finite_samples();
        let (input_name, output_name) = (self.input_name, self.output_name);
        let report = self
            .sinks
            .finish(&late_bytes, |measured: Measured| CleanReport {
                quietwire: env!("CARGO_PKG_VERSION"),
                input: FileSummary {
                    path: input_name,
                    info: before,
                    seconds,
                    levels: measured.before,
                    notes,
                    clipped_samples: measured.clipped_in,
                    non_finite_samples,
                },
                output: FileSummary {
                    path: output_name,
                    info: after,
                    seconds,
                    levels: measured.after,
                    notes: Vec::new(),
                    clipped_samples: measured.clipped_out,
                    non_finite_samples: 0,
                },
                speech_share: measured.speech_share,
                model,
                processing_s,
                speed: seconds / processing_s.max(1e-9),
            });
        match (report, self.video) {
            (Ok(report), Some(video)) => video.finish().map(|()| report),
            (Err(error), video) => Err(explained(error, video)),
            (report, None) => report,
        }
    }
}

/// The reason of ffmpeg in place of the error of its closed pipe.
fn explained(error: FileError, video: Option<VideoWriter>) -> FileError {
    match (error, video) {
        (FileError::Write { source, path }, Some(video))
            if source.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            let ended = video.finish().err();
            ended.unwrap_or(FileError::Write { path, source })
        }
        (error, _) => error,
    }
}

fn denoiser(
    info: &AudioInfo,
    options: &CleanOptions,
    with_telemetry: bool,
) -> Result<Denoiser, quietwire::Error> {
    let mut stream = options.denoiser.clone();
    stream.rate_hz = Some(info.rate_hz);
    stream.channels = info.channels.into();
    // The last block of a file need not be a whole hop.
    stream.hop_aligned = false;
    stream.telemetry_hops = if with_telemetry { TELEMETRY_HOPS } else { 0 };
    Denoiser::new(std::slice::from_ref(&options.model), &stream)
}

fn model_info(options: &CleanOptions, denoiser: &Denoiser) -> ModelInfo {
    let manifest = options.model.manifest();
    ModelInfo {
        id: manifest.id().into(),
        version: manifest.version().into(),
        latency_ms: 1000.0 * denoiser.latency() as f64 / f64::from(denoiser.rate_hz()),
        attenuation_db: Some(denoiser.attenuation().db()).filter(|limit_db| limit_db.is_finite()),
        channel_mode: match options.denoiser.channel_mode {
            ChannelMode::Linked => "linked",
            _ => "independent",
        },
    }
}

/// Adds the file to an error about its rate or channels.
fn with_path(error: quietwire::Error, path: &Path) -> FileError {
    let path = path.to_path_buf();
    match error {
        quietwire::Error::Rate {
            found_hz,
            min_hz,
            max_hz,
        } => FileError::Rate {
            path,
            found_hz,
            min_hz,
            max_hz,
        },
        quietwire::Error::Channels { found, max } => FileError::Channels { path, found, max },
        other => other.into(),
    }
}
