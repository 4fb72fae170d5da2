//! Runs tasks on several threads and shows their progress.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use quietwire_file::{CleanJob, CleanOptions, CleanReport, FileError, Input, Output, clean};

use crate::args::clean::CleanArgs;
use crate::clean_plan::Task;
use crate::failure::{is_broken_pipe, message};

/// Counts of tasks.
#[derive(Default)]
pub(crate) struct Tally {
    pub failed: AtomicUsize,
    pub skipped: AtomicUsize,
}

/// Runs every task. Prints a failure and continues with the others.
pub(crate) fn run(tasks: &[Task], options: &CleanOptions, args: &CleanArgs) -> Tally {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.jobs.map_or(cores, usize::from).min(tasks.len());
    let bars = MultiProgress::new();
    let (next, tally) = (AtomicUsize::new(0), Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run_task(task, options, args, &bars, &tally);
                }
            });
        }
    });
    tally
}

fn run_task(
    task: &Task,
    options: &CleanOptions,
    args: &CleanArgs,
    bars: &MultiProgress,
    tally: &Tally,
) {
    if args.resume && task.output.as_deref().is_some_and(Path::is_file) {
        tally.skipped.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let bar = bars.add(bar(task, args.quiet));
    let result = clean_task(task, options, args, &bar);
    bar.finish_and_clear();
    bars.remove(&bar);
    match result {
        Ok(_) if args.quiet => {}
        Ok(report) => bars.suspend(|| eprintln!("{}", summary(&report))),
        Err(error) if task.output.is_none() && is_broken_pipe(&error) => {}
        Err(error) => {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            bars.suspend(|| eprintln!("error: {}", message(&error)));
        }
    }
}

fn clean_task(
    task: &Task,
    options: &CleanOptions,
    args: &CleanArgs,
    bar: &ProgressBar,
) -> Result<CleanReport> {
    let input = match (&task.input, args.raw, args.rate) {
        (Some(path), ..) => Input::File(path.clone()),
        (None, Some(raw), Some(rate_hz)) => Input::Raw {
            source: Box::new(std::io::stdin()),
            format: raw.into(),
            rate_hz,
            channels: args.raw_channels,
        },
        (None, ..) => Input::Stream(Box::new(std::io::stdin())),
    };
    let output = match &task.output {
        Some(path) => Output::File(path.clone()),
        None => Output::Stream(Box::new(std::io::stdout())),
    };
    let targets = [
        &task.output,
        &task.residual,
        &task.spectrogram,
        &task.telemetry,
    ];
    for folder in targets
        .into_iter()
        .flatten()
        .filter_map(|path| path.parent())
    {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    let mut job = CleanJob::new(input, output);
    job.residual = task.residual.clone();
    job.reports = task.reports.clone();
    job.spectrogram = task.spectrogram.clone();
    job.telemetry = task.telemetry.clone();
    let mut shown = 0;
    let result = clean(job, options, &mut |progress| {
        // At most once per 250 ms of audio, which costs less than once per block.
        if progress.frames - shown >= u64::from(progress.rate_hz) / 4 {
            shown = progress.frames;
            let ms = |frames: u64| frames * 1000 / u64::from(progress.rate_hz);
            if let (Some(total), None | Some(0)) = (progress.total, bar.length()) {
                bar.set_length(ms(total));
                bar.set_style(known_style());
            }
            bar.set_position(ms(progress.frames));
        }
    });
    // Errors of the stream do not contain the name of the file.
    match result {
        Err(error @ FileError::Denoiser(_)) => Err(error).with_context(|| task.name()),
        other => Ok(other?),
    }
}

/// A progress bar in milliseconds of audio. Drawn on a terminal only.
fn bar(task: &Task, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length().with_message(task.name());
    bar.set_style(style("{spinner} {msg} {speed}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn known_style() -> ProgressStyle {
    style("{msg} {wide_bar} {percent:>3} %  {speed}  {eta} left")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates above are valid")
        .with_key(
            "speed",
            |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                // A progress bar that cannot be drawn is no failure.
                let _ = write!(out, "{:.0}x real time", state.per_sec() / 1000.0);
            },
        )
}

fn summary(report: &CleanReport) -> String {
    let (before, after) = (&report.input, &report.output);
    let mut line = format!(
        "{} -> {}: {:.1} s, noise floor {:.1} -> {:.1} dBFS, {:.0}x real time",
        before.path.display(),
        after.path.display(),
        before.seconds,
        before.levels.noise_floor_dbfs,
        after.levels.noise_floor_dbfs,
        report.speed,
    );
    for (samples, what) in [
        (before.clipped_samples, "clipped in the recording"),
        (after.clipped_samples, "limited to full scale"),
    ] {
        if samples > 0 {
            line += &format!(", {samples} samples {what}");
        }
    }
    line
}
