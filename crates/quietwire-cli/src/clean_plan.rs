//! Derives one task for every file from the command line.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use quietwire_file::ReportFormat;

use crate::args::clean::{CleanArgs, Format, Report};
use crate::failure::Usage;

/// Extensions of the audio files in a folder.
const EXTENSIONS: [&str; 20] = [
    "wav", "wave", "bwf", "rf64", "flac", "mp3", "mp2", "ogg", "oga", "opus", "m4a", "m4b", "mp4",
    "aac", "mka", "mkv", "webm", "aiff", "aif", "caf",
];

/// Those of them that outputs can have.
const WRITABLE: [&str; 5] = ["wav", "wave", "bwf", "rf64", "flac"];

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
    /// The name in messages.
    pub(crate) fn name(&self) -> String {
        self.input
            .as_deref()
            .map_or("stdin".into(), |path| path.display().to_string())
    }
}

/// A file to clean.
struct Found {
    /// `None`: standard input.
    path: Option<PathBuf>,
    /// Its folder, relative to the folder on the command line.
    below: PathBuf,
}

/// One task for every input file of the command line.
pub(crate) fn tasks(args: &CleanArgs) -> Result<Vec<Task>> {
    let stdin = check_stdin(args)?;
    let many = args.inputs.len() > 1 || args.inputs.iter().any(|input| input.is_dir());
    let output = args.output.as_deref();
    let to_stdout = output.map_or(stdin, is_dash);
    if to_stdout {
        check_stdout(args, many)?;
    }
    for target in [output, args.residual.as_deref()].into_iter().flatten() {
        check_extension(target)?;
    }
    let target = match output {
        _ if to_stdout => Target::Stdout,
        Some(path) if many && path.is_file() => {
            return usage(format!(
                "-o {} is a file: several inputs need a folder",
                path.display()
            ));
        }
        Some(path) if is_folder(path, many) => Target::Folder(path),
        Some(path) => Target::File(path),
        None => Target::Beside,
    };
    let mut outputs = HashSet::new();
    let mut tasks = Vec::new();
    for found in find_inputs(&args.inputs, target)? {
        let output = output_path(&found, target, args);
        if let Some(path) = &output
            && !outputs.insert(path.clone())
        {
            return usage(format!(
                "{} would be written twice: clean inputs with the same name separately, or choose another -o",
                path.display()
            ));
        }
        tasks.push(task(found, output, many, args));
    }
    Ok(tasks)
}

/// The meaning of `-o`.
#[derive(Clone, Copy)]
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

/// Whether the only input is standard input.
fn check_stdin(args: &CleanArgs) -> Result<bool> {
    let has_stdin = args.inputs.iter().any(|input| is_dash(input));
    if has_stdin && args.inputs.len() > 1 {
        return usage("- (standard input) must be the only input");
    }
    if args.raw.is_some() && !has_stdin {
        return usage("--raw is for standard input: use - as the input");
    }
    Ok(has_stdin)
}

fn find_inputs(inputs: &[PathBuf], target: Target) -> Result<Vec<Found>> {
    let output_folder = match target {
        Target::Folder(folder) => folder.canonicalize().ok(),
        _ => None,
    };
    let mut found = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            found.push(Found {
                path: Some(input.clone()).filter(|path| !is_dash(path)),
                below: PathBuf::new(),
            });
            continue;
        }
        if output_folder.is_some() && output_folder == input.canonicalize().ok() {
            return usage(format!(
                "{} is both input and output: leave out -o to write NAME.clean.wav beside each file",
                input.display()
            ));
        }
        walk(input, Path::new(""), output_folder.as_deref(), &mut found)
            .with_context(|| format!("cannot list {}", input.display()))?;
    }
    if found.is_empty() {
        anyhow::bail!(
            "no audio files found: expected names in .{}",
            EXTENSIONS.join(", .")
        );
    }
    Ok(found)
}

