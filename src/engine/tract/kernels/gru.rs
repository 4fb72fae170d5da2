//! GRUs. Small ones run within a hop, over its bands (GTCRN): a step is a few dozen products, for which the
//! set-up of tract's matrix products takes longer than the products. Of large ones, which advance one step a
//! hop (DeepFilterNet 3), the layers are [`super::linear::Linear`], and the step after them is a [`GruCell`].

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::gru_cell::GruEpilogue;
use tract_onnx::tract_core::ops::gru_seq::GruSeq;

use super::kernel::{Kernel, impl_op_for_kernel};
use super::shape::shape_of;
use crate::engine::gru_cell::{advance, next_state};

/// Numbers of a block, which compilers keep in registers.
const BLOCK: usize = 8;
/// Maximum width of the state, blocks.
const MAX_BLOCKS: usize = 8;

type Block = [f32; BLOCK];
/// Update gate, reset gate and candidate.
type Gates = [[Block; MAX_BLOCKS]; 3];

/// A gated recurrent unit from [1, steps, inputs] and a state [1, 1, hidden] to [1, steps, hidden]
/// and the next state. The reset gate is applied after the product (ONNX `GRU` with
/// `linear_before_reset`).
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct SmallGru {
    hidden: usize,
    inputs: usize,
    steps: usize,
    /// whether the last step comes first
    is_reversed: bool,
    /// whether the first output is used; otherwise it is empty
    emit_y: bool,
    /// [inputs + 1, 3, padded hidden], the bias last
    w_ih: Arc<Tensor>,
    /// [hidden + 1, 3, padded hidden], the bias last
    w_hh: Arc<Tensor>,
}

/// The kernel for `op`, if its weights are constant and it is small.
pub(super) fn small_gru(
    model: &TypedModel,
    node: &TypedNode,
    op: &GruSeq,
) -> TractResult<Option<SmallGru>> {
    let hidden = op.hidden;
    if op.projected || !op.reset_every_turn || hidden > BLOCK * MAX_BLOCKS {
        return Ok(None);
    }
    let x = model.outlet_fact(node.inputs[0])?.shape.as_concrete();
    let Some(&[1, steps, inputs]) = x else {
        return Ok(None);
    };
    let constant = |at: usize| -> TractResult<Option<Vec<f32>>> {
        let Some(konst) = &model.outlet_fact(node.inputs[at])?.konst else {
            return Ok(None);
        };
        let view = konst.try_as_plain_ram()?;
        Ok(Some(view.as_slice::<f32>()?.to_vec()))
    };
    let (Some(w), Some(r)) = (constant(1)?, constant(2)?) else {
        return Ok(None);
    };
    let bias = if op.has_bias { constant(3)? } else { None };
    let bias = match (bias, op.has_bias) {
        (Some(bias), _) => bias,
        (None, false) => vec![0.0; 6 * hidden],
        (None, true) => return Ok(None),
    };
    let sizes = [w.len(), r.len(), bias.len()];
    if sizes != [3 * hidden * inputs, 3 * hidden * hidden, 6 * hidden] {
        return Ok(None);
    }
    let (bias_ih, bias_hh) = bias.split_at(3 * hidden);
    Ok(Some(SmallGru {
        hidden,
        inputs,
        steps,
        is_reversed: op.chunk < 0,
        emit_y: op.emit_y,
        w_ih: pack(&w, bias_ih, hidden)?,
        w_hh: pack(&r, bias_hh, hidden)?,
    }))
}

/// Weights [3 * hidden, inputs] and biases [3 * hidden] as [inputs + 1, 3, padded hidden], the biases
/// last.
fn pack(weights: &[f32], bias: &[f32], hidden: usize) -> TractResult<Arc<Tensor>> {
    let inputs = weights.len() / (3 * hidden);
    let padded = hidden.div_ceil(BLOCK) * BLOCK;
    let mut packed = vec![0.0; (inputs + 1) * 3 * padded];
    for (input, row) in packed.chunks_exact_mut(3 * padded).enumerate() {
        for (gate, row) in row.chunks_exact_mut(padded).enumerate() {
            for (unit, weight) in row[..hidden].iter_mut().enumerate() {
                let at = gate * hidden + unit;
                *weight = if input < inputs {
                    weights[at * inputs + input]
                } else {
                    bias[at]
                };
            }
        }
    }
    Ok(Tensor::from_shape(&[inputs + 1, 3, padded], &packed)?.into_arc_tensor())
}

struct Sequence<'a> {
    op: &'a SmallGru,
    input: &'a [f32],
    w_ih: &'a [f32],
    w_hh: &'a [f32],
    state: &'a mut [f32],
    output: &'a mut [f32],
}

