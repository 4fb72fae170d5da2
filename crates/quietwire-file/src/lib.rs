#![doc = include_str!("../README.md")]

// In the order in which a file passes through them.
mod audio_info;
mod clean;
mod clean_job;
mod decode;
mod describe;
mod input;
mod measure;
mod mp4;
mod opus;
mod reader;
mod sample_format;
mod wav;

mod sinks;

mod atomic_file;
mod excerpt;
mod html;
mod levels;
mod output;
mod picture;
mod report;
mod spectrogram;
mod telemetry_writer;
mod writer;

mod error;

pub use audio_info::AudioInfo;
pub use clean::clean;
pub use clean_job::{CleanJob, CleanOptions, Progress};
pub use error::FileError;
pub use input::Input;
pub use levels::Levels;
pub use measure::measure;
pub use output::{Output, OutputFormat};
pub use reader::Reader;
pub use report::{CleanReport, FileSummary, ModelInfo, ReportFormat};
pub use sample_format::SampleFormat;
