//! The functions `clean_file` and `read_audio`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use pyo3::prelude::*;
use quietwire_file::{
    CleanJob, CleanOptions, FileError, Input, Output, OutputFormat, Progress, ReadOptions, Reader,
    ReportFormat, clean, has_video_extension,
};

use crate::block::{Samples, Shape};
use crate::error::{from_file, invalid_option};
use crate::model::from_optional;
use crate::options::common;

/// The payload of the unwinding that ends a file when Python raised an exception.
struct Interrupted(PyErr);

/// Cleans one audio file, in constant memory. The output has the rate, channels, depth, length and
/// metadata of the input and is aligned with it. It appears under its name when it is complete; after an
/// exception there is no output file.
///
/// Args:
///     source: WAV, FLAC, MP3, Ogg (Vorbis, Opus), AAC/M4A, MKV/WebM, AIFF or CAF.
///     destination: `.wav` or `.flac`. A video extension (`.mp4`, `.mkv`, ...) makes a copy of the
///         video `source` with cleaned sound; ffmpeg and ffprobe must be on the path.
///     model: a `Model`, the id of a model of the package, or the path of a model's folder.
///     level: `"low"` (12 dB), `"medium"` (20 dB) or `"high"` (40 dB, the default).
///     attenuation_db: the largest attenuation, dB, in place of `level`; `math.inf` for no limit.
///     channel_mode: `"independent"`, or `"linked"`: all channels share one mask.
///     format: `"auto"` (by the name of the output), `"wav"` or `"flac"`.
///     overwrite: whether existing outputs are replaced.
///     strip_metadata: whether the output has none of the metadata of the input.
///     track: the audio track of a container, counted from 1. `None`: the default track.
///     via_ffmpeg: whether ffmpeg decodes what this package cannot decode.
///     residual: file for what was removed: the input minus the output.
///     report: file for a report, `.json` or `.html`.
///     spectrogram: PNG file for the spectrograms of input and output.
///     telemetry: file for one line of JSON for each hop.
///     progress: called about once for each second of audio with the frames done and all frames, which
///         may be an estimate or `None`; at the end both are the frames of the input. An exception of it
///         stops the work and is raised here.
///
/// Returns:
///     The report as a dict: format, levels and notes of input and output, `speech_share` (0 to 1), the
///     model, `processing_s` and `speed`. `input.notes` lists what the file lacks.
///
/// Raises:
///     FileMissingError, FileAccessError: a file cannot be read or written. Both are `OSError`.
///     InvalidAudioError: the input is damaged or no audio.
///     OutputExistsError: an output exists and `overwrite` is false.
///     OutputError: the output cannot have this name or format.
///     InvalidOptionError, UnknownModelError: as `clean_array`.
#[pyfunction]
#[pyo3(signature = (
    source, destination, model=None, *, level=None, attenuation_db=None,
    channel_mode="independent", format="auto", overwrite=false, strip_metadata=false, track=None,
    via_ffmpeg=false, residual=None, report=None, spectrogram=None, telemetry=None, progress=None,
))]
#[expect(clippy::too_many_arguments, reason = "they are named in Python")]
pub(crate) fn clean_file<'py>(
    py: Python<'py>,
    source: PathBuf,
    destination: PathBuf,
    model: Option<&Bound<'py, PyAny>>,
    level: Option<&str>,
    attenuation_db: Option<f32>,
    channel_mode: &str,
    format: &str,
    overwrite: bool,
    strip_metadata: bool,
    track: Option<usize>,
    via_ffmpeg: bool,
    residual: Option<PathBuf>,
    report: Option<PathBuf>,
    spectrogram: Option<PathBuf>,
    telemetry: Option<PathBuf>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let denoiser = common(py, level, attenuation_db, channel_mode)?;
    let mut options = CleanOptions::new(from_optional(py, model)?);
    options.denoiser = denoiser;
    options.format = output_format(py, format)?;
    options.overwrite = overwrite;
    options.strip_metadata = strip_metadata;
    options.read.track = track;
    options.read.via_ffmpeg = via_ffmpeg;

    let output = if has_video_extension(&destination) {
        Output::Video(destination)
    } else {
        Output::File(destination)
    };
    let mut job = CleanJob::new(Input::File(source), output);
    job.residual = residual;
    job.spectrogram = spectrogram;
    job.telemetry = telemetry;
    if let Some(path) = report {
        job.reports.push((report_format(py, &path)?, path));
    }
    let result = py.detach(|| run(job, &options, progress.as_ref()))?;
    let report = result.map_err(|error| from_file(py, &error))?;
    py.import("json")?.call_method1("loads", (report,))
}

