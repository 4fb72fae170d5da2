//! The program, run as a process.

#[cfg(feature = "clean")]
mod batch;
mod commands;
mod models;
#[cfg(feature = "clean")]
mod pipes;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use quietwire_testing::files::{Folder, Wav, data16};

fn quietwire(folder: &Folder, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quietwire"))
        .args(args)
        .current_dir(folder.join(""))
        // Not the installed models of the user.
        .env("XDG_DATA_HOME", folder.join("data"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs the program with bytes on standard input.
fn piped(folder: &Folder, args: &[&str], input: &[u8]) -> Output {
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

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn succeeded(output: Output) -> Output {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

fn wav(frames: usize) -> Vec<u8> {
    Wav::int(16, 1, data16(frames)).bytes()
}

/// A sample clip of the repository.
fn sample(name: &str) -> PathBuf {
    quietwire_testing::files::sample(env!("CARGO_MANIFEST_DIR"), name)
}
