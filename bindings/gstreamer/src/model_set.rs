//! The models between which a stream switches.

use std::path::PathBuf;
use std::sync::Arc;

use quietwire::{ChannelMode, Denoiser, DenoiserOptions, Error, Model};

/// The model that a value of the property `model` selects, and those to which a stream can switch from it
/// without a restart: all embedded models, or one model in a folder.
#[derive(Debug)]
pub(crate) struct ModelSet {
    name: String,
    models: Vec<Arc<Model>>,
    selected: usize,
    is_embedded: bool,
}

/// Why a model cannot be used. Each text ends with who can change it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    #[error(
        "model `{name}`: expected {known} or the path of a folder with model.toml, found no such folder. \
         Set the property `model`"
    )]
    NotFound { name: String, known: String },
    #[error("model in the folder {}: {source}{}. Set the property `model` to another one, or correct the folder", .folder.display(), reason(.source))]
    Folder { folder: PathBuf, source: Error },
    #[error("embedded model `{name}`: {source}. This is a defect of the plugin: report it")]
    Embedded { name: String, source: Error },
    #[error(
        "model `{name}` with the property channel-mode={mode}: {source}. Set one of these properties to another value"
    )]
    ChannelMode {
        name: String,
        mode: &'static str,
        source: Error,
    },
}

/// The cause of an error whose own text lacks it.
fn reason(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"))
}

impl ModelSet {
    /// Loads the embedded model with this id, or that in the folder with this path.
    pub(crate) fn load(name: &str) -> Result<Self, ModelError> {
        if let Some(selected) = Model::embedded_ids().position(|id| id == name) {
            let models = Model::embedded_ids().map(|id| {
                Model::embedded(id).map_err(|source| ModelError::Embedded {
                    name: id.into(),
                    source,
                })
            });
            return Ok(Self {
                name: name.into(),
                models: models.collect::<Result<_, _>>()?,
                selected,
                is_embedded: true,
            });
        }
        let folder = PathBuf::from(name);
        if !folder.is_dir() {
            return Err(ModelError::NotFound {
                name: name.into(),
                known: Model::embedded_ids().collect::<Vec<_>>().join(", "),
            });
        }
        match Model::from_folder(&folder) {
            Ok(model) => Ok(Self {
                name: name.into(),
                models: vec![model],
                selected: 0,
                is_embedded: false,
            }),
            Err(source) => Err(ModelError::Folder { folder, source }),
        }
    }

    /// Checks that the models support a channel mode.
    pub(crate) fn check(&self, mode: ChannelMode) -> Result<(), ModelError> {
        let mut options = DenoiserOptions::default();
        options.channels = 2;
        options.channel_mode = mode;
        match Denoiser::new(&self.models, &options) {
            Ok(_) => Ok(()),
            Err(source) => Err(ModelError::ChannelMode {
                name: self.name.clone(),
                mode: match mode {
                    ChannelMode::Linked => "linked",
                    _ => "independent",
                },
                source,
            }),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn models(&self) -> &[Arc<Model>] {
        &self.models
    }

    /// Index of the selected model.
    pub(crate) fn selected(&self) -> usize {
        self.selected
    }

    /// Whether both have the same models, so that a stream can switch between their selections.
    pub(crate) fn has_models_of(&self, other: &Self) -> bool {
        (self.is_embedded && other.is_embedded) || std::ptr::eq(self, other)
    }
}
