//! Reasons why a graph cannot become a plan.

use crate::engine::onnx::OnnxError;

/// A reason why a graph has no plan.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum Unsupported {
    #[error(transparent)]
    File(#[from] OnnxError),
    #[error("the operators are of version {found}, expected 13 to 21")]
    Opset { found: i64 },
    #[error("it was exported for whole signals")]
    SignalExport,
    #[error("operator {op} of node {node}")]
    Operator { op: String, node: String },
    #[error("operator {op} of node {node}: {reason}")]
    Detail {
        op: String,
        node: String,
        reason: String,
    },
    #[error(
        "expected finite weights, found NaN or infinite ones: the author of the model can export it again"
    )]
    NonFinite,
    #[error("tensor {tensor}: {reason}")]
    Tensor { tensor: String, reason: String },
}
