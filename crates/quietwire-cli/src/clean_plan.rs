//! Derives one task for every file from the command line.

mod find;
mod name;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Error, Result, anyhow};
use quietwire_file::{ReportFormat, has_audio_extension, has_video_extension};

use crate::args::clean::{CleanArgs, Format, Report};
pub(crate) use crate::clean_plan::find::PassedOver;
use crate::clean_plan::find::{Found, Search};
use crate::clean_plan::name::{full_name, is_unnamed, key, named, stem, with_end};
use crate::failure::Usage;
use crate::shown;

/// Extensions of WAV.
const WAV: [&str; 5] = ["wav", "wave", "bwf", "rf64", "bw64"];

/// All files to clean, and the inputs that are not cleaned.
#[derive(Debug)]
pub(crate) struct Plan {
    pub tasks: Vec<Task>,
    /// inputs that cannot be listed, or whose outputs would replace others
    pub failures: Vec<Error>,
    pub passed_over: PassedOver,
}

/// One file to clean. An `input` or `output` of `None` is a standard stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub input: Option<PathBuf>,
    pub output: Option<PathBuf>,
    pub residual: Option<PathBuf>,
    pub reports: Vec<(ReportFormat, PathBuf)>,
    pub spectrogram: Option<PathBuf>,
    pub telemetry: Option<PathBuf>,
}

impl Task {
    /// The same task with outputs of their own for one audio track.
    pub(crate) fn for_track(&self, number: usize) -> Self {
        let named = |path: &PathBuf| {
            let mut name = path.file_stem().unwrap_or_default().to_os_string();
            name.push(format!(".track{number}"));
            if let Some(extension) = path.extension() {
                name.push(".");
                name.push(extension);
            }
            path.with_file_name(name)
        };
        let reports = self.reports.iter();
        Self {
            input: self.input.clone(),
            output: self.output.as_ref().map(named),
            residual: self.residual.as_ref().map(named),
            reports: reports
                .map(|(format, path)| (*format, named(path)))
                .collect(),
            spectrogram: self.spectrogram.as_ref().map(named),
            telemetry: self.telemetry.as_ref().map(named),
        }
    }

    /// The name in messages.
    pub(crate) fn name(&self) -> String {
        self.input.as_deref().map_or("stdin".into(), shown::path)
    }

    /// All files that the task writes.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &Path> {
        let reports = self.reports.iter().map(|(_, path)| path);
        let others = [
            &self.output,
            &self.residual,
            &self.spectrogram,
            &self.telemetry,
        ];
        let all = others.into_iter().flatten().chain(reports);
        all.map(PathBuf::as_path)
    }
}

/// One task for every input file of the command line.
pub(crate) fn plan(args: &CleanArgs) -> Result<Plan> {
    let stdin = check_stdin(args)?;
    let many = args.inputs.len() > 1 || args.inputs.iter().any(|input| input.is_dir());
    let output = args.output.as_deref();
    let to_stdout = output.map_or(stdin, is_dash);
    if to_stdout {
        check_stdout(args, many)?;
    }
    match output {
        Some(path) if !many && has_video_extension(path) && !path.is_dir() => {
            check_video(path, stdin, args)?;
        }
        Some(path) => check_extension(path, args.format)?,
        None => {}
    }
    if let Some(path) = &args.residual {
        check_extension(path, args.format)?;
    }
    let target = match output {
        _ if to_stdout => Target::Stdout,
        Some(path) if many && path.is_file() => {
            return usage(format!(
                "-o {} is a file: several inputs need a folder",
                shown::path(path)
            ));
        }
        Some(path) if is_folder(path, many) => Target::Folder(path),
        Some(path) => Target::File(path),
        None => Target::Beside,
    };
    let search = search(args, target)?;
    let mut plan = Plan {
        tasks: Vec::new(),
        failures: search.failures,
        passed_over: search.passed_over,
    };
    if search.found.is_empty() && plan.failures.is_empty() {
        let passed_over = plan.passed_over.summary().map(|text| format!("; {text}"));
        return Err(anyhow!(
            "no audio files found{}",
            passed_over.unwrap_or_default()
        ));
    }
    for task in distinct_tasks(search.found, target, many, args) {
        match task {
            Ok(task) => plan.tasks.push(task),
            Err(failure) => plan.failures.push(failure),
        }
    }
    Ok(plan)
}

