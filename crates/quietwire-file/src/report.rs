//! The results of cleaning a file, as a struct and as JSON.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::audio_info::AudioInfo;
use crate::levels::Levels;
use crate::note::Note;

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportFormat {
    /// The fields of [`CleanReport`].
    Json,
    /// One page with spectrograms and players. It refers to no other file or address.
    Html,
}

/// The results of [`clean`](crate::clean) for one file.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CleanReport {
    /// Version of this library.
    pub quietwire: &'static str,
    /// The input.
    pub input: FileSummary,
    /// The output.
    pub output: FileSummary,
    /// Fraction of the file, 0 to 1, with a speech probability above 0.5. 0 if the model has no such
    /// output.
    pub speech_share: f64,
    /// The model and its settings.
    pub model: ModelInfo,
    /// Time that cleaning took, s.
    pub processing_s: f64,
    /// Length of the file divided by [`processing_s`](Self::processing_s).
    pub speed: f64,
}

/// The format, length and levels of one file.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct FileSummary {
    /// The file; `stdin` or `stdout` for a pipe.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Format.
    #[serde(flatten)]
    pub info: AudioInfo,
    /// Length, s.
    pub seconds: f64,
    /// Levels.
    #[serde(flatten)]
    pub levels: Levels,
    /// Facts about the file: what is missing, what was left out, what was chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// In the input: samples in runs of at least three at full scale, a sign of a clipped recording.
    /// In the output: samples that were limited to full scale.
    pub clipped_samples: u64,
    /// Samples of the input that were NaN or infinite. They were cleaned as 0. 0 for the output.
    pub non_finite_samples: u64,
}

/// The model and its settings.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Latency of a live stream at the file's rate, ms. A cleaned file has no delay.
    pub latency_ms: f64,
    /// The attenuation limit, dB. `None`: no limit.
    pub attenuation_db: Option<f32>,
    /// `independent` or `linked`.
    pub channel_mode: &'static str,
}

impl CleanReport {
    /// Whether all audio of the input is in the output. The notes of the input name what is missing.
    pub fn is_complete(&self) -> bool {
        !self.input.notes.iter().any(Note::is_loss)
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self)
            .expect("every key is a string and every value has a JSON form");
        json.push('\n');
        json
    }
}

/// Serializes a path that may not be Unicode, as JSON must be.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}
