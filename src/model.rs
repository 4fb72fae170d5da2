//! A denoise model: weights that streams share, and the state of each stream.

mod embedded;

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::engine::{Executor, Graphs, Session};
#[cfg(feature = "onnx")]
use crate::engine::{reference_difference, whole_signal_difference};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::shared::Shared;

/// An immutable model. Share one `Arc` among all streams: it is `Send`, `Sync` and unwind safe.
pub struct Model {
    manifest: Manifest,
    graphs: Graphs,
    /// SHA-256 of the text of the manifest, which holds the hashes of the graphs
    fingerprint: [u8; 32],
}

impl Model {
    /// An embedded model by its id; see [`Model::embedded_ids`]. All callers share one model as long
    /// as one of them holds it.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] for another id.
    pub fn embedded(id: &str) -> Result<Arc<Self>, Error> {
        static LOADED: Shared<&str, Model> = Shared::new();
        let Some(model) = embedded::MODELS.iter().find(|model| model.id == id) else {
            let known = if embedded::MODELS.is_empty() {
                "none (feature `embedded-model` is off)".into()
            } else {
                Self::embedded_ids().collect::<Vec<_>>().join(", ")
            };
            return Err(Error::UnknownModel {
                found: id.into(),
                known,
            });
        };
        LOADED.try_get(model.id, |_| {
            // The bytes are part of this program. A test compares their hashes with the manifests.
            let manifest = Manifest::parse(model.manifest)?;
            Self::from_graphs(model.manifest, manifest, &[model.onnx])
        })
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

    /// Loads a model from a folder with `model.toml` and the ONNX files that it names.
    ///
    /// # Errors
    /// [`Error::Read`] for a file that cannot be read; otherwise as [`Model::from_memory`].
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Arc<Self>, Error> {
        let (text, onnx) = read_folder(folder.as_ref())?;
        let onnx: Vec<&[u8]> = onnx.iter().map(Vec::as_slice).collect();
        Self::from_memory(&text, &onnx)
    }

    /// Loads a model from the text of its manifest and the bytes of its ONNX files, in the order of
    /// [`Manifest::graph_files`]. Runs one hop of silence, so that a graph that cannot run is found
    /// here.
    ///
    /// # Errors
    /// [`Error::ManifestSyntax`] or [`Error::Manifest`] for the manifest, [`Error::Hash`] for bytes
    /// with another hash than the manifest's, [`Error::Tensor`] or [`Error::Engine`] for a graph that
    /// differs from the manifest or cannot run, [`Error::EngineMissing`] for a graph that needs the feature
    /// `onnx` in a build without it.
    pub fn from_memory(manifest: &str, onnx: &[&[u8]]) -> Result<Arc<Self>, Error> {
        let (text, manifest) = (manifest, Manifest::parse(manifest)?);
        if onnx.len() != manifest.graphs().len() {
            return Err(Error::Manifest {
                field: "graph".into(),
                expected: format!("{} tables, one for each ONNX file", onnx.len()),
                found: manifest.graphs().len().to_string(),
            });
        }
        for (file, bytes) in manifest.graph_files().zip(onnx) {
            file.verify(bytes)?;
        }
        Self::from_graphs(text, manifest, onnx)
    }

    /// Loads ONNX files whose hashes are those of the manifest, which was parsed from `text`.
    fn from_graphs(text: &str, manifest: Manifest, onnx: &[&[u8]]) -> Result<Arc<Self>, Error> {
        let graphs = Graphs::load(onnx, manifest.graphs(), manifest.can_batch())?;
        let model = Self {
            manifest,
            graphs,
            fingerprint: Sha256::digest(text.as_bytes()).into(),
        };
        model.run_one_hop()?;
        Ok(Arc::new(model))
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// For the graphs of a folder that were exported for whole signals: the largest difference
    /// between a run over a whole signal and a run hop by hop, relative to the largest output.
    /// `None` when no graph is of this kind. A check for authors of models.
    ///
    /// # Errors
    /// As [`Model::from_folder`].
    #[cfg(feature = "onnx")]
    pub fn whole_signal_difference(folder: impl AsRef<Path>) -> Result<Option<f32>, Error> {
        let (text, onnx) = read_folder(folder.as_ref())?;
        let manifest = Manifest::parse(&text)?;
        let mut max = None;
        let files = manifest.graphs().iter().zip(manifest.graph_files());
        for ((graph, file), bytes) in files.zip(&onnx) {
            file.verify(bytes)?;
            let difference = whole_signal_difference(bytes, graph, manifest.graphs())?;
            max = difference.into_iter().chain(max).reduce(f32::max);
        }
        Ok(max)
    }

    /// The executor of each graph, in the order of [`Manifest::graph_files`].
    pub fn graph_engines(&self) -> impl Iterator<Item = GraphEngine<'_>> {
        let graphs = self.manifest.graphs().iter();
        graphs
            .zip(self.graphs.executors())
            .map(|(graph, executor)| {
                let (engine, reason) = match executor {
                    Executor::Plan => ("quietwire", None),
                    #[cfg(feature = "onnx")]
                    Executor::Tract { reason } => ("tract", Some(&reason[..])),
                };
                GraphEngine {
                    file: &graph.file,
                    engine,
                    reason,
                }
            })
    }

    /// For the graphs of a folder that run in the executor of this library: the largest difference
    /// between its outputs and those of tract on noise, relative to the largest output. `None` when the
    /// graphs run in tract. A check for authors of models.
    ///
    /// # Errors
    /// As [`Model::from_folder`].
    #[cfg(feature = "onnx")]
    pub fn engine_difference(folder: impl AsRef<Path>) -> Result<Option<f32>, Error> {
        let (text, onnx) = read_folder(folder.as_ref())?;
        let onnx: Vec<&[u8]> = onnx.iter().map(Vec::as_slice).collect();
        engine_difference(&text, &onnx)
    }

    /// [`Model::engine_difference`] of an embedded model. `None` for another id.
    ///
    /// # Errors
    /// [`Error::Engine`] when tract cannot run the graph.
    #[cfg(feature = "onnx")]
    pub fn embedded_engine_difference(id: &str) -> Result<Option<f32>, Error> {
        let model = embedded::MODELS.iter().find(|model| model.id == id);
        model.map_or(Ok(None), |model| {
            engine_difference(model.manifest, &[model.onnx])
        })
    }

    /// Whether both are the same model, loaded once or twice.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.fingerprint == other.fingerprint
    }

