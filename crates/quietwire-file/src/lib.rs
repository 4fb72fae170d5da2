#![doc = include_str!("../README.md")]

// In the order in which a file passes through them.
mod audio_info;
mod big_endian;
mod caf;
mod catch_panic;
mod clean;
mod clean_job;
mod decode;
mod extended;
mod flac;
mod input;
mod matroska;
mod measure;
mod metadata;
mod mp3;
mod mp4;
mod note;
mod overlay;
mod read_options;
mod reader;
mod recognize;
mod sample_depth;
mod sample_format;
mod section;
mod speaker_layout;
mod spool;
mod track;
mod trailing_tags;
mod via_ffmpeg;
mod wav;

mod sinks;

mod atomic_file;
mod excerpt;
mod file_attributes;
mod html;
mod inserted;
mod levels;
mod output;
mod output_spec;
mod picture;
mod process;
mod report;
mod spectrogram;
mod telemetry_writer;
mod video;
mod writer;

mod error;

pub use atomic_file::remove_unfinished_outputs;
pub use audio_info::AudioInfo;
pub use clean::clean;
pub use clean_job::{CleanJob, CleanOptions, Progress};
pub use error::FileError;
pub use input::Input;
pub use levels::Levels;
pub use measure::measure;
pub use note::Note;
pub use output::{Output, OutputFormat};
pub use read_options::ReadOptions;
pub use reader::Reader;
pub use recognize::{has_audio_extension, is_recording};
pub use report::{CleanReport, FileSummary, ModelInfo, ReportFormat};
pub use sample_format::SampleFormat;
pub use track::AudioTrack;
pub use video::has_video_extension;
