//! Telemetry as a structured numpy array.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyByteArray;
use quietwire::Telemetry;

/// Names and numpy types of the fields, in the order in which `push` writes them.
const FIELDS: [(&str, &str); 7] = [
    ("hop", "u8"),
    ("time_s", "f8"),
    ("speech_probability", "f4"),
    ("snr_db", "f4"),
    ("gain_db", "f4"),
    ("input_dbfs", "f4"),
    ("output_dbfs", "f4"),
];

/// The numpy dtype of telemetry: one record for each hop.
///
/// Fields: `hop` (uint64, counted from 0 at the start or the last reset), `time_s` (float64, end of the
/// hop in the input), `speech_probability` (float32, 0 to 1; NaN when the model has no such output),
/// `snr_db` (float32, -30 to 60), `gain_db` (float32, power of the output over that of the input),
/// `input_dbfs` and `output_dbfs` (float32, -140 or more).
#[pyfunction]
pub(crate) fn telemetry_dtype(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static DTYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let dtype = DTYPE.get_or_try_init(py, || {
        let numpy = py.import("numpy")?;
        let dtype = numpy.call_method1("dtype", (FIELDS.to_vec(),))?;
        PyResult::Ok(dtype.unbind())
    })?;
    Ok(dtype.clone_ref(py))
}

/// Hops as the bytes of a numpy array.
#[derive(Debug)]
pub(crate) struct Hops {
    bytes: Vec<u8>,
    hop_s: f64,
}

impl Hops {
    /// `hop_s`: duration of a hop, s.
    pub(crate) fn new(hop_s: f64) -> Self {
        Self {
            bytes: Vec::new(),
            hop_s,
        }
    }

    pub(crate) fn push(&mut self, hop: &Telemetry) {
        let end_s = (hop.hop + 1) as f64 * self.hop_s;
        self.bytes.extend(hop.hop.to_ne_bytes());
        self.bytes.extend(end_s.to_ne_bytes());
        for value in [
            hop.speech_probability.unwrap_or(f32::NAN),
            hop.snr_db,
            hop.gain_db,
            hop.input_dbfs,
            hop.output_dbfs,
        ] {
            self.bytes.extend(value.to_ne_bytes());
        }
    }

    /// A structured numpy array of shape (hops,).
    pub(crate) fn into_array(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let numpy = py.import("numpy")?;
        let dtype = telemetry_dtype(py)?;
        if self.bytes.is_empty() {
            return numpy.call_method1("empty", (0, dtype));
        }
        // A bytearray, so that the array is writable.
        let bytes = PyByteArray::new(py, &self.bytes);
        numpy.call_method1("frombuffer", (bytes, dtype))
    }
}

/// The duration of a hop, s.
pub(crate) fn hop_s(model: &quietwire::Model) -> f64 {
    let manifest = model.manifest();
    manifest.hop() as f64 / f64::from(manifest.rate_hz())
}
