//! A denoise model: weights shared by many streams, state of each stream on its own.

mod embedded;
pub(crate) mod spec;
pub(crate) mod tract;

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::Error;
use spec::GraphSpec;
pub use spec::Spec;
use tract::{Graph, Session};

/// An immutable model. Share one `Arc` among all streams.
pub struct Model {
    spec: Spec,
    graph: Graph,
}

impl Model {
    /// The model that is part of the library, by its id; see [`Model::embedded_ids`].
    ///
    /// # Errors
    /// [`Error::UnknownModel`] for another id.
    pub fn embedded(id: &str) -> Result<Arc<Self>, Error> {
        match embedded::MODELS.iter().find(|model| model.id == id) {
            Some(model) => Self::from_memory(model.manifest, model.onnx),
            None => {
                let known = if embedded::MODELS.is_empty() {
                    "none (feature `embedded-model` is off)".into()
                } else {
                    Self::embedded_ids().collect::<Vec<_>>().join(", ")
                };
                Err(Error::UnknownModel {
                    found: id.into(),
                    known,
                })
            }
        }
    }

    /// Ids of the embedded models, the default first.
    pub fn embedded_ids() -> impl Iterator<Item = &'static str> {
        embedded::MODELS.iter().map(|model| model.id)
    }

    /// The model card of an embedded model, Markdown.
    pub fn embedded_card(id: &str) -> Option<&'static str> {
        embedded::MODELS
            .iter()
            .find(|model| model.id == id)
            .map(|model| model.card)
    }

    /// A model from a folder with `model.toml` and the ONNX file that it names.
    ///
    /// # Errors
    /// [`Error::Read`] for a file that cannot be read, else as [`Model::from_memory`].
    pub fn from_folder(folder: &Path) -> Result<Arc<Self>, Error> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| Error::Read { path, source })
        };
        let manifest = String::from_utf8(read("model.toml")?).map_err(|_| Error::Manifest {
            field: "model.toml".into(),
            expected: "UTF-8 text".into(),
            found: "other bytes".into(),
        })?;
        let spec = Spec::parse(&manifest)?;
        let onnx = read(&spec.graph().file)?;
        Self::new(spec, &onnx)
    }

    /// A model from the text of its manifest and the bytes of its graph.
    ///
    /// # Errors
    /// [`Error::ManifestSyntax`] or [`Error::Manifest`] for the manifest, [`Error::Hash`] for
    /// bytes that are not those it names, [`Error::Tensor`] or [`Error::Engine`] for a graph that
    /// is not what it says.
    pub fn from_memory(manifest: &str, onnx: &[u8]) -> Result<Arc<Self>, Error> {
        Self::new(Spec::parse(manifest)?, onnx)
    }

    fn new(spec: Spec, onnx: &[u8]) -> Result<Arc<Self>, Error> {
        let digest = Sha256::digest(onnx);
        let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let GraphSpec { file, sha256, .. } = spec.graph();
        if !found.eq_ignore_ascii_case(sha256) {
            return Err(Error::Hash {
                file: file.clone(),
                expected: sha256.clone(),
                found,
            });
        }
        let graph = Graph::load(onnx, spec.graph(), 1)?;
        Ok(Arc::new(Self { spec, graph }))
    }

    /// What the manifest says.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn session(&self) -> Result<Session, Error> {
        self.graph.session()
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("id", &self.spec.id())
            .finish_non_exhaustive()
    }
}