/// Cleans the file. Returns the report as JSON. An outer error is an exception of `progress` or of a
/// signal.
///
/// `clean` has no way to stop before the end. Unwinding through it drops its outputs, which removes
/// their temporary files.
fn run(
    job: CleanJob,
    options: &CleanOptions,
    progress: Option<&Py<PyAny>>,
) -> PyResult<Result<String, FileError>> {
    let mut next = 0;
    let mut on_progress = |done: Progress| {
        if done.frames < next && Some(done.frames) != done.total {
            return;
        }
        next = done.frames + u64::from(done.rate_hz);
        if let Err(error) = report_progress(done, progress) {
            resume_unwind(Box::new(Interrupted(error)));
        }
    };
    let cleaned = catch_unwind(AssertUnwindSafe(|| clean(job, options, &mut on_progress)));
    match cleaned {
        Ok(report) => Ok(report.map(|report| report.to_json())),
        Err(payload) => match payload.downcast::<Interrupted>() {
            Ok(interrupted) => Err(interrupted.0),
            Err(panic) => resume_unwind(panic),
        },
    }
}

/// Reads an audio file of any format of `clean_file` into memory.
///
/// Args:
///     source: WAV, FLAC, MP3, Ogg (Vorbis, Opus), AAC/M4A, MKV/WebM, AIFF or CAF.
///     max_s: reads no more than this many seconds. `None`: the whole file.
///     track: the audio track of a container, counted from 1. `None`: the default track.
///     via_ffmpeg: whether ffmpeg decodes what this package cannot decode.
///
/// Returns:
///     `(samples, rate_hz)`: float32 in [-1, 1], shape (n,) for one channel and (n, c) for several, and the
///     sample rate, Hz. NaN and infinite samples of the file are 0.
///
/// Raises:
///     FileMissingError, FileAccessError: the file cannot be read. Both are `OSError`.
///     InvalidAudioError: the file is damaged or no audio.
///     InvalidOptionError: `max_s` is not more than 0.
#[pyfunction]
#[pyo3(signature = (source, *, max_s=None, track=None, via_ffmpeg=false))]
pub(crate) fn read_audio(
    py: Python<'_>,
    source: PathBuf,
    max_s: Option<f64>,
    track: Option<usize>,
    via_ffmpeg: bool,
) -> PyResult<(Bound<'_, PyAny>, u32)> {
    if let Some(found) = max_s
        && (found.is_nan() || found <= 0.0)
    {
        let text = format!("max_s: expected more than 0 s, found {found}");
        return Err(invalid_option(py, text));
    }
    let mut options = ReadOptions::default();
    options.track = track;
    options.via_ffmpeg = via_ffmpeg;
    let opened = py.detach(|| Reader::open_with(Input::File(source), &options));
    let mut reader = opened.map_err(|error| from_file(py, &error))?;
    let (rate_hz, channels) = (reader.info().rate_hz, usize::from(reader.info().channels));
    // Rounds down; a number of frames that no file has is no limit.
    let max_frames = max_s.map_or(usize::MAX, |max_s| (max_s * f64::from(rate_hz)) as usize);
    let mut samples = Vec::new();
    let mut second = Vec::new();
    while samples.len() / channels < max_frames {
        let frames = (max_frames - samples.len() / channels).min(rate_hz as usize);
        let read = py.detach(|| reader.read(frames, &mut second));
        if read.map_err(|error| from_file(py, &error))? == 0 {
            break;
        }
        samples.extend_from_slice(&second);
        // Ctrl-C can stop a long file.
        py.check_signals()?;
    }
    let shape = if channels == 1 {
        Shape::Flat
    } else {
        Shape::FramesFirst
    };
    let samples = Samples::F32(samples).into_array(py, shape, channels)?;
    Ok((samples, rate_hz))
}

fn report_progress(done: Progress, progress: Option<&Py<PyAny>>) -> PyResult<()> {
    Python::attach(|py| {
        py.check_signals()?;
        if let Some(progress) = progress {
            progress.call1(py, (done.frames, done.total))?;
        }
        Ok(())
    })
}

fn output_format(py: Python<'_>, format: &str) -> PyResult<OutputFormat> {
    match format {
        "auto" => Ok(OutputFormat::Auto),
        "wav" => Ok(OutputFormat::Wav),
        "flac" => Ok(OutputFormat::Flac),
        _ => Err(invalid_option(
            py,
            format!("format: expected \"auto\", \"wav\" or \"flac\", found {format:?}"),
        )),
    }
}

fn report_format(py: Python<'_>, path: &std::path::Path) -> PyResult<ReportFormat> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Ok(ReportFormat::Json),
        Some("html" | "htm") => Ok(ReportFormat::Html),
        _ => Err(invalid_option(
            py,
            format!("report: expected a name that ends in .json or .html, found {path:?}"),
        )),
    }
}
