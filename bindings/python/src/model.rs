//! The class `Model`, and the argument `model` of all functions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::error::{exception, from_core};

/// The weights of a denoise model, shared by all streams that use it.
///
/// Never changes, so all threads may use one `Model`. Pass it as `model=` to `Denoiser`, `clean_array`
/// and `clean_file`.
#[pyclass(frozen, module = "quietwire")]
#[derive(Debug)]
pub(crate) struct Model {
    model: Arc<quietwire::Model>,
}

#[pymethods]
impl Model {
    /// A model of the package, by its id: see `embedded_ids`.
    ///
    /// Raises:
    ///     UnknownModelError: no model of the package has this id.
    #[staticmethod]
    #[pyo3(signature = (id="base"))]
    fn embedded(py: Python<'_>, id: &str) -> PyResult<Self> {
        let model = py.detach(|| quietwire::Model::embedded(id));
        let model = model.map_err(|error| from_core(py, &error))?;
        Ok(Self { model })
    }

    /// A model of a folder with `model.toml` and the ONNX files that it names.
    ///
    /// Raises:
    ///     ModelReadError: a file cannot be read.
    ///     InvalidManifestError: `model.toml` is not a valid manifest.
    ///     ModelMismatchError: an ONNX file does not match the manifest.
    ///     EngineError: the engine cannot run a graph.
    #[staticmethod]
    #[pyo3(signature = (folder))]
    fn from_folder(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        let model = load_folder(py, &folder)?;
        Ok(Self { model })
    }

    /// The ids of the models in the package, the default first.
    #[staticmethod]
    fn embedded_ids() -> Vec<&'static str> {
        quietwire::Model::embedded_ids().collect()
    }

    /// The id of the model.
    #[getter]
    fn id(&self) -> &str {
        self.model.manifest().id()
    }

    /// The version of the weights.
    #[getter]
    fn version(&self) -> &str {
        self.model.manifest().version()
    }

    /// The license of the weights.
    #[getter]
    fn license(&self) -> &str {
        self.model.manifest().license()
    }

    /// The sample rate at which the model runs, Hz. Streams may have any rate from 8000 to 192000 Hz.
    #[getter]
    fn rate_hz(&self) -> u32 {
        self.model.manifest().rate_hz()
    }

    /// Frames between two analyses, at the rate of the model.
    #[getter]
    fn hop_frames(&self) -> usize {
        self.model.manifest().hop()
    }

    fn __repr__(&self) -> String {
        format!("Model(id={:?}, version={:?})", self.id(), self.version())
    }
}

/// The model of an argument: a `Model`, an id, or the path of a folder.
pub(crate) fn from_argument(argument: &Bound<'_, PyAny>) -> PyResult<Arc<quietwire::Model>> {
    let py = argument.py();
    if let Ok(model) = argument.cast::<Model>() {
        return Ok(model.get().model.clone());
    }
    if let Ok(name) = argument.cast::<PyString>() {
        let name = name.to_string();
        let is_embedded = quietwire::Model::embedded_ids().any(|id| id == name);
        let path = Path::new(&name);
        if !is_embedded && path.is_dir() {
            return load_folder(py, path);
        }
        let model = py.detach(|| quietwire::Model::embedded(&name));
        return model.map_err(|error| {
            let text = format!("{error}, or the path of a folder with model.toml");
            exception(py, "UnknownModelError", text)
        });
    }
    match argument.extract::<PathBuf>() {
        Ok(path) => load_folder(py, &path),
        Err(_) => Err(exception(
            py,
            "UnknownModelError",
            format!(
                "model: expected a Model, the id of a model or the path of a folder, found {}",
                argument.get_type().name()?
            ),
        )),
    }
}

/// `model=None`: the default model.
pub(crate) fn from_optional(
    py: Python<'_>,
    argument: Option<&Bound<'_, PyAny>>,
) -> PyResult<Arc<quietwire::Model>> {
    match argument {
        Some(argument) => from_argument(argument),
        None => Model::embedded(py, "base").map(|model| model.model),
    }
}

/// A new Python object for a model.
pub(crate) fn wrap(model: Arc<quietwire::Model>) -> Model {
    Model { model }
}

fn load_folder(py: Python<'_>, folder: &Path) -> PyResult<Arc<quietwire::Model>> {
    let model = py.detach(|| quietwire::Model::from_folder(folder));
    model.map_err(|error| from_core(py, &error))
}
