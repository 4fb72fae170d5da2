//! Linear layers in groups (GTCRN, DeepFilterNet 3). As matrix products they would be many tiny ones.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::dispatch::{WeightedKernel, add_scaled, run_weighted};
use super::kernel::{Kernel, impl_op_for_kernel};
use crate::fast_math::add_product;

/// Outputs of a group whose sums stay in registers at a time.
const LANES: usize = 16;

/// A linear layer in groups, of one row: [groups, inputs] to [groups, outputs].
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct GroupedLinear {
    pub(super) groups: usize,
    /// of a group
    pub(super) inputs: usize,
    /// of a group
    pub(super) outputs: usize,
    /// whether the input is [inputs, groups]
    pub(super) is_input_transposed: bool,
    pub(super) output_shape: TVec<usize>,
    /// [groups, inputs, outputs]
    pub(super) weights: Arc<Tensor>,
}

impl GroupedLinear {
    #[inline(always)]
    fn run<S: pulp::Simd>(&self, input: &[f32], weights: &[f32], output: &mut [f32]) {
        // The strides of the input between groups and between the numbers of a group.
        let (group_stride, stride) = if self.is_input_transposed {
            (1, self.groups)
        } else {
            (self.inputs, 1)
        };
        let groups = weights.chunks_exact(self.inputs * self.outputs);
        let groups = groups.zip(output.chunks_exact_mut(self.outputs));
        for (group, (weights, output)) in groups.enumerate() {
            let input = &input[group * group_stride..];
            let (blocks, rest) = output.as_chunks_mut::<LANES>();
            let done = blocks.len() * LANES;
            for (block, output) in blocks.iter_mut().enumerate() {
                // Two sums, because each product waits for the sum before it.
                let (mut even, mut odd) = ([0.0f32; LANES], [0.0f32; LANES]);
                for at in 0..self.inputs / 2 {
                    let first = &weights[2 * at * self.outputs + block * LANES..];
                    let second = first[self.outputs..].first_chunk::<LANES>();
                    let first = first.first_chunk::<LANES>();
                    let (Some(first), Some(second)) = (first, second) else {
                        break; // not reached: a block is inside the row
                    };
                    let (x, y) = (input[2 * at * stride], input[(2 * at + 1) * stride]);
                    for lane in 0..LANES {
                        even[lane] = add_product::<S>(even[lane], x, first[lane]);
                        odd[lane] = add_product::<S>(odd[lane], y, second[lane]);
                    }
                }
                for lane in 0..LANES {
                    output[lane] = even[lane] + odd[lane];
                }
                if self.inputs % 2 == 1 {
                    let last = self.inputs - 1;
                    let row = &weights[last * self.outputs + block * LANES..];
                    add_scaled::<S>(input[last * stride], row, output);
                }
            }
            for (at, row) in weights.chunks_exact(self.outputs).enumerate() {
                add_scaled::<S>(input[at * stride], &row[done..], rest);
            }
        }
    }
}

impl pulp::WithSimd for WeightedKernel<'_, GroupedLinear> {
    type Output = TractResult<()>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> TractResult<()> {
        self.op.run::<S>(self.input, self.weights, self.output);
        Ok(())
    }
}

impl_op_for_kernel!(GroupedLinear);

impl Kernel for GroupedLinear {
    fn name(&self) -> &'static str {
        "GroupedLinear"
    }

    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        run_weighted(self, &self.output_shape, &inputs[0], &self.weights)
    }

    fn output_facts(&self, _: &[&TypedFact]) -> TVec<TypedFact> {
        tvec![f32::fact(&self.output_shape)]
    }
}