    pub(crate) fn session(&self) -> Result<Session, Error> {
        Session::new(&self.graphs)
    }

    /// A session for steps of `rows` streams, for models that can batch.
    pub(crate) fn batch_session(&self, rows: usize) -> Result<Session, Error> {
        Session::batched(&self.graphs, rows)
    }

    fn run_one_hop(&self) -> Result<(), Error> {
        let mut session = self.session()?;
        for (at, graph) in self.manifest.graphs().iter().enumerate() {
            if session.run(at).is_err() {
                return Err(Error::Engine {
                    reason: session.last_failure().unwrap_or_default(),
                });
            }
            // A weight that is NaN makes NaN of zeros, too.
            for (output, tensor) in graph.outputs.iter().enumerate() {
                let numbers = session.output(at, output, 0);
                if let Some(found) = numbers.iter().find(|number| !number.is_finite()) {
                    return Err(Error::Engine {
                        reason: format!(
                            "expected finite outputs for a hop of silence, found {found} in {} of {}: the \
                             author of the model can export it again",
                            tensor.name, graph.file
                        ),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The executor of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphEngine<'a> {
    /// the ONNX file
    pub file: &'a str,
    /// `quietwire` for the executor of this library, or `tract`
    pub engine: &'static str,
    /// why the executor of this library cannot run the graph
    pub reason: Option<&'a str>,
}

#[cfg(feature = "onnx")]
fn engine_difference(manifest: &str, onnx: &[&[u8]]) -> Result<Option<f32>, Error> {
    let manifest = Manifest::parse(manifest)?;
    for (file, bytes) in manifest.graph_files().zip(onnx) {
        file.verify(bytes)?;
    }
    reference_difference(onnx, manifest.graphs(), manifest.can_batch())
}

// Nothing of a model changes after it was loaded.
impl UnwindSafe for Model {}
impl RefUnwindSafe for Model {}

impl Manifest {
    /// The manifest in a model's folder, without its graphs.
    ///
    /// # Errors
    /// [`Error::Read`] for a file that cannot be read; otherwise as [`Manifest::parse`].
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Self::parse(&read_manifest(folder.as_ref())?)
    }
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let path = folder.join(name);
    std::fs::read(&path).map_err(|source| Error::Read { path, source })
}

fn read_manifest(folder: &Path) -> Result<String, Error> {
    String::from_utf8(read(folder, "model.toml")?).map_err(|_| Error::Manifest {
        field: "model.toml".into(),
        expected: "UTF-8 text".into(),
        found: "other bytes".into(),
    })
}

/// The text of a folder's manifest and the bytes of its graphs.
fn read_folder(folder: &Path) -> Result<(String, Vec<Vec<u8>>), Error> {
    let text = read_manifest(folder)?;
    let manifest = Manifest::parse(&text)?;
    let files = manifest.graph_files().map(|file| read(folder, file.name()));
    let files = files.collect::<Result<_, _>>()?;
    Ok((text, files))
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("id", &self.manifest.id())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "embedded-model"))]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_of_embedded_models_are_those_of_their_manifests() {
        for model in embedded::MODELS {
            let manifest = Manifest::parse(model.manifest).unwrap();
            let files: Vec<_> = manifest.graph_files().collect();
            let [file] = &files[..] else {
                panic!("an embedded model has one graph")
            };
            file.verify(model.onnx).unwrap();
        }
    }

    /// A weight that is not finite is an error on loading, not silence in a call.
    #[test]
    fn weights_that_are_not_finite_are_errors() {
        let tiny = embedded::MODELS.iter().find(|model| model.id == "tiny");
        let tiny = tiny.unwrap();
        let f32_bytes = |number: f32| number.to_le_bytes().to_vec();
        for (name, number) in [
            ("encoder.weight.f16", vec![0x00, 0x7e]),
            ("subband_embedding", f32_bytes(f32::NAN)),
            ("blocks.0.subband.gates.bias", f32_bytes(f32::NAN)),
            ("blocks.0.to_fullband.bias", f32_bytes(f32::INFINITY)),
            (
                "blocks.0.to_fullband.weight.scale",
                f32_bytes(f32::INFINITY),
            ),
            ("head.local.bias", f32_bytes(f32::NAN)),
        ] {
            let mut onnx = tiny.onnx.to_vec();
            // A tensor has its name, the tag of its bytes (field 9), their number as a varint, and its bytes.
            let tensor = [name.as_bytes(), &[0x4a]].concat();
            let found = onnx.windows(tensor.len()).position(|bytes| bytes == tensor);
            let mut at = found.unwrap() + tensor.len();
            while onnx[at] & 0x80 != 0 {
                at += 1;
            }
            onnx[at + 1..][..number.len()].copy_from_slice(&number);
            let manifest = Manifest::parse(tiny.manifest).unwrap();
            let error = Model::from_graphs(tiny.manifest, manifest, &[&onnx]).unwrap_err();
            let is_named = matches!(&error, Error::Engine { reason } if reason.contains("finite"));
            assert!(is_named, "{name}: {error}");
        }
    }
}
