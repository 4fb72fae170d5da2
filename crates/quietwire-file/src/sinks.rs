//! What happens to every block after the denoiser: alignment, rounding, measuring, writing.

use std::path::PathBuf;

use super::error::FileError;
use super::excerpt::Excerpt;
use super::html;
use super::levels::{ClipMeter, Levels, Meter};
use super::part::PartFile;
use super::reader::AudioInfo;
use super::report::{Cleaned, ReportFormat};
use super::spectrogram::{Spectrogram, before_and_after};
use super::telemetry::Trace;
use super::writer::Writer;
use crate::{Denoiser, Telemetry};

/// A block counts as speech from this probability on.
const SPEECH: f32 = 0.5;

/// Everything that a job writes.
pub(super) struct Outputs {
    pub audio: Writer,
    pub residual: Option<Writer>,
    pub reports: Vec<(ReportFormat, PathBuf)>,
    pub spectrogram: Option<PathBuf>,
    pub trace: Option<Trace>,
    pub overwrite: bool,
}

/// What was measured over a whole file.
pub(super) struct Measured {
    pub before: Levels,
    pub after: Levels,
    pub speech_share: f64,
    pub clipped_in: u64,
    pub clipped_out: u64,
}

pub(super) struct Stages {
    channels: u16,
    outputs: Outputs,
    /// Input that waits for its output.
    waiting: Vec<f32>,
    /// Output samples that come before the first one of the signal.
    early: usize,
    before: Meter,
    after: Meter,
    clips: ClipMeter,
    clipped_out: u64,
    speech_frames: u64,
    frames: u64,
    pictures: Option<Box<[Spectrogram; 2]>>,
    excerpts: Option<[Excerpt; 2]>,
}

impl Stages {
    pub(super) fn new(info: &AudioInfo, latency: usize, outputs: Outputs) -> Self {
        let (rate, channels) = (info.rate_hz, info.channels);
        let html = outputs
            .reports
            .iter()
            .any(|(format, _)| *format == ReportFormat::Html);
        let picture = || Spectrogram::new(rate, channels);
        Self {
            channels,
            waiting: Vec::new(),
            early: latency * usize::from(channels),
            before: Meter::new(rate, channels),
            after: Meter::new(rate, channels),
            clips: ClipMeter::new(info.sample_format.full_scale(), channels),
            clipped_out: 0,
            speech_frames: 0,
            frames: 0,
            pictures: (html || outputs.spectrogram.is_some())
                .then(|| Box::new([picture(), picture()])),
            excerpts: html.then(|| [Excerpt::new(rate, channels), Excerpt::new(rate, channels)]),
            outputs,
        }
    }

    /// Takes a block of input and the output that came for it, later by the latency; what the
    /// denoiser told last belongs to the output.
    pub(super) fn push(
        &mut self,
        input: &[f32],
        output: &mut [f32],
        telemetry: Telemetry,
    ) -> Result<(), FileError> {
        self.waiting.extend_from_slice(input);
        let early = self.early.min(output.len());
        self.early -= early;
        let after = &mut output[early..];
        self.clipped_out += self.outputs.audio.format().quantize(after);
        let before = &self.waiting[..after.len()];

        self.outputs.audio.write(after)?;
        if let Some(residual) = &mut self.outputs.residual {
            // From the rounded output, so that residual and output add up to the input.
            let mut rest: Vec<f32> = before.iter().zip(&*after).map(|(b, a)| b - a).collect();
            residual.format().quantize(&mut rest);
            residual.write(&rest)?;
        }
        let speech = telemetry.speech_probability > SPEECH;
        let frames = after.len() as u64 / u64::from(self.channels);
        self.frames += frames;
        self.speech_frames += if speech { frames } else { 0 };
        self.before.push(before, speech);
        self.after.push(after, speech);
        self.clips.push(before);
        if let Some(pictures) = &mut self.pictures {
            pictures[0].push(before);
            pictures[1].push(after);
        }
        if let Some(excerpts) = &mut self.excerpts {
            excerpts[0].push(before);
            excerpts[1].push(after);
        }
        let done = after.len();
        self.waiting.drain(..done);
        Ok(())
    }

    /// Takes what the denoiser tells of its latest hop, `frames` into the input.
    pub(super) fn trace(&mut self, denoiser: &Denoiser, frames: u64) -> Result<(), FileError> {
        let Some(trace) = &mut self.outputs.trace else {
            return Ok(());
        };
        let time_s = frames as f64 / f64::from(denoiser.rate_hz());
        trace.push(denoiser.hops(), time_s, denoiser.telemetry())
    }

    /// Completes all outputs, the audio last.
    pub(super) fn finish(
        self,
        describe: impl FnOnce(Measured) -> Cleaned,
    ) -> Result<Cleaned, FileError> {
        let outputs = self.outputs;
        let cleaned = describe(Measured {
            before: self.before.finish(),
            after: self.after.finish(),
            speech_share: self.speech_frames as f64 / self.frames.max(1) as f64,
            clipped_in: self.clips.samples(),
            clipped_out: self.clipped_out,
        });
        let png = match self.pictures {
            Some(mut pictures) => {
                pictures.iter_mut().for_each(Spectrogram::finish);
                let path = outputs.spectrogram.as_deref();
                before_and_after(&pictures[0], &pictures[1]).map_err(|error| FileError::Build {
                    path: path.unwrap_or(&cleaned.output.path).into(),
                    reason: error.to_string(),
                })?
            }
            None => Vec::new(),
        };
        if let Some(path) = &outputs.spectrogram {
            PartFile::write(path, outputs.overwrite, &png)?;
        }
        for (format, path) in &outputs.reports {
            let text = match (format, &self.excerpts) {
                (ReportFormat::Html, Some(excerpts)) => html::page(&cleaned, &png, excerpts, path)?,
                _ => cleaned.to_json(),
            };
            PartFile::write(path, outputs.overwrite, text.as_bytes())?;
        }
        if let Some(residual) = outputs.residual {
            residual.finish()?;
        }
        if let Some(trace) = outputs.trace {
            trace.finish()?;
        }
        outputs.audio.finish()?;
        Ok(cleaned)
    }
}
