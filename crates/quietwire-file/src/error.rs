//! What can go wrong with a file, with what was expected, what came and what to do.

use std::io;
use std::path::PathBuf;

/// Every error of the file shell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The input cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why, from the operating system.
        source: io::Error,
    },
    /// The input stopped being readable half way.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why, from the operating system.
        source: io::Error,
    },
    /// An output cannot be created or written: no folder, no permission, a full disk.
    #[error(
        "cannot write {path}: {source}; nothing was left behind, so free some space or choose another place with -o and run it again"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Why, from the operating system.
        source: io::Error,
    },
    /// The input holds no audio at all.
    #[error(
        "{path} holds no audio: expected at least one sample, found {found}; record or export it again"
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// The bytes are no audio format that this program knows.
    #[error(
        "{path} is not an audio file that can be read: expected WAV, FLAC, MP3, Ogg (Vorbis, Opus), AAC/M4A, MKV/WebM, AIFF or CAF, found {found}; if it is audio, convert it first: ffmpeg -i INPUT OUTPUT.wav"
    )]
    NotAudio {
        /// The file.
        path: PathBuf,
        /// What the first bytes look like.
        found: String,
    },
    /// A WAV header that contradicts itself.
    #[error(
        "{path} has a broken WAV header, {field}: expected {expected}, found {found}; export it again, or try ffmpeg -i INPUT OUTPUT.wav"
    )]
    Wav {
        /// The file.
        path: PathBuf,
        /// Where in the header.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A container or codec that cannot be decoded.
    #[error("{path}: {what} is not supported; convert it first: ffmpeg -i INPUT OUTPUT.wav")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The container, codec or feature.
        what: String,
    },
    /// A packet that cannot be decoded.
    #[error(
        "{path} is damaged at {at_s:.3} s: {reason}; fetch or export the file again, or let a player skip the damage: ffmpeg -i INPUT OUTPUT.wav"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// How much audio came before the damage, s.
        at_s: f64,
        /// From the decoder.
        reason: String,
    },
    /// The file ends before its own header says.
    #[error(
        "{path} is cut off: its header promises {expected} frames, {found} are there; copy the file again, or save what is there: ffmpeg -i INPUT OUTPUT.wav"
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Frames promised.
        expected: u64,
        /// Frames found.
        found: u64,
    },
    /// A floating-point sample that is no number.
    #[error(
        "{path} holds {value} in channel {channel} at {at_s:.3} s (frame {frame}): expected finite samples; the program that wrote the file has a fault, export it again as integer PCM"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// NaN, inf or -inf.
        value: f64,
        /// Channel, from 1.
        channel: usize,
        /// Frame, from 0.
        frame: u64,
        /// The same, s.
        at_s: f64,
    },
    /// A sample rate that the denoiser does not take.
    #[error(
        "{path} has {found_hz} Hz: expected {min_hz} to {max_hz} Hz; resample it first: ffmpeg -i INPUT -ar 48000 OUTPUT.wav"
    )]
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
    /// More channels than a stream or the output format can have.
    #[error(
        "{path} has {found} channels: expected 1 to {max}; mix it down first: ffmpeg -i INPUT -ac 2 OUTPUT.wav"
    )]
    Channels {
        /// The file.
        path: PathBuf,
        /// Its channels.
        found: usize,
        /// Most channels.
        max: usize,
    },
    /// The output is there already.
    #[error(
        "{path} exists already: overwrite it with --force, skip what is done with --resume, or choose another name with -o"
    )]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The output would replace the input.
    #[error("{path} is both an input and an output: choose another name with -o")]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// Two outputs of one run would have the same name.
    #[error("{path} would be written twice: give the outputs different names")]
    Twice {
        /// The output.
        path: PathBuf,
    },
    /// FLAC counts frames with 36 bits.
    #[error(
        "{path} would hold more than {max} frames, the most that FLAC can: choose --format wav"
    )]
    TooLongForFlac {
        /// The output.
        path: PathBuf,
        /// Most frames.
        max: u64,
    },
    /// FLAC cannot hold this rate or this many channels.
    #[error(
        "{path} cannot be FLAC: expected 1 to 8 channels and at most {max_hz} Hz, found {channels} channels and {rate_hz} Hz; choose --format wav"
    )]
    NotForFlac {
        /// The output.
        path: PathBuf,
        /// Channels wanted.
        channels: usize,
        /// Rate wanted, Hz.
        rate_hz: u32,
        /// Highest rate, Hz.
        max_hz: u32,
    },
    /// A report or a picture cannot be built.
    #[error("cannot build {path}: {reason}; please report this as a fault of quietwire")]
    Build {
        /// The output.
        path: PathBuf,
        /// From the encoder.
        reason: String,
    },
}
