//! Audio that this library cannot decode, decoded by the program `ffmpeg`.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use crate::error::FileError;
use crate::sample_format::SampleFormat;
use crate::video::{Decoded, ffmpeg, file_url, not_started};

/// The formats among those that are named in errors which lose nothing.
const LOSSLESS: [&str; 6] = [
    "Monkey's Audio",
    "WavPack",
    "TTA",
    "Sun AU",
    "DSD",
    "TrueHD",
];

/// Starts decoding the audio of a file into float WAV. `track`: its number, from 1. `copy`: the file, if it
/// has no path.
pub(crate) fn decode(
    path: &Path,
    copy: Option<File>,
    track: Option<usize>,
) -> Result<Box<dyn Read + Send + Sync>, FileError> {
    let mut command = ffmpeg();
    command.arg("-i");
    match copy {
        Some(file) => command.arg("pipe:0").stdin(Stdio::from(file)),
        None => command.arg(file_url(path)).stdin(Stdio::null()),
    };
    if let Some(number) = track {
        command.args(["-map", &format!("0:a:{}", number - 1)]);
    }
    command
        .args(["-vn", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"])
        .stdout(Stdio::piped());
    match Decoded::start(&mut command) {
        Ok(decoded) => Ok(Box::new(decoded)),
        Err(source) => Err(not_started("ffmpeg", source)),
    }
}

/// The sample format of an output, from the name of the format of the input.
pub(crate) fn sample_format(what: &str) -> SampleFormat {
    match LOSSLESS.iter().any(|name| what.contains(name)) {
        true => SampleFormat::S24,
        false => SampleFormat::S16,
    }
}
