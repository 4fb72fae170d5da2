//! A denoise model: weights shared by many streams, state of each stream on its own.

mod embedded;
pub(crate) mod spec;
pub(crate) mod tract;

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::Error;
pub use spec::Spec;
use tract::{Graph, Session};

/// An immutable model. Share one `Arc` among all streams.
pub struct Model {
    spec: Spec,
    graphs: Vec<Graph>,
}

impl Model {
    /// The model that is part of the library, by its id; see [`Model::embedded_ids`].
    ///
    /// # Errors
    /// [`Error::UnknownModel`] for another id.
    pub fn embedded(id: &str) -> Result<Arc<Self>, Error> {
        match embedded::MODELS.iter().find(|model| model.id == id) {
            Some(model) => Self::from_memory(model.manifest, &[model.onnx]),
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

    /// A model from a folder with `model.toml` and the ONNX files that it names.
    ///
    /// # Errors
    /// [`Error::Read`] for a file that cannot be read, else as [`Model::from_memory`].
    pub fn from_folder(folder: &Path) -> Result<Arc<Self>, Error> {
        let (spec, graphs) = read_folder(folder)?;
        let graphs: Vec<&[u8]> = graphs.iter().map(Vec::as_slice).collect();
        Self::new(spec, &graphs)
    }

    /// For a folder's graphs that were exported for whole signals: the largest difference that
    /// running them hop by hop makes, against their largest output. None when no graph is such.
    ///
    /// # Errors
    /// As [`Model::from_folder`].
    pub fn whole_signal_difference(folder: &Path) -> Result<Option<f32>, Error> {
        let (spec, graphs) = read_folder(folder)?;
        let mut worst = None;
        for (graph, onnx) in spec.graphs().iter().zip(&graphs) {
            check_hash(&graph.file, &graph.sha256, onnx)?;
            let difference = tract::whole_signal_difference(onnx, graph, spec.graphs())?;
            worst = difference.into_iter().chain(worst).reduce(f32::max);
        }
        Ok(worst)
    }

    /// A model from the text of its manifest and the bytes of its graphs, in the manifest's order.
    ///
    /// # Errors
    /// [`Error::ManifestSyntax`] or [`Error::Manifest`] for the manifest, [`Error::Hash`] for
    /// bytes that are not those it names, [`Error::Tensor`] or [`Error::Engine`] for a graph that
    /// is not what it says.
    pub fn from_memory(manifest: &str, onnx: &[&[u8]]) -> Result<Arc<Self>, Error> {
        Self::new(Spec::parse(manifest)?, onnx)
    }

    fn new(spec: Spec, onnx: &[&[u8]]) -> Result<Arc<Self>, Error> {
        if onnx.len() != spec.graphs().len() {
            return Err(Error::Manifest {
                field: "graph".into(),
                expected: format!("{} tables, as many as there are graphs", onnx.len()),
                found: spec.graphs().len().to_string(),
            });
        }
        let mut graphs = Vec::with_capacity(onnx.len());
        for (graph, bytes) in spec.graphs().iter().zip(onnx) {
            check_hash(&graph.file, &graph.sha256, bytes)?;
            let loaded = Graph::load(bytes, graph, spec.graphs(), spec.can_batch())?;
            graphs.push(loaded);
        }
        Ok(Arc::new(Self { spec, graphs }))
    }

    /// What the manifest says.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn session(&self) -> Result<Session, Error> {
        Session::new(&self.graphs)
    }

    /// A step of `rows` streams; for models that can batch.
    pub(crate) fn batch_session(&self, rows: usize) -> Result<Session, Error> {
        Session::batched(&self.graphs, rows)
    }
}

impl Spec {
    /// The manifest in a model's folder, without its graphs.
    pub(crate) fn from_folder(folder: &Path) -> Result<Self, Error> {
        let manifest = String::from_utf8(read(folder, "model.toml")?);
        let manifest = manifest.map_err(|_| Error::Manifest {
            field: "model.toml".into(),
            expected: "UTF-8 text".into(),
            found: "other bytes".into(),
        })?;
        Self::parse(&manifest)
    }
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let path = folder.join(name);
    std::fs::read(&path).map_err(|source| Error::Read { path, source })
}

/// A folder's manifest and the bytes of its graphs.
fn read_folder(folder: &Path) -> Result<(Spec, Vec<Vec<u8>>), Error> {
    let spec = Spec::from_folder(folder)?;
    let graphs = spec.graphs().iter().map(|graph| read(folder, &graph.file));
    let graphs = graphs.collect::<Result<_, _>>()?;
    Ok((spec, graphs))
}

/// That `bytes` are those that the manifest names.
pub(crate) fn check_hash(file: &str, sha256: &str, bytes: &[u8]) -> Result<(), Error> {
    let digest = Sha256::digest(bytes);
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(sha256) {
        return Ok(());
    }
    Err(Error::Hash {
        file: file.into(),
        expected: sha256.into(),
        found,
    })
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("id", &self.spec.id())
            .finish_non_exhaustive()
    }
}
