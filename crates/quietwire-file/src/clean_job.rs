//! What to clean, where to put it and how.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::FileError;
use super::part::is_special;
use super::reader::Input;
use super::report::ReportFormat;
use crate::{ChannelMode, Model};

/// What [`clean`](super::clean) does to every file.
#[derive(Clone)]
#[non_exhaustive]
pub struct CleanOptions {
    /// The model.
    pub model: Arc<Model>,
    /// The most that noise may be turned down, dB; none leaves the choice to the denoiser, 0
    /// changes nothing.
    pub attenuation_db: Option<f32>,
    /// How channels share the model.
    pub channel_mode: ChannelMode,
    /// See [`DenoiserBuilder::gate`](crate::DenoiserBuilder::gate).
    pub gate: bool,
    /// The container to write.
    pub format: OutputFormat,
    /// Whether outputs that exist are replaced.
    pub overwrite: bool,
}

impl CleanOptions {
    /// Independent channels, the denoiser's own limit, nothing replaced.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            model,
            attenuation_db: None,
            channel_mode: ChannelMode::default(),
            gate: false,
            format: OutputFormat::Auto,
            overwrite: false,
        }
    }
}

/// The container of an output. Its depth is the input's; see
/// [`AudioInfo::sample_format`](super::AudioInfo::sample_format).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// FLAC where the output's name ends in `.flac`, otherwise WAV.
    #[default]
    Auto,
    /// WAV, RF64 beyond 4 GiB.
    Wav,
    /// FLAC; 32-bit integers and floats become 24-bit integers.
    Flac,
}

/// Where the cleaned audio goes.
pub enum Output {
    /// A file, complete under this name or not there at all.
    File(PathBuf),
    /// A pipe: WAV, or bare samples where the input is [`Input::Raw`].
    Stream(Box<dyn Write + Send>),
}

/// One file to clean.
#[non_exhaustive]
pub struct Job {
    /// What to clean.
    pub input: Input,
    /// Where the result goes.
    pub output: Output,
    /// Where the residual goes, input less output sample by sample: what was taken away.
    pub residual: Option<PathBuf>,
    /// Reports to write.
    pub reports: Vec<(ReportFormat, PathBuf)>,
    /// Where a picture of both spectrograms goes, PNG.
    pub spectrogram: Option<PathBuf>,
    /// Where each hop's [`Telemetry`](crate::Telemetry) goes: a line of JSON a hop, with `time_s`,
    /// the input heard by its end. `speech_probability` is left out where the model does not tell.
    pub telemetry: Option<PathBuf>,
}

impl Job {
    /// A job without residual, reports, picture and telemetry.
    pub fn new(input: Input, output: Output) -> Self {
        Self {
            input,
            output,
            residual: None,
            reports: Vec::new(),
            spectrogram: None,
            telemetry: None,
        }
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let output = match &self.output {
            Output::File(path) => Some(path.as_path()),
            Output::Stream(_) => None,
        };
        output
            .into_iter()
            .chain(self.residual.as_deref())
            .chain(self.reports.iter().map(|(_, path)| path.as_path()))
            .chain(self.spectrogram.as_deref())
            .chain(self.telemetry.as_deref())
    }

    /// Refuses what would destroy something, before anything is touched.
    pub(super) fn check(&self, overwrite: bool) -> Result<(), FileError> {
        let input = match &self.input {
            Input::File(path) => path.canonicalize().ok(),
            Input::Stream(_) | Input::Raw { .. } => None,
        };
        let mut seen = Vec::new();
        for path in self.files().filter(|path| !is_special(path)) {
            let real = path.canonicalize().ok();
            if real.is_some() && real == input {
                return Err(FileError::SameFile { path: path.into() });
            }
            if real.is_some() && !overwrite {
                return Err(FileError::Exists { path: path.into() });
            }
            let real = real.unwrap_or_else(|| path.into());
            if seen.contains(&real) {
                return Err(FileError::Twice { path: path.into() });
            }
            seen.push(real);
        }
        Ok(())
    }
}

/// How far a file is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Frames read.
    pub frames: u64,
    /// Frames in all, where the input tells; may be an estimate.
    pub total: Option<u64>,
    /// Sample rate, Hz.
    pub rate_hz: u32,
}
