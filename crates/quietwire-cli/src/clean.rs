//! `quietwire clean`.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::Result;
use quietwire_file::CleanOptions;

use crate::args::clean::CleanArgs;
use crate::{clean_batch, clean_plan, load};

pub(crate) fn run(args: &CleanArgs) -> Result<ExitCode> {
    let tasks = clean_plan::tasks(args)?;
    let mut options = CleanOptions::new(load::model("--model", &args.model)?);
    options.denoiser.attenuation = args.attenuation();
    options.denoiser.channel_mode = args.channels.into();
    options.denoiser.snr_gating = args.snr_gating;
    options.format = args.format.into();
    options.overwrite = args.force;

    let tally = clean_batch::run(&tasks, &options, args);
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
