//! Convolutions of one column (GTCRN, DeepFilterNet 3): each column of the output is a product of the weights
//! with one column of the input. As general matrix products they would be packed first.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

use super::dispatch::{WeightedKernel, run_weighted};
use super::kernel::{Kernel, impl_op_for_kernel};

/// Output channels whose weights are packed together.
const CHANNELS: usize = 8;

/// [groups, inputs, columns] to [groups, outputs, columns], with a bias and a ReLU.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct Pointwise {
    groups: usize,
    /// of a group
    inputs: usize,
    /// of a group
    outputs: usize,
    columns: usize,
    output_shape: TVec<usize>,
    /// axis of the groups and outputs in `output_shape`
    axis: usize,
    /// [groups, outputs / CHANNELS, inputs + 1, CHANNELS], filled up with zeros; the bias first
    weights: Arc<Tensor>,
    has_bias: bool,
    relu: bool,
}

impl Pointwise {
    /// `weights`: [groups, inputs, outputs], `bias`: [groups, outputs], or nothing. Groups and outputs are axis
    /// `axis` of `output_shape`, and all axes after it are the columns.
    pub(super) fn new(
        weights: &[f32],
        bias: &[f32],
        [groups, inputs, outputs, columns]: [usize; 4],
        output_shape: TVec<usize>,
        axis: usize,
    ) -> TractResult<Self> {
        let blocks = outputs.div_ceil(CHANNELS);
        let mut packed = vec![0.0; groups * blocks * (inputs + 1) * CHANNELS];
        for (at, row) in weights.chunks_exact(outputs).enumerate() {
            let (group, input) = (at / inputs, at % inputs);
            for (block, weights) in row.chunks(CHANNELS).enumerate() {
                let at = ((group * blocks + block) * (inputs + 1) + input + 1) * CHANNELS;
                packed[at..][..weights.len()].copy_from_slice(weights);
            }
        }
        let shape = [groups * blocks, inputs + 1, CHANNELS];
        let without_bias = Self {
            groups,
            inputs,
            outputs,
            columns,
            output_shape,
            axis,
            weights: Tensor::from_shape(&shape, &packed)?.into_arc_tensor(),
            has_bias: false,
            relu: false,
        };
        if bias.is_empty() {
            return Ok(without_bias);
        }
        without_bias.add_bias(bias)
    }

    /// With `bias`, one number for each output. `None` if it has one or a ReLU already, or for another shape.
    fn with_bias(&self, bias: &Tensor) -> TractResult<Option<Self>> {
        let outputs = self.groups * self.outputs;
        let is_fit = bias.len() == outputs
            && bias.rank() == self.output_shape.len()
            && bias.shape()[self.axis] == outputs;
        if !is_fit || self.has_bias || self.relu {
            return Ok(None);
        }
        let plain = bias.try_as_plain_ram()?;
        self.add_bias(plain.as_slice()?).map(Some)
    }

    /// With `bias` [groups, outputs].
    fn add_bias(&self, bias: &[f32]) -> TractResult<Self> {
        let mut weights = self.weights.clone().into_tensor();
        {
            let mut weights = weights.try_as_plain_ram_mut()?;
            let blocks = weights.as_slice_mut::<f32>()?;
            let blocks = blocks.chunks_exact_mut((self.inputs + 1) * CHANNELS);
            let groups = bias.chunks_exact(self.outputs);
            for (block, bias) in blocks.zip(groups.flat_map(|group| group.chunks(CHANNELS))) {
                block[..bias.len()].copy_from_slice(bias);
            }
        }
        Ok(Self {
            weights: weights.into_arc_tensor(),
            has_bias: true,
            ..self.clone()
        })
    }