/// The path of the cleaned audio. `None` for standard output.
fn output_path(found: &Found, target: Target, args: &CleanArgs) -> Option<PathBuf> {
    match target {
        Target::Stdout => None,
        Target::Folder(folder) => Some(folder.join(&found.below).join(named(found, "", args))),
        Target::File(file) => Some(file.into()),
        Target::Beside => {
            let folder = found.path.as_deref().and_then(Path::parent);
            let folder = folder.unwrap_or(Path::new(""));
            Some(folder.join(named(found, ".clean", args)))
        }
    }
}

/// Refuses extensions of formats that cannot be written.
fn check_extension(target: &Path) -> Result<()> {
    let extension = target
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase());
    let Some(extension) = extension.filter(|_| !target.is_dir()) else {
        return Ok(());
    };
    let other = EXTENSIONS.contains(&extension.as_str()) && !WRITABLE.contains(&extension.as_str());
    if other {
        return usage(format!(
            "{}: .{extension} cannot be written: choose .wav or .flac, then convert the output: ffmpeg -i OUTPUT.wav OUTPUT.{extension}",
            target.display()
        ));
    }
    Ok(())
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

fn task(found: Found, output: Option<PathBuf>, many: bool, args: &CleanArgs) -> Task {
    let place = |target: &Path, name: PathBuf| match is_folder(target, many) {
        true => target.join(&found.below).join(name),
        false => target.into(),
    };
    let stem = stem(found.path.as_deref());
    let residual = args
        .residual
        .as_deref()
        .map(|path| place(path, named(&found, "", args)));
    let picture = PathBuf::from(format!("{stem}.png"));
    let spectrogram = args.spectrogram.as_deref().map(|path| place(path, picture));
    let lines = PathBuf::from(format!("{stem}.jsonl"));
    let telemetry = args.telemetry.as_deref().map(|path| place(path, lines));
    let reports = args.report.iter().filter_map(|&report| {
        let extension = match report {
            Report::Json => "json",
            Report::Html => "html",
        };
        let output = output.as_deref()?;
        // The report of talk.clean.wav and of talk.wav is talk.report.json.
        let name = output.file_stem()?.to_string_lossy();
        let name = name.strip_suffix(".clean").unwrap_or(&name);
        Some((
            report.into(),
            output.with_file_name(format!("{name}.report.{extension}")),
        ))
    });
    Task {
        reports: reports.collect(),
        residual,
        spectrogram,
        telemetry,
        output,
        input: found.path,
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
    many || path.is_dir() || path.as_os_str().to_string_lossy().ends_with('/')
}

fn stem(path: Option<&Path>) -> String {
    let stem = path.and_then(Path::file_stem);
    stem.map_or("stdin".into(), |stem| stem.to_string_lossy().into_owned())
}

/// The name of an output. By default FLAC stays FLAC and all other formats become WAV.
fn named(found: &Found, suffix: &str, args: &CleanArgs) -> PathBuf {
    let path = found.path.as_deref();
    let flac = path
        .and_then(Path::extension)
        .is_some_and(|extension| extension.eq_ignore_ascii_case("flac"));
    let extension = match args.format {
        Format::Flac => "flac",
        Format::Auto if flac => "flac",
        _ => "wav",
    };
    format!("{}{suffix}.{extension}", stem(path)).into()
}

/// Finds the audio files below a folder, sorted by name. Skips hidden files, outputs of earlier runs
/// and the folder `skip`.
fn walk(
    folder: &Path,
    below: &Path,
    skip: Option<&Path>,
    found: &mut Vec<Found>,
) -> std::io::Result<()> {
    if skip.is_some() && folder.canonicalize().ok().as_deref() == skip {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&path, &below.join(name), skip, found)?;
        } else if is_audio(&path) && path.is_file() {
            found.push(Found {
                path: Some(path),
                below: below.into(),
            });
        }
    }
    Ok(())
}

fn is_audio(path: &Path) -> bool {
    let cleaned = path
        .file_stem()
        .is_some_and(|stem| stem.to_string_lossy().ends_with(".clean"));
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase());
    !cleaned && extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}
