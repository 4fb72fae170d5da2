//! Temporary folders of the store.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// A temporary folder of the store. It is removed when it is dropped.
#[derive(Debug)]
pub struct TempFolder {
    path: PathBuf,
}

impl TempFolder {
    /// Creates `.NAME-PID` in the folder `parent`.
    pub(crate) fn create(parent: &Path, name: &str) -> Result<Self, StoreError> {
        let path = parent.join(format!(".{name}-{}", std::process::id()));
        let failed = |source| StoreError::Write {
            path: path.clone(),
            source,
        };
        if path.exists() {
            // A killed process with the same number has left it.
            fs::remove_dir_all(&path).map_err(failed)?;
        }
        fs::create_dir_all(&path).map_err(failed)?;
        Ok(Self { path })
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path.join(name);
        fs::write(&path, bytes).map_err(|source| StoreError::Write { path, source })
    }

    /// Moves this folder to `folder` and replaces what was there. On an error the old folder stays.
    pub(crate) fn replace(self, folder: &Path) -> Result<PathBuf, StoreError> {
        let failed = |source| StoreError::Write {
            path: folder.into(),
            source,
        };
        let old = self.path.with_extension("old");
        let replaces = folder.exists();
        if replaces {
            fs::rename(folder, &old).map_err(failed)?;
        }
        if let Err(source) = fs::rename(&self.path, folder) {
            if replaces {
                fs::rename(&old, folder).map_err(failed)?;
            }
            return Err(failed(source));
        }
        if replaces {
            fs::remove_dir_all(&old).map_err(failed)?;
        }
        Ok(folder.into())
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // Either the folder was moved, or the caller returns an error already.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use quietwire_testing::files::Folder;

    use super::*;

    #[test]
    fn a_folder_is_replaced_completely_or_removed() {
        let parent = Folder::new("temp-folder");
        parent.put("model/old.txt", b"old");
        let new = TempFolder::create(&parent.join(""), "model.part").unwrap();
        new.write("new.txt", b"new").unwrap();
        new.replace(&parent.join("model")).unwrap();
        assert_eq!(parent.list(), ["model/new.txt"]);

        let dropped = TempFolder::create(&parent.join(""), "model.part").unwrap();
        dropped.write("other.txt", b"other").unwrap();
        drop(dropped);
        assert_eq!(parent.list(), ["model/new.txt"]);
    }
}
