//! Outputs that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::FileError;

/// A file under a temporary name in the folder of its final one. It takes the final name in
/// [`commit`](Self::commit); dropped before, it is removed.
///
/// A process that is killed leaves the temporary file: `.NAME.quietwire-PID.part`.
pub(super) struct PartFile {
    part: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl PartFile {
    /// Creates the temporary file.
    pub(super) fn create(path: &Path, overwrite: bool) -> Result<(Self, File), FileError> {
        if !overwrite && path.exists() {
            return Err(FileError::Exists { path: path.into() });
        }
        let failed = |source| FileError::Write {
            path: path.into(),
            source,
        };
        // The target of a link is replaced, not the link.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let name = real
            .file_name()
            .ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".quietwire-{}.part", std::process::id()));
        let part = real.with_file_name(part);
        // What a killed process with the same number left is replaced.
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
    pub(super) fn commit(mut self, file: &File) -> Result<(), FileError> {
        file.sync_all()
            .and_then(|()| fs::rename(&self.part, &self.path))
            .map_err(|source| FileError::Write {
                path: self.path.clone(),
                source,
            })?;
        self.committed = true;
        Ok(())
    }

    /// Creates, fills and commits a file in one go.
    pub(super) fn write(path: &Path, overwrite: bool, bytes: &[u8]) -> Result<(), FileError> {
        let (part, mut file) = Self::create(path, overwrite)?;
        file.write_all(bytes).map_err(|source| FileError::Write {
            path: path.into(),
            source,
        })?;
        part.commit(&file)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.committed {
            // An error is on its way to the caller already; a second one would hide it.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// Whether something other than a regular file or a folder has this name: a pipe or a device,
/// which must be written in place.
pub(super) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}
