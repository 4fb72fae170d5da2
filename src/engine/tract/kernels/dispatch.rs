//! Kernels compiled for each SIMD instruction set and chosen at run time, and their inner loops.

use tract_onnx::prelude::*;

use crate::fast_math::add_product;

/// The slices of a kernel with constant weights. `pulp` compiles what is inlined into its
/// `WithSimd` implementation for each instruction set.
pub(super) struct WeightedKernel<'a, T> {
    pub(super) op: &'a T,
    pub(super) input: &'a [f32],
    pub(super) weights: &'a [f32],
    pub(super) output: &'a mut [f32],
}

/// Computes an output of `shape` with `op`.
pub(super) fn run_weighted<T>(
    op: &T,
    shape: &[usize],
    input: &TValue,
    weights: &Tensor,
) -> TractResult<TVec<TValue>>
where
    for<'a> WeightedKernel<'a, T>: pulp::WithSimd<Output = TractResult<()>>,
{
    let mut output = Tensor::zero::<f32>(shape)?;
    let (input, weights) = (input.try_as_plain_ram()?, weights.try_as_plain_ram()?);
    pulp::Arch::new().dispatch(WeightedKernel {
        op,
        input: input.as_slice()?,
        weights: weights.as_slice()?,
        output: output.try_as_plain_ram_mut()?.as_slice_mut()?,
    })?;
    Ok(tvec![output.into_tvalue()])
}

/// Adds `scale * from` to `to`, for the length of the shorter one.
#[inline(always)]
pub(super) fn add_scaled<S: pulp::Simd>(scale: f32, from: &[f32], to: &mut [f32]) {
    let len = from.len().min(to.len());
    let (from, to) = (&from[..len], &mut to[..len]);
    for at in 0..len {
        to[at] = add_product::<S>(to[at], scale, from[at]);
    }
}