    #[inline(always)]
    fn run<S: pulp::Simd>(&self, simd: S, input: &[f32], weights: &[f32], output: &mut [f32]) {
        let blocks = self.outputs.div_ceil(CHANNELS);
        let inputs = input.chunks_exact(self.inputs * self.columns);
        let outputs = output.chunks_exact_mut(self.outputs * self.columns);
        let groups = weights.chunks_exact(blocks * (self.inputs + 1) * CHANNELS);
        for (weights, (input, output)) in groups.zip(inputs.zip(outputs)) {
            self.run_group(simd, input, weights, output);
        }
    }

    #[inline(always)]
    fn run_group<S: pulp::Simd>(
        &self,
        simd: S,
        input: &[f32],
        weights: &[f32],
        output: &mut [f32],
    ) {
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        let blocks = output.chunks_mut(CHANNELS * self.columns);
        for (weights, output) in weights
            .chunks_exact((self.inputs + 1) * CHANNELS)
            .zip(blocks)
        {
            let (weights, _) = weights.as_chunks::<CHANNELS>();
            let mut tile = Tile {
                columns: self.columns,
                at: 0,
                first: 0,
                relu: self.relu,
            };
            while tile.at < self.columns {
                let vectors = (self.columns - tile.at) / lanes;
                if vectors <= 1 {
                    tile.first = 0;
                    tile.run::<S, 1, CHANNELS>(simd, input, weights, output);
                } else {
                    for first in [0, CHANNELS / 2] {
                        if first * self.columns >= output.len() {
                            continue;
                        }
                        tile.first = first;
                        if vectors == 2 {
                            tile.run::<S, 2, { CHANNELS / 2 }>(simd, input, weights, output);
                        } else {
                            tile.run::<S, 3, { CHANNELS / 2 }>(simd, input, weights, output);
                        }
                    }
                }
                tile.at += vectors.clamp(1, 3) * lanes;
            }
        }
    }
}

/// Columns and outputs whose sums stay in registers.
#[derive(Clone, Copy)]
struct Tile {
    columns: usize,
    /// first column
    at: usize,
    /// first output
    first: usize,
    relu: bool,
}

impl Tile {
    /// `VECTORS` vectors of columns, of which a single one may end after the last column, of `OUTPUTS` outputs.
    /// `weights` [inputs + 1, CHANNELS], `output` [CHANNELS, columns], or less at the end.
    #[inline(always)]
    fn run<S: pulp::Simd, const VECTORS: usize, const OUTPUTS: usize>(
        self,
        simd: S,
        input: &[f32],
        weights: &[[f32; CHANNELS]],
        output: &mut [f32],
    ) {
        // No closures: they are not compiled for the wider instruction sets.
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        let zero = simd.splat_f32s(0.0);
        let mut sums = [[zero; VECTORS]; OUTPUTS];
        let Some((bias, weights)) = weights.split_first() else {
            return; // not reached: the bias is there
        };
        for out in 0..OUTPUTS {
            sums[out] = [simd.splat_f32s(bias[self.first + out]); VECTORS];
        }
        for (row, weights) in input.chunks_exact(self.columns).zip(weights) {
            let row = &row[self.at..];
            let mut numbers = [zero; VECTORS];
            for vector in 0..VECTORS {
                let from = &row[vector * lanes..];
                numbers[vector] = match S::as_simd_f32s(from).0 {
                    [full, ..] => *full,
                    [] => simd.partial_load_f32s(from),
                };
            }
            for out in 0..OUTPUTS {
                let weight = simd.splat_f32s(weights[self.first + out]);
                for vector in 0..VECTORS {
                    sums[out][vector] =
                        simd.mul_add_e_f32s(weight, numbers[vector], sums[out][vector]);
                }
            }
        }
        let rows = output.chunks_exact_mut(self.columns).skip(self.first);
        for (row, sums) in rows.zip(sums) {
            let row = &mut row[self.at..];
            for (vector, sum) in sums.into_iter().enumerate() {
                let sum = if self.relu {
                    simd.max_f32s(sum, zero)
                } else {
                    sum
                };
                let to = &mut row[vector * lanes..];
                match S::as_mut_simd_f32s(to).0 {
                    [full, ..] => *full = sum,
                    [] => simd.partial_store_f32s(to, sum),
                }
            }
        }
    }
}

