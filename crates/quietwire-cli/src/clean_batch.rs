//! Runs tasks on several threads and shows their progress.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use quietwire_file::{
    CleanJob, CleanOptions, CleanReport, FileError, Input, Output, Reader, clean,
    has_video_extension,
};

use crate::args::clean::{CleanArgs, Track};
use crate::clean_plan::{PassedOver, Task};
use crate::failure::{is_broken_pipe, message};
use crate::shown;

/// Counts of tasks.
#[derive(Default)]
pub(crate) struct Tally {
    pub failed: AtomicUsize,
    pub skipped: AtomicUsize,
    /// Some of the skipped.
    pub passed_over: Mutex<PassedOver>,
    /// Cleaned, but a part of the audio is missing in the input.
    pub incomplete: AtomicUsize,
}

/// Runs every task. Prints a failure and continues with the others.
pub(crate) fn run(
    tasks: &[Task],
    options: &CleanOptions,
    args: &CleanArgs,
    bars: &MultiProgress,
) -> Tally {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.jobs.map_or(cores, usize::from).min(tasks.len());
    let (next, tally) = (AtomicUsize::new(0), Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run_tracks(task, options, args, bars, &tally);
                }
            });
        }
    });
    tally
}

/// Runs a task once, or for `--track all` once for each audio track.
fn run_tracks(
    task: &Task,
    options: &CleanOptions,
    args: &CleanArgs,
    bars: &MultiProgress,
    tally: &Tally,
) {
    let tracks = match (&task.input, args.track) {
        (Some(path), Some(Track::All)) => {
            Reader::open_with(Input::File(path.clone()), &options.read)
                .map_or(0, |reader| reader.tracks().len())
        }
        _ => 0,
    };
    if tracks < 2 {
        return run_task(task, options, args, bars, tally);
    }
    for number in 1..=tracks {
        let mut options = options.clone();
        options.read.track = Some(number);
        run_task(&task.for_track(number), &options, args, bars, tally);
    }
}

fn run_task(
    task: &Task,
    options: &CleanOptions,
    args: &CleanArgs,
    bars: &MultiProgress,
    tally: &Tally,
) {
    if let (true, Some(output)) = (args.resume, task.output.as_deref())
        && output.is_file()
    {
        tally.skipped.fetch_add(1, Ordering::Relaxed);
        if !have_same_time(task.input.as_deref(), output) {
            // Another thread's panic leaves the list complete.
            let mut passed_over = tally
                .passed_over
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            passed_over.push("output with another time than its input", output.into());
        }
        return;
    }
    let bar = bars.add(bar(task, args.quiet));
    let result = clean_task(task, options, args, &bar);
    bar.finish_and_clear();
    bars.remove(&bar);
    match result {
        Ok(report) => bars.suspend(|| {
            if !args.quiet {
                eprintln!("{}", summary(&report));
            }
            print_notes(&report, task, args.quiet);
            if !report.is_complete() {
                tally.incomplete.fetch_add(1, Ordering::Relaxed);
            }
        }),
        Err(error) if task.output.is_none() && is_broken_pipe(&error) => {}
        Err(error) => {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            bars.suspend(|| eprintln!("error: {}", message(&error)));
        }
    }
}

/// Whether an output has the time of its input, which all outputs get. If not, it may be the output of
/// another input, or the input has changed.
fn have_same_time(input: Option<&Path>, output: &Path) -> bool {
    /// The resolution of FAT.
    const TOLERANCE: Duration = Duration::from_secs(2);
    let time = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    match (input.and_then(time), time(output)) {
        (Some(a), Some(b)) => a.max(b).duration_since(a.min(b)).unwrap_or_default() <= TOLERANCE,
        _ => true,
    }
}

/// Prints what the user needs to know about the input. With `quiet` only losses.
fn print_notes(report: &CleanReport, task: &Task, quiet: bool) {
    for note in &report.input.notes {
        let kind = match note.is_loss() {
            true => "error",
            false if quiet => continue,
            false => "note",
        };
        eprintln!(
            "{kind}: {}: {}",
            task.name(),
            shown::escaped(&note.to_string())
        );
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
        Some(path) if has_video_extension(path) => Output::Video(path.clone()),
        Some(path) => Output::File(path.clone()),
        None => Output::Stream(Box::new(std::io::stdout())),
    };
    for folder in task.outputs().filter_map(Path::parent) {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", shown::path(folder)))?;
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
        shown::path(&before.path),
        shown::path(&after.path),
        before.seconds,
        before.levels.noise_floor_dbfs,
        after.levels.noise_floor_dbfs,
        report.speed,
    );
    for (samples, what) in [
        (before.clipped_samples, "clipped in the recording"),
        (after.clipped_samples, "limited to full scale"),
        (
            before.non_finite_samples,
            "not finite (NaN or infinity), cleaned as zero",
        ),
    ] {
        if samples > 0 {
            line += &format!(", {samples} samples {what}");
        }
    }
    line
}