impl pulp::WithSimd for Sequence<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        match self.op.hidden.div_ceil(BLOCK) {
            1 => self.run::<S, 1>(),
            2 => self.run::<S, 2>(),
            3 => self.run::<S, 3>(),
            4 => self.run::<S, 4>(),
            _ => self.run::<S, MAX_BLOCKS>(),
        }
    }
}

impl Sequence<'_> {
    /// `N`: at least the blocks of the state.
    #[inline(always)]
    fn run<S: pulp::Simd, const N: usize>(self) {
        let hidden = self.op.hidden;
        let blocks = hidden.div_ceil(BLOCK);
        let mut state = [[0.0f32; BLOCK]; MAX_BLOCKS];
        for (unit, number) in self.state.iter().enumerate() {
            state[unit / BLOCK][unit % BLOCK] = *number;
        }
        for step in 0..self.op.steps {
            let at = if self.op.is_reversed {
                self.op.steps - 1 - step
            } else {
                step
            };
            let input = &self.input[at * self.op.inputs..][..self.op.inputs];
            let new = gate_sums::<N>(input.iter().copied(), self.w_ih, blocks);
            let hidden_state = state.iter().flatten().take(hidden).copied();
            let old = gate_sums::<N>(hidden_state, self.w_hh, blocks);
            for block in 0..N.min(blocks) {
                for unit in 0..BLOCK {
                    let new = [
                        new[0][block][unit],
                        new[1][block][unit],
                        new[2][block][unit],
                    ];
                    let old = [
                        old[0][block][unit],
                        old[1][block][unit],
                        old[2][block][unit],
                    ];
                    let state = &mut state[block][unit];
                    *state = next_state::<S>(new, old, *state);
                }
            }
            if self.op.emit_y {
                let output = &mut self.output[at * hidden..][..hidden];
                for (to, number) in output.iter_mut().zip(state.iter().flatten()) {
                    *to = *number;
                }
            }
        }
        for (to, number) in self.state.iter_mut().zip(state.iter().flatten()) {
            *to = *number;
        }
    }
}

/// The sums of the gates: the products of `numbers` with rows of weights, and the biases.
#[inline(always)]
fn gate_sums<const N: usize>(
    numbers: impl Iterator<Item = f32>,
    rows: &[f32],
    blocks: usize,
) -> Gates {
    let mut gates = [[[0.0f32; BLOCK]; MAX_BLOCKS]; 3];
    let numbers = numbers.chain(std::iter::once(1.0));
    for (number, row) in numbers.zip(rows.chunks_exact(3 * blocks * BLOCK)) {
        for (gate, row) in gates.iter_mut().zip(row.chunks_exact(blocks * BLOCK)) {
            for (sums, row) in gate[..N].iter_mut().zip(row.chunks_exact(BLOCK)) {
                for (sum, weight) in sums.iter_mut().zip(row) {
                    *sum += number * weight;
                }
            }
        }
    }
    gates
}

impl_op_for_kernel!(SmallGru);

impl Kernel for SmallGru {
    fn name(&self) -> &'static str {
        "SmallGru"
    }

    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let steps = if self.emit_y { self.steps } else { 0 };
        let mut output = Tensor::zero::<f32>(&[1, steps, self.hidden])?;
        let mut state = inputs[1].clone().into_tensor();
        {
            let input = inputs[0].try_as_plain_ram()?;
            let (w_ih, w_hh) = (self.w_ih.try_as_plain_ram()?, self.w_hh.try_as_plain_ram()?);
            pulp::Arch::new().dispatch(Sequence {
                op: self,
                input: input.as_slice()?,
                w_ih: w_ih.as_slice()?,
                w_hh: w_hh.as_slice()?,
                state: state.try_as_plain_ram_mut()?.as_slice_mut()?,
                output: output.try_as_plain_ram_mut()?.as_slice_mut()?,
            });
        }
        state.set_shape(&[1, 1, self.hidden])?;
        Ok(tvec![output.into_tvalue(), state.into_tvalue()])
    }

    fn output_facts(&self, _: &[&TypedFact]) -> TVec<TypedFact> {
        let steps = if self.emit_y { self.steps } else { 0 };
        tvec![
            f32::fact([1, steps, self.hidden]),
            f32::fact([1, 1, self.hidden])
        ]
    }
}

/// A step from the sums of the gates [rows, 3, hidden], those from the input and those from the state, and the
/// state [rows, hidden] to the next state.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct GruCell {
    hidden: usize,
    state_shape: TVec<usize>,
}

