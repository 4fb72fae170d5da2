//! `quietwire clean`.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::Result;
use indicatif::MultiProgress;
use quietwire_file::CleanOptions;

use crate::args::clean::{CleanArgs, Track};
use crate::failure::message;
use crate::{clean_batch, clean_plan, load, stop};

pub(crate) fn run(args: &CleanArgs) -> Result<ExitCode> {
    let plan = clean_plan::plan(args)?;
    let mut options = CleanOptions::new(load::model("--model", &args.model)?);
    options.denoiser.attenuation = args.attenuation();
    options.denoiser.channel_mode = args.channels.into();
    options.denoiser.snr_gating = args.snr_gating;
    options.format = args.format.into();
    options.overwrite = args.force;
    options.strip_metadata = args.strip_metadata;
    options.read.via_ffmpeg = args.via_ffmpeg;
    if let Some(Track::Number(number)) = args.track {
        options.read.track = Some(number.get());
    }

    let bars = MultiProgress::new();
    stop::on_signals(bars.clone(), args.quiet)?;
    for failure in &plan.failures {
        eprintln!("error: {}", message(failure));
    }
    let tally = clean_batch::run(&plan.tasks, &options, args, &bars);
    let (failed, skipped) = (
        tally.failed.load(Ordering::Relaxed) + plan.failures.len(),
        tally.skipped.load(Ordering::Relaxed),
    );
    let all = plan.tasks.len() + plan.failures.len();
    if !args.quiet && skipped > 0 {
        eprintln!("{skipped} of {all} done before");
    }
    let mut passed_over = plan.passed_over;
    passed_over.append(tally.passed_over.into_inner().unwrap_or_default());
    if !args.quiet
        && let Some(passed_over) = passed_over.summary()
    {
        eprintln!("{passed_over}");
    }
    if failed > 0 && all > 1 {
        eprintln!("{failed} of {all} failed");
    }
    let incomplete = tally.incomplete.load(Ordering::Relaxed);
    if incomplete > 0 && all > 1 {
        eprintln!("{incomplete} of {all} are incomplete");
    }
    Ok(if failed + incomplete > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
