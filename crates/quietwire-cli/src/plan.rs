//! From the command line to one task for every file.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use quietwire::file::ReportFormat;

use crate::Usage;
use crate::args::{CleanArgs, Format};

/// What is taken for audio when a folder is walked.
const EXTENSIONS: [&str; 20] = [
    "wav", "wave", "bwf", "rf64", "flac", "mp3", "mp2", "ogg", "oga", "opus", "m4a", "m4b", "mp4",
    "aac", "mka", "mkv", "webm", "aiff", "aif", "caf",
];

/// What an output may be called, of these.
const WRITABLE: [&str; 5] = ["wav", "wave", "bwf", "rf64", "flac"];

/// One file to clean; `None` stands for a standard stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Task {
    pub input: Option<PathBuf>,
    pub output: Option<PathBuf>,
    pub residual: Option<PathBuf>,
    pub reports: Vec<(ReportFormat, PathBuf)>,
    pub spectrogram: Option<PathBuf>,
    pub telemetry: Option<PathBuf>,
}

impl Task {
    /// What messages call it.
    pub fn name(&self) -> String {
        self.input
            .as_deref()
            .map_or("stdin".into(), |path| path.display().to_string())
    }
}

/// A file to clean and its place below the folder that was named.
struct Found {
    path: Option<PathBuf>,
    /// Folder below the output folder.
    below: PathBuf,
}

/// Everything that a command line asks for.
pub fn tasks(args: &CleanArgs) -> Result<Vec<Task>> {
    let stdin = args.inputs.iter().filter(|input| is_dash(input)).count();
    if stdin > 1 || (stdin == 1 && args.inputs.len() > 1) {
        return usage("- (standard input) must be the only input");
    }
    if args.raw.is_some() && stdin == 0 {
        return usage("--raw is for standard input: give - as the input");
    }
    let walked = args.inputs.iter().any(|input| input.is_dir());
    let many = walked || args.inputs.len() > 1;
    let output = args.output.as_deref();
    let to_stdout = output.map_or(stdin == 1, is_dash);
    if to_stdout {
        check_stdout(args, many)?;
    }
    for target in [output, args.residual.as_deref()].into_iter().flatten() {
        check_extension(target)?;
    }
    let folder = output.filter(|path| !to_stdout && is_folder(path, many));
    if let (true, Some(path)) = (many, output.filter(|path| path.is_file())) {
        return usage(format!(
            "-o {} is a file: several inputs need a folder",
            path.display()
        ));
    }
    let mut found = Vec::new();
    for input in &args.inputs {
        if is_dash(input) {
            found.push(Found {
                path: None,
                below: PathBuf::new(),
            });
        } else if input.is_dir() {
            let skip = folder.and_then(|folder| folder.canonicalize().ok());
            if skip.is_some() && skip == input.canonicalize().ok() {
                return usage(format!(
                    "{} is both input and output: leave out -o to write NAME.clean.wav beside each file",
                    input.display()
                ));
            }
            walk(input, Path::new(""), skip.as_deref(), &mut found)
                .with_context(|| format!("cannot list {}", input.display()))?;
        } else {
            found.push(Found {
                path: Some(input.clone()),
                below: PathBuf::new(),
            });
        }
    }
    if found.is_empty() {
        anyhow::bail!(
            "no audio files found: expected names in .{}",
            EXTENSIONS.join(", .")
        );
    }
    let mut outputs = HashSet::new();
    let mut tasks = Vec::new();
    for found in found {
        let output = match (to_stdout, folder, output) {
            (true, ..) => None,
            (_, Some(folder), _) => Some(folder.join(&found.below).join(named(&found, "", args))),
            (_, None, Some(file)) => Some(file.into()),
            (_, None, None) => {
                let beside = found
                    .path
                    .as_deref()
                    .and_then(Path::parent)
                    .unwrap_or(Path::new(""));
                Some(beside.join(named(&found, ".clean", args)))
            }
        };
        if let Some(path) = output
            .as_ref()
            .filter(|&path| !outputs.insert(path.clone()))
        {
            return usage(format!(
                "{} would be written twice: clean inputs of the same name apart, or give another -o",
                path.display()
            ));
        }
        tasks.push(task(found, output, many, args));
    }
    Ok(tasks)
}

/// A WAV called .mp3 would only confuse.
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
            "{}: .{extension} cannot be written: choose .wav or .flac, and convert afterwards if need be: ffmpeg -i OUTPUT.wav OUTPUT.{extension}",
            target.display()
        ));
    }
    Ok(())
}

fn check_stdout(args: &CleanArgs, many: bool) -> Result<()> {
    if many {
        return usage("-o - takes one input: several cannot share standard output");
    }
    if args.format == Format::Flac {
        return usage(
            "FLAC needs a file: choose -o FILE.flac, or pipe the WAV into flac or ffmpeg",
        );
    }
    if !args.report.is_empty() {
        return usage("--report goes beside the output: choose -o FILE");
    }
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        return usage("audio would go to the terminal: choose -o FILE, or pipe it somewhere");
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
        let ending = match ReportFormat::from(report) {
            ReportFormat::Json => "json",
            ReportFormat::Html => "html",
        };
        let output = output.as_deref()?;
        // talk.clean.wav and talk.wav both give talk.report.json.
        let name = output.file_stem()?.to_string_lossy();
        let name = name.strip_suffix(".clean").unwrap_or(&name);
        Some((
            report.into(),
            output.with_file_name(format!("{name}.report.{ending}")),
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

/// Whether a target is meant as a folder.
fn is_folder(path: &Path, many: bool) -> bool {
    many || path.is_dir() || path.as_os_str().to_string_lossy().ends_with('/')
}

fn stem(path: Option<&Path>) -> String {
    let stem = path.and_then(Path::file_stem);
    stem.map_or("stdin".into(), |stem| stem.to_string_lossy().into_owned())
}

/// The name of an output: FLAC stays FLAC, everything else becomes WAV unless told otherwise.
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

/// Finds audio files below a folder in the order of their names. Hidden files, outputs of
/// earlier runs and the output folder are left out.
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
