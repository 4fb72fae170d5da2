//! Files that appear complete or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::FileError;
use crate::file_attributes::FileAttributes;
use crate::process::kill_all;

/// The temporary files of this process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    // The list is complete after each statement that changes it.
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files of all outputs in progress, and ends the programs that write or read
/// them. Calls of this crate that would create or
/// complete an output block from then on. For a program that ends before [`clean`](crate::clean)
/// returns, for example after a signal.
pub fn remove_unfinished_outputs() {
    let mut unfinished = unfinished();
    kill_all();
    for part in unfinished.drain(..) {
        // The process ends: there is nobody to return an error to.
        let _ = fs::remove_file(part);
    }
    // The lock is never released.
    Box::leak(Box::new(unfinished));
}

#[derive(Debug)]
/// A file with a temporary name in the folder of its final name. [`commit`](Self::commit) gives it
/// the final name. If it is dropped before, it is removed.
///
/// The temporary name is `.NAME.quietwire.part`, or `.quietwire-HASH.part` where that is too long. The
/// process that writes the file holds a lock on it. A process that is killed leaves the file without
/// the lock, and the next process with the same output replaces it.
pub(crate) struct AtomicFile {
    part: PathBuf,
    path: PathBuf,
    attributes: FileAttributes,
    committed: bool,
}

impl AtomicFile {
    /// Creates the temporary file.
    pub(crate) fn create(
        path: &Path,
        overwrite: bool,
        attributes: &FileAttributes,
    ) -> Result<(Self, File), FileError> {
        if !overwrite && path.exists() {
            return Err(FileError::Exists { path: path.into() });
        }
        let failed = |source| FileError::Write {
            path: path.into(),
            source,
        };
        // Replaces the target of a link, not the link.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let name = real
            .file_name()
            .ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        // Held until the file is in the list, so that no file is created after the list was emptied.
        let mut unfinished = unfinished();
        let mut part = real.with_file_name(long_name(name));
        let mut file = create_part(&part, attributes);
        if matches!(&file, Err(error) if error.kind() == io::ErrorKind::InvalidFilename) {
            part = real.with_file_name(short_name(name));
            file = create_part(&part, attributes);
        }
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => FileError::InUse {
                path: path.into(),
                part: part.clone(),
            },
            _ => failed(error),
        })?;
        unfinished.push(part.clone());
        Ok((
            Self {
                part,
                path: real,
                attributes: attributes.clone(),
                committed: false,
            },
            file,
        ))
    }

    /// The temporary file.
    pub(crate) fn part(&self) -> &Path {
        &self.part
    }

    /// Gives the written and flushed file its attributes and its final name.
    pub(crate) fn commit(mut self, file: &File) -> Result<(), FileError> {
        self.attributes.apply(file);
        let mut unfinished = unfinished();
        file.sync_all()
            .and_then(|()| fs::rename(&self.part, &self.path))
            .map_err(|source| FileError::Write {
                path: self.path.clone(),
                source,
            })?;
        unfinished.retain(|part| *part != self.part);
        self.committed = true;
        Ok(())
    }

    /// Creates, writes and commits a file.
    pub(crate) fn write(
        path: &Path,
        overwrite: bool,
        attributes: &FileAttributes,
        bytes: &[u8],
    ) -> Result<(), FileError> {
        let (part, mut file) = Self::create(path, overwrite, attributes)?;
        file.write_all(bytes).map_err(|source| FileError::Write {
            path: path.into(),
            source,
        })?;
        part.commit(&file)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // The caller returns an error already. A second error would hide it.
            let _ = fs::remove_file(&self.part);
            unfinished().retain(|part| *part != self.part);
        }
    }
}

fn long_name(name: &OsStr) -> OsString {
    let mut part = OsString::from(".");
    part.push(name);
    part.push(".quietwire.part");
    part
}

/// A name of fixed length for a name that fills the limit of the file system.
fn short_name(name: &OsStr) -> OsString {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    format!(".quietwire-{:016x}.part", hasher.finish()).into()
}

/// Creates and locks a temporary file. Removes that of a killed process.
///
/// # Errors
/// `ResourceBusy` when another process writes the file.
fn create_part(path: &Path, attributes: &FileAttributes) -> io::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        attributes.restrict(options.read(true).write(true).create_new(true));
        match options.open(path) {
            Ok(file) => match file.try_lock() {
                // Another process took it for the file of a killed one and removes it.
                Err(TryLockError::WouldBlock) => continue,
                // Some file systems have no locks.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => remove_left(path)?,
            Err(error) => return Err(error),
        }
    }
}

/// Removes a temporary file whose process does not exist any more.
fn remove_left(path: &Path) -> io::Result<()> {
    let left = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        left => left?,
    };
    left.try_lock()
        .map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
    // The lock is on the open file. Another process may have replaced it under this name.
    match is_same(&left, path) {
        Ok(true) => fs::remove_file(path),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (open, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// Elsewhere a file that is open under another name cannot be told apart.
#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Whether the path is a pipe or a device. Those are written in place.
pub(crate) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_name_depends_on_all_of_the_name() {
        let (a, b) = ("a".repeat(255), "a".repeat(254) + "b");
        assert_ne!(short_name(a.as_ref()), short_name(b.as_ref()));
        assert_eq!(short_name(a.as_ref()), short_name(a.as_ref()));
        assert!(short_name(a.as_ref()).len() < 40);
    }
}
