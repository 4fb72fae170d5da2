//! Finds the inputs of the command line and those in its folders.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error};
use quietwire_file::{has_audio_extension, is_recording};

use crate::shown;

/// A file to clean.
#[derive(Debug)]
pub(crate) struct Found {
    /// `None`: standard input.
    pub path: Option<PathBuf>,
    /// Its folder, relative to the folder on the command line.
    pub below: PathBuf,
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub found: Vec<Found>,
    pub failures: Vec<Error>,
    pub passed_over: PassedOver,
    /// folders of outputs, which are not searched
    skip: Vec<PathBuf>,
    /// all files that were found, without links in their paths
    seen: HashSet<PathBuf>,
}

/// Entries of folders that are not cleaned, by reason.
#[derive(Debug, Default)]
pub(crate) struct PassedOver(BTreeMap<&'static str, Vec<PathBuf>>);

/// Largest number of names for one reason.
const MAX_NAMES: usize = 10;

impl PassedOver {
    pub(crate) fn push(&mut self, reason: &'static str, path: PathBuf) {
        self.0.entry(reason).or_default().push(path);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// One line with reasons, numbers and names. `None` when there is no entry.
    pub(crate) fn summary(&self) -> Option<String> {
        let reasons = self.0.iter().map(|(reason, paths)| {
            let mut names: Vec<String> = paths
                .iter()
                .take(MAX_NAMES)
                .map(|path| shown::path(path))
                .collect();
            if paths.len() > MAX_NAMES {
                names.push(format!("and {} more", paths.len() - MAX_NAMES));
            }
            format!("{reason}: {} ({})", paths.len(), names.join(", "))
        });
        let reasons: Vec<String> = reasons.collect();
        (!reasons.is_empty()).then(|| format!("passed over, {}", reasons.join("; ")))
    }
}

impl Search {
    /// A search that leaves out folders.
    pub(super) fn new<'a>(skip: impl Iterator<Item = &'a Path>) -> Self {
        Self {
            skip: skip
                .filter_map(|folder| folder.canonicalize().ok())
                .collect(),
            ..Self::default()
        }
    }

    /// Adds a file or standard input.
    pub(super) fn file(&mut self, path: Option<&Path>) {
        self.add(path.map(Into::into), PathBuf::new());
    }

    /// Adds the recordings below a folder, sorted by name. Leaves out hidden files and passes over all
    /// other files.
    pub(super) fn folder(&mut self, folder: &Path) {
        self.walk(folder, Path::new(""), true);
    }

    /// The same file may be on the command line and in a folder of it.
    fn add(&mut self, path: Option<PathBuf>, below: PathBuf) {
        let real = path.as_deref().and_then(|path| path.canonicalize().ok());
        if real.is_none_or(|real| self.seen.insert(real)) {
            self.found.push(Found { path, below });
        }
    }

    fn walk(&mut self, folder: &Path, below: &Path, is_top: bool) {
        if !is_top && self.is_skipped(folder) {
            return;
        }
        let mut entries = Vec::new();
        match fs::read_dir(folder) {
            Ok(listing) => {
                for entry in listing {
                    match entry {
                        Ok(entry) => entries.push(entry),
                        Err(error) => self.fail(error, folder),
                    }
                }
            }
            Err(error) => self.fail(error, folder),
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.walk(&path, &below.join(name), false);
            } else {
                match reason_against(&path) {
                    Some(reason) => self.passed_over.push(reason, path),
                    None => self.add(Some(path), below.into()),
                }
            }
        }
    }

    fn is_skipped(&self, folder: &Path) -> bool {
        folder
            .canonicalize()
            .is_ok_and(|folder| self.skip.contains(&folder))
    }

    fn fail(&mut self, error: std::io::Error, folder: &Path) {
        let context = || format!("cannot list {}", shown::path(folder));
        let failure = Err::<(), _>(error).with_context(context);
        self.failures.extend(failure.err());
    }
}

/// The reason why an entry of a folder is not cleaned.
fn reason_against(path: &Path) -> Option<&'static str> {
    let kind = match path.metadata() {
        Ok(meta) => meta.file_type(),
        Err(_) => return Some("link that leads nowhere"),
    };
    if kind.is_dir() {
        return Some("link to a folder");
    }
    if !kind.is_file() {
        return Some("neither file nor folder");
    }
    match is_recording(path) {
        Ok(true) if is_output(path) => Some("output of an earlier run"),
        Ok(true) => None,
        Ok(false) => Some("not audio"),
        Err(_) => Some("unreadable, without the name of a recording"),
    }
}

/// Whether a name is that of an output beside its input.
fn is_output(path: &Path) -> bool {
    let stem = path.file_stem().map(Path::new);
    stem.and_then(Path::extension)
        .is_some_and(|end| end == "clean")
        && has_audio_extension(path)
}
