//! Cleans audio files: WAV, FLAC, MP3, Ogg Vorbis, Opus, AAC, MKV/WebM, AIFF and CAF in, WAV and
//! FLAC out, in constant memory whatever the length.
//!
//! ```no_run
//! use quietwire::file::{CleanOptions, Input, Job, Output, clean};
//!
//! # fn main() -> Result<(), quietwire::Error> {
//! let options = CleanOptions::new(quietwire::Model::embedded("base")?);
//! let job = Job::new(Input::File("talk.mp3".into()), Output::File("talk.clean.wav".into()));
//! let cleaned = clean(job, &options, &mut |_| ())?;
//! println!("noise floor now {:.0} dBFS", cleaned.output.levels.noise_floor_dbfs);
//! # Ok(())
//! # }
//! ```

mod clean;
mod decode;
mod error;
mod excerpt;
mod html;
mod job;
mod levels;
mod mp4;
mod opus;
mod part;
mod reader;
mod report;
mod sample;
mod spectrogram;
mod stages;
mod telemetry;
mod wav;
mod writer;

pub use clean::clean;
pub use error::FileError;
pub use job::{CleanOptions, Job, Output, OutputFormat, Progress};
pub use levels::Levels;
pub use reader::{AudioInfo, Input, Reader};
pub use report::{Cleaned, ModelUse, ReportFormat, Side, measure};
pub use sample::SampleFormat;
