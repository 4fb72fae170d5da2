//! Files that appear complete or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::FileError;

/// A file with a temporary name in the folder of its final name. [`commit`](Self::commit) gives it
/// the final name. If it is dropped before, it is removed.
///
/// A process that is killed leaves the temporary file: `.NAME.quietwire-PID.part`.
pub(crate) struct AtomicFile {
    part: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Creates the temporary file.
    pub(crate) fn create(path: &Path, overwrite: bool) -> Result<(Self, File), FileError> {
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
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".quietwire-{}.part", std::process::id()));
        let part = real.with_file_name(part);
        // Replaces the file of a killed process with the same number.
        let file = File::create(&part).map_err(failed)?;
        Ok((
            Self {
                part,
                path: real,
                committed: false,
            },
            file,
        ))
    }

    /// Gives the written and flushed file its final name.
    pub(crate) fn commit(mut self, file: &File) -> Result<(), FileError> {
        file.sync_all()
            .and_then(|()| fs::rename(&self.part, &self.path))
            .map_err(|source| FileError::Write {
                path: self.path.clone(),
                source,
            })?;
        self.committed = true;
        Ok(())
    }

    /// Creates, writes and commits a file.
    pub(crate) fn write(path: &Path, overwrite: bool, bytes: &[u8]) -> Result<(), FileError> {
        let (part, mut file) = Self::create(path, overwrite)?;
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
        }
    }
}

/// Whether the path is a pipe or a device. Those are written in place.
pub(crate) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}