/// The meaning of `-o`.
#[derive(Clone, Copy, PartialEq)]
enum Target<'a> {
    /// Standard output.
    Stdout,
    /// A folder. The names of the inputs stay.
    Folder(&'a Path),
    /// A file for the only input.
    File(&'a Path),
    /// No `-o`: `NAME.clean.EXTENSION` beside each input.
    Beside,
}

/// Whether the only input is standard input, or a pipe without a folder of its own.
fn check_stdin(args: &CleanArgs) -> Result<bool> {
    let has_stdin = args.inputs.iter().any(|input| is_dash(input));
    if has_stdin && args.inputs.len() > 1 {
        return usage("- (standard input) must be the only input");
    }
    if args.raw.is_some() && !has_stdin {
        return usage("--raw is for standard input: use - as the input");
    }
    let mut inputs = args.inputs.iter();
    match inputs.find(|input| is_unnamed(input)) {
        Some(_) if args.inputs.len() == 1 => Ok(true),
        Some(input) if args.output.is_none() => usage(format!(
            "{} is in no folder for outputs: choose -o FOLDER",
            shown::path(input)
        )),
        _ => Ok(has_stdin),
    }
}

fn search(args: &CleanArgs, target: Target) -> Result<Search> {
    let output_folder = match target {
        Target::Folder(folder) => folder.canonicalize().ok(),
        _ => None,
    };
    let outputs = [&args.output, &args.residual];
    let mut search = Search::new(outputs.into_iter().flatten().map(PathBuf::as_path));
    for input in &args.inputs {
        if !input.is_dir() {
            search.file(Some(input.as_path()).filter(|path| !is_dash(path)));
            continue;
        }
        if output_folder.is_some() && output_folder == input.canonicalize().ok() {
            return usage(format!(
                "{} is both input and output: leave out -o to write NAME.clean.wav beside each file",
                shown::path(input)
            ));
        }
        search.folder(input);
    }
    Ok(search)
}

/// A task for each file, in the same order, with outputs that replace neither each other nor an input.
///
/// The outputs of `a.wav` and of `a.mp3` would have the same name. The file whose own name is that of
/// its output gets it. The outputs of the others keep the extension of their input: `a.mp3.wav`.
fn distinct_tasks(
    found: Vec<Found>,
    target: Target,
    many: bool,
    args: &CleanArgs,
) -> Vec<Result<Task>> {
    let mut taken: HashMap<PathBuf, PathBuf> = found
        .iter()
        .filter_map(|found| Some((key(found.path.as_deref()?), found.path.clone()?)))
        .collect();
    let keeps_name = |found: &Found| {
        let name = found.path.as_deref().and_then(Path::file_name);
        name == Some(named(&stem(found), "", found, args).as_os_str())
    };
    let (first, second): (Vec<usize>, _) = (0..found.len()).partition(|&at| keeps_name(&found[at]));
    let mut tasks: Vec<Option<Result<Task>>> = found.iter().map(|_| None).collect();
    for at in first.into_iter().chain(second) {
        let found = &found[at];
        let input = found.path.as_deref();
        let mut conflict = None;
        for stem in [stem(found), full_name(found)] {
            let candidate = task(found, &stem, target, many, args);
            let other = candidate.outputs().find_map(|path| {
                let other = taken.get(&key(path))?;
                (Some(other.as_path()) != input).then(|| (path.to_path_buf(), other.clone()))
            });
            if other.is_none() {
                let name = input.unwrap_or(Path::new("stdin"));
                let outputs = candidate.outputs().map(|path| (key(path), name.into()));
                taken.extend(outputs.collect::<Vec<_>>());
                tasks[at] = Some(Ok(candidate));
                break;
            }
            conflict = conflict.or(other);
        }
        if let (None, Some((path, other))) = (&tasks[at], conflict) {
            tasks[at] = Some(Err(anyhow!(
                "{}: its output {} belongs to {}; clean it separately, or choose another -o",
                shown::path(input.unwrap_or(Path::new("stdin"))),
                shown::path(&path),
                shown::path(&other),
            )));
        }
    }
    tasks.into_iter().flatten().collect()
}

/// Refuses a video as the output of a pipe, which cannot be read twice, and in an audio format.
fn check_video(output: &Path, stdin: bool, args: &CleanArgs) -> Result<()> {
    let name = shown::path(output);
    if stdin || !args.inputs.iter().all(|input| input.is_file()) {
        return usage(format!("{name}: a video needs a file as its input"));
    }
    match args.format {
        Format::Auto => Ok(()),
        Format::Wav | Format::Flac => usage(format!(
            "{name} is a video: leave out --format, or choose a name with .wav or .flac"
        )),
    }
}

/// Refuses extensions of formats that cannot be written or that contradict `--format`.
fn check_extension(target: &Path, format: Format) -> Result<()> {
    let Some(extension) = target.extension().filter(|_| !target.is_dir()) else {
        return Ok(());
    };
    let extension = extension.to_string_lossy().to_lowercase();
    let (is_flac, is_wav) = (extension == "flac", WAV.contains(&extension.as_str()));
    let name = shown::path(target);
    if !is_flac && !is_wav && has_audio_extension(target) {
        return usage(format!(
            "{name}: .{extension} cannot be written: choose .wav or .flac, then convert the output: ffmpeg -i OUTPUT.wav OUTPUT.{extension}"
        ));
    }
    match format {
        Format::Wav if is_flac => usage(format!(
            "{name} contradicts --format wav: choose a name with .wav, or --format flac"
        )),
        Format::Flac if is_wav => usage(format!(
            "{name} contradicts --format flac: choose a name with .flac, or --format wav"
        )),
        _ => Ok(()),
    }
}

fn check_stdout(args: &CleanArgs, many: bool) -> Result<()> {
    if many {
        return usage("-o - needs one input: several cannot share standard output");
    }
    if args.format == Format::Flac {
        return usage(
            "FLAC needs a file: choose -o FILE.flac, or pipe the WAV into flac or ffmpeg",
        );
    }
    if !args.report.is_empty() {
        return usage("--report writes beside the output: choose -o FILE");
    }
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        return usage("standard output is a terminal: choose -o FILE, or a pipe");
    }
    Ok(())
}

