//! The engine's errors.

#[cfg(feature = "onnx")]
use crate::error::Error;
#[cfg(feature = "onnx")]
use crate::manifest::{Axis, TensorSpec};

/// A graph failed on a hop.
#[derive(Debug)]
pub(crate) struct InferenceFailed;

/// An error of an executor.
#[cfg(feature = "onnx")]
pub(super) fn engine_error(error: impl std::fmt::Display + std::fmt::Debug) -> Error {
    // `{:#}` prints the chain of causes on one line.
    Error::Engine {
        reason: format!("{error:#}"),
    }
}

/// A tensor of a graph that differs from the manifest.
#[cfg(feature = "onnx")]
pub(super) fn tensor_mismatch(tensor: &TensorSpec, found: String) -> Error {
    let axis = |axis: &Axis| match axis {
        Axis::Size(size) => size.to_string(),
        Axis::Symbol(name) => name.clone(),
    };
    let shape: Vec<String> = tensor.shape.iter().map(axis).collect();
    Error::Tensor {
        tensor: tensor.name.clone(),
        expected: format!("[{}] f32", shape.join(", ")),
        found,
    }
}
