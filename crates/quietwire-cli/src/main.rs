#![doc = include_str!("../README.md")]

mod args;
mod bench;
#[cfg(feature = "clean")]
mod clean;
#[cfg(feature = "clean")]
mod clean_batch;
#[cfg(feature = "clean")]
mod clean_plan;
mod completions;
mod cost;
mod failure;
#[cfg(feature = "clean")]
mod info;
#[cfg(feature = "live")]
mod live;
mod load;
mod models;
#[cfg(feature = "relay")]
mod relay;
mod shown;
#[cfg(feature = "clean")]
mod stop;
mod usage;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};
use crate::failure::{Usage, is_broken_pipe, message};

fn main() -> ExitCode {
    let args = Args::try_parse().unwrap_or_else(|error| usage::exit(error));
    match run(args) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        #[cfg(feature = "clean")]
        Command::Clean(args) => return clean::run(&args),
        Command::Models(args) => return models::run(&args),
        Command::Bench(args) => bench::run(&args)?,
        #[cfg(feature = "clean")]
        Command::Info(args) => return info::run(&args),
        #[cfg(feature = "relay")]
        Command::Relay(args) => relay::run(args)?,
        #[cfg(not(feature = "relay"))]
        Command::Relay { .. } => anyhow::bail!(Usage(
            "this program was built without the relay; cargo install --path crates/quietwire-cli \
             --features relay builds it with the relay (needs cmake)"
                .into()
        )),
        #[cfg(feature = "live")]
        Command::Live(args) => return live::run(*args),
        #[cfg(not(feature = "live"))]
        Command::Live { .. } => anyhow::bail!(Usage(
            "this program was built without live audio; cargo install --path crates/quietwire-cli \
             --features live builds it with it (on Linux this needs the package libasound2-dev)"
                .into()
        )),
        Command::Completions(args) => completions::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
