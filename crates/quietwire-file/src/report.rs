//! What cleaning a file found, as a struct and as JSON.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::error::FileError;
use super::levels::{ClipMeter, Levels, Meter};
use super::reader::{AudioInfo, Input, Reader};

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// The fields of [`Cleaned`].
    Json,
    /// One page with pictures and players, without anything from outside.
    Html,
}

/// What [`clean`](super::clean) did to a file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Cleaned {
    /// Version of this library.
    pub quietwire: &'static str,
    /// Before.
    pub input: Side,
    /// After.
    pub output: Side,
    /// Share of the file, 0 to 1, in which the model heard speech with a probability above 0.5.
    pub speech_share: f64,
    /// The model and its settings.
    pub model: ModelUse,
    /// How long it took, s.
    pub processing_s: f64,
    /// Length of the file by [`processing_s`](Self::processing_s).
    pub speed: f64,
}

/// One side of the denoiser.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Side {
    /// The file; `stdin` and `stdout` for pipes.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// What the file is.
    #[serde(flatten)]
    pub info: AudioInfo,
    /// Length, s.
    pub seconds: f64,
    /// Levels.
    #[serde(flatten)]
    pub levels: Levels,
    /// In the input: samples in runs of at least three at full scale, a recording that was too
    /// loud. In the output: samples that had to be limited to full scale.
    pub clipped_samples: u64,
}

/// The model and its settings.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ModelUse {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Delay of a live stream at the file's rate; a cleaned file has none.
    pub latency_ms: f64,
    /// The most that noise was turned down, dB; none for no limit.
    pub attenuation_db: Option<f32>,
    /// `independent` or `linked`.
    pub channel_mode: &'static str,
}

impl Cleaned {
    /// The report as JSON.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self)
            .expect("every key is a string and every value has a form in JSON");
        json.push('\n');
        json
    }
}

/// JSON is Unicode, a path need not be.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Reads a file to its end and measures it, without cleaning anything. No speech is told apart.
///
/// # Errors
/// As the reading in [`clean`](super::clean).
pub fn measure(input: Input) -> Result<Side, FileError> {
    let path = input.name().to_path_buf();
    let mut reader = Reader::open(input)?;
    let info = reader.info().clone();
    let mut meter = Meter::new(info.rate_hz, info.channels);
    let mut clips = ClipMeter::new(info.sample_format.full_scale(), info.channels);
    let (mut block, mut frames) = (Vec::new(), 0);
    loop {
        let found = reader.read(4096, &mut block)?;
        if found == 0 {
            break;
        }
        frames += found as u64;
        meter.push(&block, false);
        clips.push(&block);
    }
    if frames == 0 {
        return Err(FileError::Empty {
            path,
            found: "a header without samples",
        });
    }
    let seconds = frames as f64 / f64::from(info.rate_hz);
    Ok(Side {
        path,
        info: AudioInfo {
            frames: Some(frames),
            frames_exact: true,
            ..info
        },
        seconds,
        levels: meter.finish(),
        clipped_samples: clips.samples(),
    })
}
