//! One input through one stream into its outputs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::error::FileError;
use super::job::{CleanOptions, Job, Output, OutputFormat, Progress};
use super::reader::{AudioInfo, Input, Reader};
use super::report::{Cleaned, ModelUse, Side};
use super::sample::SampleFormat;
use super::stages::{Outputs, Stages};
use super::telemetry::Trace;
use super::wav::WavSpec;
use super::writer::{Container, Sink, Writer, WriterSpec};
use crate::{ChannelMode, Denoiser, Error};

/// Cleans one file with a stream of its own. The output has exactly as many frames as the input,
/// at the same place. On an error no output is left behind.
///
/// # Errors
/// [`Error::File`] for anything about the files; else what [`Denoiser`] reports.
pub fn clean(
    job: Job,
    options: &CleanOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Cleaned, Error> {
    let started = Instant::now();
    job.check(options.overwrite)?;
    let name = job.input.name().to_path_buf();
    let raw = matches!(job.input, Input::Raw { .. });
    let mut reader = Reader::open(job.input)?;
    let info = reader.info().clone();
    let mut denoiser = denoiser(&info, options).map_err(|error| name_the_file(error, &name))?;
    let (latency, channels) = (denoiser.latency(), usize::from(info.channels));
    let hop = denoiser.hop_frames();

    // The first block comes before the outputs, so that a file without audio makes none.
    let mut block = Vec::new();
    let mut found = reader.read(hop, &mut block)?;
    if found == 0 {
        return Err(FileError::Empty {
            path: name,
            found: "a header without samples",
        }
        .into());
    }
    let (sink, output_name) = match job.output {
        Output::File(path) => (Sink::File(path.clone()), path),
        Output::Stream(stream) => (Sink::Stream(stream), PathBuf::from("stdout")),
    };
    let bare = raw && matches!(sink, Sink::Stream(_)) && options.format == OutputFormat::Auto;
    let mut spec = writer_spec(&info, &output_name, options);
    if bare {
        spec.container = Container::Raw;
    }
    let residual = job.residual.map(|path| {
        let spec = writer_spec(&info, &path, options);
        Writer::create(Sink::File(path), &spec)
    });
    let has_vad = options.model.manifest().has_vad();
    let trace = job
        .telemetry
        .map(|path| Trace::create(&path, options.overwrite, has_vad));
    // The output's own name appears last: where it is, everything else is.
    let outputs = Outputs {
        residual: residual.transpose()?,
        audio: Writer::create(sink, &spec)?,
        reports: job.reports,
        spectrogram: job.spectrogram,
        trace: trace.transpose()?,
        overwrite: options.overwrite,
    };
    let mut stages = Stages::new(&info, latency, outputs);
    let mut cleaned = Vec::new();
    let mut frames = 0;
    while found > 0 {
        cleaned.resize(block.len(), 0.0);
        denoiser.process(&block, &mut cleaned)?;
        stages.push(&block, &mut cleaned, denoiser.telemetry())?;
        frames += found as u64;
        stages.trace(&denoiser, frames)?;
        progress(Progress {
            frames,
            total: info.frames,
            rate_hz: info.rate_hz,
        });
        found = reader.read(hop, &mut block)?;
    }
    cleaned.resize(latency * channels, 0.0);
    denoiser.flush(&mut cleaned)?;
    stages.push(&[], &mut cleaned, denoiser.telemetry())?;

    let after = AudioInfo {
        container: container_name(spec.container).into(),
        codec: codec_name(spec.container).into(),
        sample_format: spec.wav.format,
        frames: Some(frames),
        frames_exact: true,
        ..info.clone()
    };
    let seconds = frames as f64 / f64::from(info.rate_hz);
    let elapsed = started.elapsed().as_secs_f64();
    let before = AudioInfo {
        frames: Some(frames),
        frames_exact: true,
        ..info
    };
    Ok(stages.finish(|measured| Cleaned {
        quietwire: env!("CARGO_PKG_VERSION"),
        input: Side {
            path: name,
            info: before,
            seconds,
            levels: measured.before,
            clipped_samples: measured.clipped_in,
        },
        output: Side {
            path: output_name,
            info: after,
            seconds,
            levels: measured.after,
            clipped_samples: measured.clipped_out,
        },
        speech_share: measured.speech_share,
        model: model_use(options, &denoiser),
        processing_s: elapsed,
        speed: seconds / elapsed.max(1e-9),
    })?)
}

fn denoiser(info: &AudioInfo, options: &CleanOptions) -> Result<Denoiser, Error> {
    let mut builder = Denoiser::builder(Arc::clone(&options.model))
        .rate_hz(info.rate_hz)
        .channels(info.channels.into())
        .channel_mode(options.channel_mode)
        .gate(options.gate);
    if let Some(limit) = options.attenuation_db {
        builder = builder.attenuation_db(limit);
    }
    builder.build()
}

fn model_use(options: &CleanOptions, denoiser: &Denoiser) -> ModelUse {
    let spec = options.model.manifest();
    ModelUse {
        id: spec.id().into(),
        version: spec.version().into(),
        latency_ms: 1000.0 * denoiser.latency() as f64 / f64::from(denoiser.rate_hz()),
        attenuation_db: Some(denoiser.attenuation_db()).filter(|limit| limit.is_finite()),
        channel_mode: match options.channel_mode {
            ChannelMode::Linked => "linked",
            ChannelMode::Independent => "independent",
        },
    }
}

/// Says which file has a rate or channels that no stream takes.
fn name_the_file(error: Error, path: &Path) -> Error {
    let path = path.to_path_buf();
    match error {
        Error::Rate {
            found_hz,
            min_hz,
            max_hz,
        } => FileError::Rate {
            path,
            found_hz,
            min_hz,
            max_hz,
        }
        .into(),
        Error::Channels { found, max } => FileError::Channels { path, found, max }.into(),
        other => other,
    }
}

/// How to write `info` under a name.
fn writer_spec(info: &AudioInfo, path: &Path, options: &CleanOptions) -> WriterSpec {
    let named_flac = path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("flac"));
    let container = match options.format {
        OutputFormat::Flac => Container::Flac,
        OutputFormat::Auto if named_flac => Container::Flac,
        _ => Container::Wav,
    };
    let format = match (container, info.sample_format) {
        (Container::Flac, SampleFormat::S32 | SampleFormat::F32 | SampleFormat::F64) => {
            SampleFormat::S24
        }
        (_, format) => format,
    };
    let wav = WavSpec {
        format,
        rate_hz: info.rate_hz,
        channels: info.channels,
        channel_mask: info.channel_mask,
    };
    let frames = info.frames.filter(|_| info.frames_exact);
    WriterSpec {
        container,
        wav,
        frames,
        overwrite: options.overwrite,
    }
}

fn codec_name(container: Container) -> &'static str {
    match container {
        Container::Flac => "flac",
        Container::Wav | Container::Raw => "pcm",
    }
}

fn container_name(container: Container) -> &'static str {
    match container {
        Container::Wav => "WAV",
        Container::Flac => "FLAC",
        Container::Raw => "raw",
    }
}
