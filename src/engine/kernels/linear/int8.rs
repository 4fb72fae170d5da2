//! Layers with 8-bit weights whose products are of integers. Only for x86-64; on other processors
//! the weights become f32 in registers.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{is_supported, pack_pairs, visit};

#[cfg(not(target_arch = "x86_64"))]
pub(super) use unsupported::{is_supported, pack_pairs, visit};

/// The same interface for processors without a kernel.
#[cfg(not(target_arch = "x86_64"))]
mod unsupported {
    use tract_onnx::prelude::*;
    use tract_onnx::tract_core::internal::bail;

    use super::super::epilogue::Epilogue;
    use super::super::layer::LayerVisitor;

    pub(in super::super) fn is_supported(_inputs: usize) -> bool {
        false
    }

    pub(in super::super) fn pack_pairs(_weights: &Tensor) -> TractResult<Tensor> {
        bail!("this processor has no kernel for 8-bit weights")
    }

    pub(in super::super) fn visit(
        _weights: &[i8],
        _epilogue: Epilogue<'_>,
        _visitor: impl LayerVisitor,
    ) -> TractResult<()> {
        bail!("this processor has no kernel for 8-bit weights")
    }
}
