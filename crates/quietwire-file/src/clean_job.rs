//! The options and the files of one run of [`clean`](crate::clean).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quietwire::{DenoiserOptions, Model};

use crate::atomic_file::is_special;
use crate::error::FileError;
use crate::input::Input;
use crate::output::{Output, OutputFormat};
use crate::read_options::ReadOptions;
use crate::report::ReportFormat;

/// The options of [`clean`](crate::clean), the same for every file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CleanOptions {
    /// The model.
    pub model: Arc<Model>,
    /// The options of the stream. `clean` replaces `rate_hz`, `channels`, `hop_aligned` and
    /// `telemetry_hops` with values that fit the file.
    pub denoiser: DenoiserOptions,
    /// How the input is read.
    pub read: ReadOptions,
    /// The container of the output.
    pub format: OutputFormat,
    /// Whether the output has none of the metadata of the input. `false`: all that its format can
    /// hold.
    pub strip_metadata: bool,
    /// Whether existing outputs are replaced.
    pub overwrite: bool,
}

impl CleanOptions {
    /// The default options of a stream, [`OutputFormat::Auto`], and no overwriting.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            model,
            denoiser: DenoiserOptions::default(),
            read: ReadOptions::default(),
            format: OutputFormat::Auto,
            strip_metadata: false,
            overwrite: false,
        }
    }
}

/// One file to clean.
#[derive(Debug)]
#[non_exhaustive]
pub struct CleanJob {
    /// The audio to clean.
    pub input: Input,
    /// The destination of the cleaned audio.
    pub output: Output,
    /// The file for the residual: the input minus the output, sample by sample.
    pub residual: Option<PathBuf>,
    /// Reports to write.
    pub reports: Vec<(ReportFormat, PathBuf)>,
    /// The PNG file for the spectrograms of input and output.
    pub spectrogram: Option<PathBuf>,
    /// The file for the [`Telemetry`](quietwire::Telemetry): one line of JSON for each hop that
    /// ended within the input. `time_s` is the input's length up to the end of the hop.
    /// `speech_probability` is missing if the model has no such output.
    pub telemetry: Option<PathBuf>,
}

impl CleanJob {
    /// A job that writes the cleaned audio only.
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

    fn output_files(&self) -> impl Iterator<Item = &Path> {
        let output = match &self.output {
            Output::File(path) | Output::Video(path) => Some(path.as_path()),
            Output::Stream(_) => None,
        };
        output
            .into_iter()
            .chain(self.residual.as_deref())
            .chain(self.reports.iter().map(|(_, path)| path.as_path()))
            .chain(self.spectrogram.as_deref())
            .chain(self.telemetry.as_deref())
    }

    /// Checks all paths before any file is touched.
    ///
    /// # Errors
    /// [`FileError::SameFile`], [`FileError::Exists`] or [`FileError::DuplicateOutput`].
    pub(crate) fn check_paths(&self, overwrite: bool) -> Result<(), FileError> {
        let input = match &self.input {
            Input::File(path) => path.canonicalize().ok(),
            Input::Stream(_) | Input::Raw { .. } => None,
        };
        let mut seen = Vec::new();
        for path in self.output_files().filter(|path| !is_special(path)) {
            let real = path.canonicalize().ok();
            if real.is_some() && real == input {
                return Err(FileError::SameFile { path: path.into() });
            }
            if real.is_some() && !overwrite {
                return Err(FileError::Exists { path: path.into() });
            }
            let real = real.unwrap_or_else(|| path.into());
            if seen.contains(&real) {
                return Err(FileError::DuplicateOutput { path: path.into() });
            }
            seen.push(real);
        }
        Ok(())
    }
}

/// The progress of one file.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress {
    /// Frames read.
    pub frames: u64,
    /// All frames of the input, if its header states them. May be an estimate; at the end it is `frames`.
    pub total: Option<u64>,
    /// Sample rate, Hz.
    pub rate_hz: u32,
}
