//! On processors for which there is no code for products of pairs, 8-bit weights become floats.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::bail;

use super::{Linear, WithLayer};

/// Never.
pub(super) fn can_pair(_: usize) -> bool {
    false
}

/// Only for what [`can_pair`].
pub(super) fn paired(_: &Tensor) -> TractResult<Tensor> {
    bail!("no registers for pairs of whole numbers")
}

/// Only for what [`can_pair`].
pub(super) fn with_layer(_: &Linear, _: impl WithLayer) -> TractResult<()> {
    bail!("no registers for pairs of whole numbers")
}
