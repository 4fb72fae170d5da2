//! The errors of cleaning a file: what was expected and what was found.

use std::io;
use std::path::PathBuf;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The input cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The input was opened, but reading it failed.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// An output cannot be created or written: no folder, no permission or a full disk.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The input has no samples.
    #[error("{path} holds no audio: expected at least one sample, found {found}")]
    Empty {
        /// The file.
        path: PathBuf,
        /// What the file holds instead.
        found: &'static str,
    },
    /// The format of the input is not supported.
    #[error(
        "{path} is not an audio file that can be read: expected WAV, FLAC, MP3, Ogg (Vorbis, Opus), AAC/M4A, MKV/WebM, AIFF or CAF, found {found}"
    )]
    NotAudio {
        /// The file.
        path: PathBuf,
        /// The first bytes.
        found: String,
    },
    /// The fields of a WAV header contradict each other.
    #[error("{path} has a broken WAV header, {field}: expected {expected}, found {found}")]
    Wav {
        /// The file.
        path: PathBuf,
        /// The part of the header.
        field: &'static str,
        /// Expected value.
        expected: &'static str,
        /// Found value.
        found: String,
    },
    /// A container or codec is not supported.
    #[error("{path}: {what} is not supported")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The container, codec or feature.
        what: String,
    },
    /// A packet cannot be decoded.
    #[error("{path} is damaged at {at_s:.3} s: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Length of the audio before the damage, s.
        at_s: f64,
        /// The decoder's reason.
        reason: String,
    },
    /// The file has no audio track with this number.
    #[error("{path} has no audio track {found}: expected 1 to {tracks}")]
    Track {
        /// The file.
        path: PathBuf,
        /// The number that was asked for.
        found: usize,
        /// Its audio tracks.
        tracks: usize,
    },
    /// The sample rate is outside the supported range.
    #[error("{path} has {found_hz} Hz: expected {min_hz} to {max_hz} Hz")]
    Rate {
        /// The file.
        path: PathBuf,
        /// Its rate, Hz.
        found_hz: u32,
        /// Lowest rate, Hz.
        min_hz: u32,
        /// Highest rate, Hz.
        max_hz: u32,
    },
    /// The file has more channels than a stream can have.
    #[error("{path} has {found} channels: expected 1 to {max}")]
    Channels {
        /// The file.
        path: PathBuf,
        /// Its channels.
        found: usize,
        /// Largest number of channels.
        max: usize,
    },
    /// The output exists, and [`overwrite`](crate::CleanOptions::overwrite) is false.
    #[error("{path} exists already and is not overwritten")]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// Another process writes the same output.
    #[error("another run is writing {path}: its temporary file is {part}")]
    InUse {
        /// The output.
        path: PathBuf,
        /// The temporary file of the other process.
        part: PathBuf,
    },
    /// An output has the path of the input.
    #[error("{path} is both an input and an output: they need different names")]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// Two outputs of one job have the same path.
    #[error("{path} would be written twice: the outputs need different names")]
    DuplicateOutput {
        /// The output.
        path: PathBuf,
    },
    /// A FLAC file counts its frames with 36 bits (RFC 9639, section 8.2).
    #[error("{path} would hold more than {max} frames, the largest number in a FLAC file")]
    TooLongForFlac {
        /// The output.
        path: PathBuf,
        /// Largest number of frames.
        max: u64,
    },
    /// FLAC supports neither this rate nor this many channels.
    #[error(
        "{path} cannot be FLAC: expected 1 to 8 channels and at most {max_hz} Hz, found {channels} channels and {rate_hz} Hz"
    )]
    UnsupportedByFlac {
        /// The output.
        path: PathBuf,
        /// Channels of the output.
        channels: usize,
        /// Rate of the output, Hz.
        rate_hz: u32,
        /// Highest rate, Hz.
        max_hz: u32,
    },
    /// A program that decodes or encodes what this library cannot.
    #[error("cannot start {program}")]
    Program {
        /// The program.
        program: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A video cannot be written.
    #[error("cannot write {path}: {reason}")]
    Video {
        /// The output.
        path: PathBuf,
        /// What the container cannot hold, or the reason of ffmpeg.
        reason: String,
    },
    /// An encoder failed: a fault of this library.
    #[error("cannot encode {path}: {reason}")]
    Encode {
        /// The output.
        path: PathBuf,
        /// The encoder's reason.
        reason: String,
    },
    /// The options do not fit the model, or the model failed.
    #[error(transparent)]
    Denoiser(#[from] quietwire::Error),
}
