//! The `quietwire` program.

mod args;
mod batch;
mod bench;
mod clean;
mod completions;
mod info;
mod models;
mod plan;
#[cfg(feature = "relay")]
mod relay;

use std::process::ExitCode;

use clap::Parser;

/// A fault in how the program was called.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn main() -> ExitCode {
    match run(args::Args::parse()) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

fn run(args: args::Args) -> anyhow::Result<ExitCode> {
    match args.command {
        args::Command::Clean(args) => return clean::run(&args),
        args::Command::Models(args) => return models::run(&args),
        args::Command::Bench(args) => bench::run(&args)?,
        args::Command::Info(args) => return info::run(&args),
        args::Command::Completions(args) => completions::run(&args)?,
        #[cfg(feature = "relay")]
        args::Command::Relay(args) => relay::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// An error and its causes on one line. Errors that tell their cause themselves are not followed by
/// it again.
fn message(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.is_empty() {
            true => cause,
            false if text.contains(&cause) => text,
            false => format!("{text}: {cause}"),
        }
    })
}

/// Whether the reader of our output went away, as `head` does: nobody is left to tell.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = match cause.downcast_ref() {
            Some(quietwire::file::FileError::Write { source, .. }) => Some(source),
            _ => cause.downcast_ref::<std::io::Error>(),
        };
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