/// If `node` adds a bias to a [`Pointwise`] or is its ReLU, and nothing else uses it: its input, and both as
/// one.
pub(super) fn fuse_epilogue(
    model: &TypedModel,
    node: &TypedNode,
) -> TractResult<Option<(OutletId, Pointwise)>> {
    let ([a, b], Some(op)) = (&node.inputs[..], node.op_as::<TypedBinOp>()) else {
        return Ok(None);
    };
    let shape = &model.outlet_fact(node.id.into())?.shape;
    for (sums, other) in [(a, b), (b, a)] {
        let before = model.node(sums.node);
        let is_sole = model.outlet_successors(*sums).len() == 1 && !model.outputs.contains(sums);
        let (Some(pointwise), true) = (before.op_as::<Pointwise>(), is_sole) else {
            continue;
        };
        let (fact, own) = (model.outlet_fact(*other)?, model.outlet_fact(*sums)?);
        let Some(constant) = &fact.konst else {
            continue;
        };
        if own.shape != *shape || constant.datum_type() != f32::datum_type() {
            continue;
        }
        let fused = match op.0.name() {
            "Add" => pointwise.with_bias(constant)?,
            "Max" if constant.as_uniform() == Some(tensor0(0f32)) => Some(Pointwise {
                relu: true,
                ..pointwise.clone()
            }),
            _ => None,
        };
        if let Some(fused) = fused {
            return Ok(Some((before.inputs[0], fused)));
        }
    }
    Ok(None)
}

impl pulp::WithSimd for WeightedKernel<'_, Pointwise> {
    type Output = TractResult<()>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> TractResult<()> {
        self.op.run(simd, self.input, self.weights, self.output);
        Ok(())
    }
}

impl_op_for_kernel!(Pointwise);

impl Kernel for Pointwise {
    fn name(&self) -> &'static str {
        "Pointwise"
    }

    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        run_weighted(self, &self.output_shape, &inputs[0], &self.weights)
    }

    fn output_facts(&self, _: &[&TypedFact]) -> TVec<TypedFact> {
        tvec![f32::fact(&self.output_shape)]
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::tract_core::ops::einsum::EinSum;
    use tract_onnx::tract_core::ops::math::{add, max};

    use super::super::tests::{difference, noise};
    use super::*;

    #[test]
    fn bias_and_relu_are_part_of_the_kernel() {
        for (bias, relu, expected) in [
            ([1, 10, 1, 1], true, &["Pointwise"][..]),
            ([1, 10, 1, 1], false, &["Pointwise"]),
            ([1, 1, 1, 10], false, &["Pointwise", "BinaryElementwise"]),
        ] {
            let mut seed = 11;
            let mut model = TypedModel::default();
            let shape = [1, 6, 1, 10];
            let x = model.add_source("x", f32::fact(shape)).unwrap();
            let weights = model.add_const("w", noise(&mut seed, &[10, 6])).unwrap();
            let bias = model.add_const("b", noise(&mut seed, &bias)).unwrap();
            let zero = model.add_const("zero", tensor4(&[[[[0f32]]]])).unwrap();
            let op = EinSum::new("bihw,oi->bohw".parse().unwrap(), f32::datum_type());
            let mut out = model.wire_node("product", op, &[x, weights]).unwrap()[0];
            out = model.wire_node("bias", add(), &[out, bias]).unwrap()[0];
            if relu {
                out = model.wire_node("relu", max(), &[out, zero]).unwrap()[0];
            }
            model.select_output_outlets(&[out]).unwrap();
            let (difference, names) = difference(model, noise(&mut seed, &shape));
            assert!(difference < 1e-5, "{bias:?}: {difference}");
            assert_eq!(names, expected);
        }
    }
}
