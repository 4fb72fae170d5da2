//! `quietwire clean`.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::Result;
use quietwire::file::CleanOptions;

use crate::args::CleanArgs;
use crate::{batch, models, plan};

pub fn run(args: &CleanArgs) -> Result<ExitCode> {
    let tasks = plan::tasks(args)?;
    let mut options = CleanOptions::new(models::load(&args.model)?);
    options.attenuation_db = args.attenuation;
    options.channel_mode = args.channels.into();
    options.gate = args.gate;
    options.format = args.format.into();
    options.overwrite = args.force;

    let tally = batch::run(&tasks, &options, args);
    let (failed, skipped) = (
        tally.failed.load(Ordering::Relaxed),
        tally.skipped.load(Ordering::Relaxed),
    );
    if !args.quiet && skipped > 0 {
        eprintln!("{skipped} of {} done before", tasks.len());
    }
    if failed > 0 && tasks.len() > 1 {
        eprintln!("{failed} of {} failed", tasks.len());
    }
    Ok(if failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