/// The task of a file. `stem` begins the names of all outputs that are not on the command line.
fn task(found: &Found, stem: &OsString, target: Target, many: bool, args: &CleanArgs) -> Task {
    let place = |target: &Path, name: OsString| match is_folder(target, many) {
        true => target.join(&found.below).join(name),
        false => target.into(),
    };
    let output = match target {
        Target::Stdout => None,
        Target::Folder(folder) => {
            Some(folder.join(&found.below).join(named(stem, "", found, args)))
        }
        Target::File(file) => Some(file.into()),
        Target::Beside => {
            let folder = found.path.as_deref().and_then(Path::parent);
            let folder = folder.unwrap_or(Path::new(""));
            Some(folder.join(named(stem, ".clean", found, args)))
        }
    };
    let beside = |target: Option<&Path>, end: &str| Some(place(target?, with_end(stem, end)));
    let residual = args.residual.as_deref();
    let residual = residual.map(|path| place(path, named(stem, "", found, args)));
    let reports = args.report.iter().filter_map(|&report| {
        let extension = match report {
            Report::Json => "json",
            Report::Html => "html",
        };
        let output = output.as_deref()?;
        // The report of talk.clean.wav and of talk.wav is talk.report.json.
        let name = Path::new(output.file_stem()?);
        let is_clean = name.extension().is_some_and(|end| end == "clean");
        let name = name
            .file_stem()
            .filter(|_| is_clean)
            .unwrap_or(name.as_os_str());
        let name = with_end(name, &format!(".report.{extension}"));
        Some((report.into(), output.with_file_name(name)))
    });
    Task {
        reports: reports.collect(),
        residual,
        spectrogram: beside(args.spectrogram.as_deref(), ".png"),
        telemetry: beside(args.telemetry.as_deref(), ".jsonl"),
        output,
        input: found.path.clone(),
    }
}

fn usage<T>(message: impl Into<String>) -> Result<T> {
    Err(Usage(message.into()).into())
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether a path on the command line is a folder.
fn is_folder(path: &Path, many: bool) -> bool {
    many || path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/")
}
