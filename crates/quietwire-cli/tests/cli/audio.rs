//! Audio files, and audio on standard input.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use quietwire_testing::files::{Folder, Wav, data16};

/// Runs the program with bytes on standard input.
pub fn piped(folder: &Folder, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_quietwire"))
        .args(args)
        .current_dir(folder.join(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // Writing fails when the program refuses the input and stops reading.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

/// A WAV file with one channel of 16 bits at 48 kHz.
pub fn wav(frames: usize) -> Vec<u8> {
    Wav::int(16, 1, data16(frames)).bytes()
}

/// A sample clip of the repository.
pub fn sample(name: &str) -> PathBuf {
    quietwire_testing::files::sample(env!("CARGO_MANIFEST_DIR"), name)
}
