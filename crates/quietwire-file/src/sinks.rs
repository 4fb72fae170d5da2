//! Distributes every block after the denoiser: aligns input and output, quantizes, measures, writes.

use std::path::PathBuf;

use quietwire::Telemetry;

use crate::atomic_file::AtomicFile;
use crate::audio_info::AudioInfo;
use crate::error::FileError;
use crate::excerpt::Excerpt;
use crate::file_attributes::FileAttributes;
use crate::html;
use crate::levels::{ClipMeter, LevelMeter, Levels};
use crate::picture::before_and_after;
use crate::report::{CleanReport, ReportFormat};
use crate::spectrogram::Spectrogram;
use crate::telemetry_writer::TelemetryWriter;
use crate::writer::Writer;

/// A block is speech if its speech probability is above this value.
const SPEECH_THRESHOLD: f32 = 0.5;

/// Everything that a job writes.
pub(crate) struct Outputs {
    pub audio: Writer,
    pub residual: Option<Writer>,
    pub reports: Vec<(ReportFormat, PathBuf)>,
    pub spectrogram: Option<PathBuf>,
    pub telemetry: Option<TelemetryWriter>,
    pub overwrite: bool,
    pub attributes: FileAttributes,
}

/// Measurements of a whole file.
pub(crate) struct Measured {
    pub before: Levels,
    pub after: Levels,
    pub speech_share: f64,
    pub clipped_in: u64,
    pub clipped_out: u64,
}

pub(crate) struct Sinks {
    channels: u16,
    outputs: Outputs,
    /// input whose output is still in the denoiser
    delayed: Vec<f32>,
    /// output samples still to drop: those before the start of the signal
    latency_left: usize,
    before: LevelMeter,
    after: LevelMeter,
    clips: ClipMeter,
    clipped_out: u64,
    speech_frames: u64,
    frames: u64,
    /// of input and output
    spectrograms: Option<Box<[Spectrogram; 2]>>,
    /// of input and output
    excerpts: Option<[Excerpt; 2]>,
}

impl Sinks {
    pub(crate) fn new(info: &AudioInfo, latency: usize, outputs: Outputs) -> Self {
        let (rate_hz, channels) = (info.rate_hz, info.channels);
        let html = outputs
            .reports
            .iter()
            .any(|(format, _)| *format == ReportFormat::Html);
        let spectrogram = || Spectrogram::new(rate_hz, channels);
        let excerpt = || Excerpt::new(rate_hz, channels);
        Self {
            channels,
            delayed: Vec::new(),
            latency_left: latency * usize::from(channels),
            before: LevelMeter::new(rate_hz, channels),
            after: LevelMeter::new(rate_hz, channels),
            clips: ClipMeter::new(info.sample_format.full_scale(), channels),
            clipped_out: 0,
            speech_frames: 0,
            frames: 0,
            spectrograms: (html || outputs.spectrogram.is_some())
                .then(|| Box::new([spectrogram(), spectrogram()])),
            excerpts: html.then(|| [excerpt(), excerpt()]),
            outputs,
        }
    }

    /// Takes a block of the input and the block that the denoiser returned for it, which is later by
    /// the latency. `telemetry` is that of the latest hop.
    pub(crate) fn push(
        &mut self,
        input: &[f32],
        output: &mut [f32],
        telemetry: Telemetry,
    ) -> Result<(), FileError> {
        self.delayed.extend_from_slice(input);
        let dropped = self.latency_left.min(output.len());
        self.latency_left -= dropped;
        let after = &mut output[dropped..];
        self.clipped_out += self.outputs.audio.format().quantize(after);
        let before = &self.delayed[..after.len()];

        self.outputs.audio.write(after)?;
        if let Some(writer) = &mut self.outputs.residual {
            // From the quantized output, so that residual and output add up to the input.
            let mut residual: Vec<f32> = before.iter().zip(&*after).map(|(b, a)| b - a).collect();
            writer.format().quantize(&mut residual);
            writer.write(&residual)?;
        }
        let is_speech = telemetry
            .speech_probability
            .is_some_and(|probability| probability > SPEECH_THRESHOLD);
        let frames = after.len() as u64 / u64::from(self.channels);
        self.frames += frames;
        self.speech_frames += if is_speech { frames } else { 0 };
        self.before.push(before, is_speech);
        self.after.push(after, is_speech);
        self.clips.push(before);
        if let Some(spectrograms) = &mut self.spectrograms {
            spectrograms[0].push(before);
            spectrograms[1].push(after);
        }
        if let Some(excerpts) = &mut self.excerpts {
            excerpts[0].push(before);
            excerpts[1].push(after);
        }
        let done = after.len();
        self.delayed.drain(..done);
        Ok(())
    }

    /// Writes the telemetry of one hop that ended at `time_s` of the input.
    pub(crate) fn push_telemetry(
        &mut self,
        time_s: f64,
        telemetry: Telemetry,
    ) -> Result<(), FileError> {
        match &mut self.outputs.telemetry {
            Some(writer) => writer.push(time_s, telemetry),
            None => Ok(()),
        }
    }

    /// Completes all outputs. The audio is the last, so all other outputs exist when it appears.
    /// `late`: chunks of metadata for the audio that were not known at the start.
    pub(crate) fn finish(
        self,
        late: &[u8],
        report: impl FnOnce(Measured) -> CleanReport,
    ) -> Result<CleanReport, FileError> {
        let outputs = self.outputs;
        let attributes = outputs.attributes.without_times();
        let report = report(Measured {
            before: self.before.finish(),
            after: self.after.finish(),
            speech_share: self.speech_frames as f64 / self.frames.max(1) as f64,
            clipped_in: self.clips.samples(),
            clipped_out: self.clipped_out,
        });
        let png = match self.spectrograms {
            Some(mut spectrograms) => {
                spectrograms.iter_mut().for_each(Spectrogram::finish);
                let path = outputs.spectrogram.as_deref();
                before_and_after(&spectrograms[0], &spectrograms[1]).map_err(|error| {
                    FileError::Encode {
                        path: path.unwrap_or(&report.output.path).into(),
                        reason: error.to_string(),
                    }
                })?
            }
            None => Vec::new(),
        };
        if let Some(path) = &outputs.spectrogram {
            AtomicFile::write(path, outputs.overwrite, &attributes, &png)?;
        }
        for (format, path) in &outputs.reports {
            let text = match (format, &self.excerpts) {
                (ReportFormat::Html, Some(excerpts)) => html::page(&report, &png, excerpts, path)?,
                _ => report.to_json(),
            };
            AtomicFile::write(path, outputs.overwrite, &attributes, text.as_bytes())?;
        }
        if let Some(residual) = outputs.residual {
            residual.finish(&[])?;
        }
        if let Some(telemetry) = outputs.telemetry {
            telemetry.finish()?;
        }
        outputs.audio.finish(late)?;
        Ok(report)
    }
}
