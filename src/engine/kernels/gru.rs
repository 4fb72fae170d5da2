//! Small recurrences within a hop, over its bands: a step is a few dozen products, which the
//! engine's kernels take longer to set up than to do.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::gru_seq::GruSeq;

/// Numbers of a block that compilers turn into registers.
const BLOCK: usize = 8;
/// Widest state, in blocks.
const MAX_BLOCKS: usize = 8;

type Block = [f32; BLOCK];
/// Update gate, reset gate and candidate.
type Gates = [[Block; MAX_BLOCKS]; 3];

/// A gated recurrent unit over [1, steps, in] with its reset gate after the product
/// (ONNX `GRU` with `linear_before_reset`), from the state that it is given each time.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct SmallGru {
    hidden: usize,
    inputs: usize,
    steps: usize,
    backwards: bool,
    emit_y: bool,
    /// [in, 3, blocks of hidden], then one row of bias
    into: Arc<Tensor>,
    /// [hidden, 3, blocks of hidden], then one row of bias
    back: Arc<Tensor>,
}

/// The same as `op`, if its weights are known and it is small.
pub(super) fn small(
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
    let (bias_into, bias_back) = bias.split_at(3 * hidden);
    Ok(Some(SmallGru {
        hidden,
        inputs,
        steps,
        backwards: op.chunk < 0,
        emit_y: op.emit_y,
        into: rows(&w, bias_into, hidden)?,
        back: rows(&r, bias_back, hidden)?,
    }))
}

/// [3 x hidden, in] weights and [3 x hidden] bias to rows of padded gates, one for each input.
fn rows(weights: &[f32], bias: &[f32], hidden: usize) -> TractResult<Arc<Tensor>> {
    let inputs = weights.len() / (3 * hidden);
    let padded = hidden.div_ceil(BLOCK) * BLOCK;
    let mut rows = vec![0.0; (inputs + 1) * 3 * padded];
    for (input, row) in rows.chunks_exact_mut(3 * padded).enumerate() {
        for (gate, row) in row.chunks_exact_mut(padded).enumerate() {
            for (unit, number) in row[..hidden].iter_mut().enumerate() {
                let at = gate * hidden + unit;
                *number = if input < inputs {
                    weights[at * inputs + input]
                } else {
                    bias[at]
                };
            }
        }
    }
    Ok(Tensor::from_shape(&[inputs + 1, 3, padded], &rows)?.into_arc_tensor())
}

struct Run<'a> {
    op: &'a SmallGru,
    input: &'a [f32],
    into: &'a [f32],
    back: &'a [f32],
    state: &'a mut [f32],
    output: &'a mut [f32],
}

impl pulp::WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        match self.op.hidden.div_ceil(BLOCK) {
            1 => self.steps::<1>(),
            2 => self.steps::<2>(),
            3 => self.steps::<3>(),
            4 => self.steps::<4>(),
            _ => self.steps::<MAX_BLOCKS>(),
        }
    }
}

impl Run<'_> {
    /// `N`: blocks of the state, or more.
    #[inline(always)]
    fn steps<const N: usize>(self) {
        let hidden = self.op.hidden;
        let blocks = hidden.div_ceil(BLOCK);
        let mut state = [[0.0f32; BLOCK]; MAX_BLOCKS];
        for (unit, number) in self.state.iter().enumerate() {
            state[unit / BLOCK][unit % BLOCK] = *number;
        }
        for step in 0..self.op.steps {
            let at = if self.op.backwards {
                self.op.steps - 1 - step
            } else {
                step
            };
            let heard = &self.input[at * self.op.inputs..][..self.op.inputs];
            let new = weighed::<N>(heard.iter().copied(), self.into, blocks);
            let known = state.iter().flatten().take(hidden).copied();
            let old = weighed::<N>(known, self.back, blocks);
            for block in 0..N.min(blocks) {
                for unit in 0..BLOCK {
                    let of = |gates: &Gates, gate: usize| gates[gate][block][unit];
                    let update = sigmoid(of(&new, 0) + of(&old, 0));
                    let reset = sigmoid(of(&new, 1) + of(&old, 1));
                    // tanh x = 2 sigmoid(2 x) - 1
                    let sum = of(&new, 2) + reset * of(&old, 2);
                    let candidate = 2.0 * sigmoid(2.0 * sum) - 1.0;
                    let kept = &mut state[block][unit];
                    *kept = candidate + update * (*kept - candidate);
                }
            }
            if self.op.emit_y {
                let said = &mut self.output[at * hidden..][..hidden];
                for (said, number) in said.iter_mut().zip(state.iter().flatten()) {
                    *said = *number;
                }
            }
        }
        for (to, number) in self.state.iter_mut().zip(state.iter().flatten()) {
            *to = *number;
        }
    }
}

/// Sum of rows by the numbers heard, and of the row of bias after them.
#[inline(always)]
fn weighed<const N: usize>(
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

/// 1 / (1 + e^-x), to a few units in the last place.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// e^x: a power of two, and a polynomial for what is left (Cephes `expf`), without a branch, so
/// that a block of them runs at once.
#[inline(always)]
#[allow(clippy::excessive_precision)] // as published
fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    // Adding and taking away 1.5 x 2^23 rounds to the nearest whole number.
    const ROUNDER: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    let rest = x - whole * 0.693_359_375 + whole * 2.121_944_4e-4;
    let mut sum = 1.987_569_15e-4;
    for factor in [
        1.398_199_95e-3,
        8.333_451_9e-3,
        4.166_579_6e-2,
        1.666_666_55e-1,
        5.000_000_1e-1,
    ] {
        sum = sum * rest + factor;
    }
    let fraction = sum * rest * rest + rest + 1.0;
    let power = shifted.to_bits().wrapping_sub(ROUNDER.to_bits());
    fraction * f32::from_bits(power.wrapping_add(127) << 23)
}

impl Op for SmallGru {
    fn name(&self) -> StaticName {
        "SmallGru".into()
    }

    op_as_typed_op!();
}

impl EvalOp for SmallGru {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let steps = if self.emit_y { self.steps } else { 0 };
        let mut output = Tensor::zero::<f32>(&[1, steps, self.hidden])?;
        let mut state = inputs[1].clone().into_tensor();
        {
            let input = inputs[0].try_as_plain_ram()?;
            let (into, back) = (self.into.try_as_plain_ram()?, self.back.try_as_plain_ram()?);
            pulp::Arch::new().dispatch(Run {
                op: self,
                input: input.as_slice()?,
                into: into.as_slice()?,
                back: back.as_slice()?,
                state: state.try_as_plain_ram_mut()?.as_slice_mut()?,
                output: output.try_as_plain_ram_mut()?.as_slice_mut()?,
            });
        }
        state.set_shape(&[1, 1, self.hidden])?;
        Ok(tvec![output.into_tvalue(), state.into_tvalue()])
    }
}

impl TypedOp for SmallGru {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let steps = if self.emit_y { self.steps } else { 0 };
        Ok(tvec![
            f32::fact([1, steps, self.hidden]),
            f32::fact([1, 1, self.hidden])
        ])
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right() {
        for step in -880..=880 {
            let x = step as f32 * 0.1;
            if x < -87.0 {
                continue;
            }
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(error < 3e-7, "{x}: {error}");
        }
        assert!(exp(1e9).is_finite() && exp(-1e9) > 0.0);
        assert_eq!((sigmoid(1e30), sigmoid(0.0)), (1.0, 0.5));
    }
}
