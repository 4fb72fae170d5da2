//! `quietwire completions`.

use std::io::Write;

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Args, CompletionsArgs};

pub(crate) fn run(args: &CompletionsArgs) -> Result<()> {
    // The generator panics when a pipe breaks, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "quietwire", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}