/// The kernel for `op`, if its operands have these sizes.
pub(super) fn gru_cell(
    model: &TypedModel,
    node: &TypedNode,
    op: &GruEpilogue,
) -> TractResult<Option<GruCell>> {
    let shape = |at: usize| shape_of(model, node.inputs[at]);
    let (Some(new), Some(old), Some(state_shape)) = (shape(0)?, shape(1)?, shape(2)?) else {
        return Ok(None);
    };
    let gates = 3 * state_shape.iter().product::<usize>();
    let len = |shape: &[usize]| shape.iter().product::<usize>();
    let is_fit = state_shape.last() == Some(&op.hidden)
        && [len(&new), len(&old)] == [gates; 2]
        && op.hidden > 0;
    Ok(is_fit.then_some(GruCell {
        hidden: op.hidden,
        state_shape,
    }))
}

struct Cells<'a> {
    hidden: usize,
    new: &'a [f32],
    old: &'a [f32],
    state: &'a mut [f32],
}

impl pulp::WithSimd for Cells<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let gates = 3 * self.hidden;
        let sums = self
            .new
            .chunks_exact(gates)
            .zip(self.old.chunks_exact(gates));
        for (state, (new, old)) in self.state.chunks_exact_mut(self.hidden).zip(sums) {
            advance::<S>(old, new, state);
        }
    }
}

impl_op_for_kernel!(GruCell);

impl Kernel for GruCell {
    fn name(&self) -> &'static str {
        "GruCell"
    }

    fn run(&self, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        // In place if the tensor has no other owner.
        let mut state = inputs.remove(2).into_tensor();
        {
            let (new, old) = (inputs[0].try_as_plain_ram()?, inputs[1].try_as_plain_ram()?);
            pulp::Arch::new().dispatch(Cells {
                hidden: self.hidden,
                new: new.as_slice()?,
                old: old.as_slice()?,
                state: state.try_as_plain_ram_mut()?.as_slice_mut()?,
            });
        }
        Ok(tvec![state.into_tvalue()])
    }

    fn output_facts(&self, _: &[&TypedFact]) -> TVec<TypedFact> {
        tvec![f32::fact(&self.state_shape)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    #[test]
    fn gru_cells_equal_those_of_tract() {
        for (rows, hidden) in [(1, 256), (1, 7), (3, 16)] {
            let mut seed = 5;
            let mut model = TypedModel::default();
            let gates = [rows, 3 * hidden];
            let new = model.add_source("new", f32::fact(gates)).unwrap();
            let old = noise(&mut seed, &gates);
            let old = model.add_const("old", old).unwrap();
            let state = noise(&mut seed, &[rows, hidden]);
            let state = model.add_const("state", state).unwrap();
            let op = GruEpilogue { hidden };
            let next = model.wire_node("cell", op, &[new, old, state]).unwrap();
            model.select_output_outlets(&next).unwrap();
            let mut input = noise(&mut seed, &gates);
            // Saturated gates too.
            for (at, x) in (input.try_as_plain_ram_mut().unwrap())
                .as_slice_mut::<f32>()
                .unwrap()
                .iter_mut()
                .enumerate()
            {
                *x *= [1.0, 20.0, 200.0][at % 3];
            }
            let (error, ops) = difference(model, input);
            assert!(error < 1e-5, "{rows}, {hidden}: {error}");
            assert_eq!(ops, ["GruCell"], "{rows}, {hidden}");
        }
    }

    fn run(hidden: usize, chunk: isize) -> (f32, Vec<String>) {
        let (steps, inputs) = (5, 7);
        let mut seed = 4;
        let mut model = TypedModel::default();
        let x = model
            .add_source("x", f32::fact([1, steps, inputs]))
            .unwrap();
        let mut constant =
            |name: &str, shape: &[usize]| model.add_const(name, noise(&mut seed, shape)).unwrap();
        let w = constant("w", &[3 * hidden, inputs]);
        let r = constant("r", &[3 * hidden, hidden]);
        let bias = constant("bias", &[6 * hidden]);
        let state = constant("state", &[1, 1, hidden]);
        let op = GruSeq {
            hidden,
            has_bias: true,
            chunk,
            emit_y: true,
            reset_every_turn: true,
            projected: false,
            packed_r: None,
        };
        let outputs = model.wire_node("gru", op, &[x, w, r, bias, state]).unwrap();
        model.select_output_outlets(&outputs[..1]).unwrap();
        difference(model, noise(&mut seed, &[1, steps, inputs]))
    }

    #[test]
    fn small_grus_equal_those_of_tract() {
        for hidden in [5, 16, 33, 64] {
            for chunk in [1, -1] {
                let (error, ops) = run(hidden, chunk);
                assert!(error < 1e-5, "{hidden}, {chunk}: {error}");
                assert_eq!(ops, ["SmallGru"], "{hidden}, {chunk}");
            }
        }
    }
}
