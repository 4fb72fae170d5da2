//! The native module `quietwire._native` of the Python package. It converts arguments and results; the
//! signal processing is that of the crates `quietwire` and `quietwire-file`.

mod array;
mod block;
mod denoiser;
mod error;
mod file;
mod model;
mod options;
mod telemetry;

/// The native part of the package `quietwire`.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::array::clean_array;
    #[pymodule_export]
    use crate::denoiser::Denoiser;
    #[pymodule_export]
    use crate::file::{clean_file, read_audio};
    #[pymodule_export]
    use crate::model::Model;
    #[pymodule_export]
    use crate::options::level_db;
    #[pymodule_export]
    use crate::telemetry::telemetry_dtype;

    /// The version of the package.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
