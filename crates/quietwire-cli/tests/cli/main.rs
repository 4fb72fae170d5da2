//! The program, run as a process.

#[cfg(feature = "clean")]
mod audio;
#[cfg(feature = "clean")]
mod batch;
mod commands;
#[cfg(feature = "clean")]
mod folders;
#[cfg(feature = "clean")]
mod inputs;
mod models;
#[cfg(feature = "clean")]
mod pipes;
#[cfg(all(target_os = "linux", feature = "clean"))]
mod stop;
#[cfg(feature = "clean")]
mod video;

use std::process::{Command, Output, Stdio};

use quietwire_testing::files::Folder;

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
