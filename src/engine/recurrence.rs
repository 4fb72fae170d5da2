//! The recurrence of the embedded models: a minimal GRU (minGRU, Feng et al. 2024, "Were RNNs All We
//! Needed?") with the output gate and the skip connection of the Simple Recurrent Unit (Lei et al. 2018).
//!
//! ```text
//! next   = state + sigmoid(update) * (candidate - state)
//! output = input + sigmoid(output_gate) * tanh(next)
//! ```

use super::linear::{Layer, LayerVisitor, scratch_len};
use crate::fast_math::{add_product, exp_neg};

/// Rows whose gates are computed at a time.
const TILE: usize = 12;

/// Numbers of gates and of scratch that [`LayerRows`] needs for `rows` rows.
pub(super) fn layer_scratch(width: usize, rows: usize) -> [usize; 2] {
    let tile = rows.min(TILE);
    [tile * 3 * width, scratch_len(width, tile)]
}

/// The recurrence for given gates [rows, 3, width], which are update, candidate and output gate. `state`
/// [rows, width] becomes the next state. `output` [rows, width] is the input and becomes the output.
#[cfg(feature = "onnx")]
pub(super) fn run_gates(width: usize, gates: &[f32], state: &mut [f32], output: &mut [f32]) {
    pulp::Arch::new().dispatch(GateRows {
        width,
        gates,
        state,
        output,
    });
}

/// Rows of the recurrence.
#[cfg(feature = "onnx")]
struct GateRows<'a> {
    width: usize,
    /// [rows, 3, width]
    gates: &'a [f32],
    /// [rows, width]
    state: &'a mut [f32],
    /// [rows, width] the input, which becomes the output
    output: &'a mut [f32],
}

#[cfg(feature = "onnx")]
impl pulp::WithSimd for GateRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let rows = self.state.chunks_exact_mut(self.width);
        let rows = rows.zip(self.output.chunks_exact_mut(self.width));
        for ((state, output), gates) in rows.zip(self.gates.chunks_exact(3 * self.width)) {
            run_row::<S>(gates, state, output);
        }
    }
}

/// Elements that the loop of [`run_row`] computes at a time: a constant number becomes vectors without a
/// remainder, and the widths of the embedded models are multiples of it.
const BLOCK: usize = 16;

/// One row: gates [3, width], state and output [width].
#[inline(always)]
fn run_row<S: pulp::Simd>(gates: &[f32], state: &mut [f32], output: &mut [f32]) {
    let width = state.len();
    let (update, gates) = gates.split_at(width);
    let (candidate, output_gate) = gates.split_at(width);
    let (updates, update) = update.as_chunks::<BLOCK>();
    let (candidates, candidate) = candidate.as_chunks::<BLOCK>();
    let (output_gates, output_gate) = output_gate.as_chunks::<BLOCK>();
    let (states, state) = state.as_chunks_mut::<BLOCK>();
    let (outputs, output) = output.as_chunks_mut::<BLOCK>();
    let gates = updates.iter().zip(candidates).zip(output_gates);
    for (((update, candidate), output_gate), (state, output)) in
        gates.zip(states.iter_mut().zip(outputs))
    {
        // Copies: then no check whether the slices overlap is needed.
        let (mut next, mut sum) = (*state, *output);
        for at in 0..BLOCK {
            let gates = [update[at], candidate[at], output_gate[at]];
            run_element::<S>(gates, &mut next[at], &mut sum[at]);
        }
        (*state, *output) = (next, sum);
    }
    let gates = update.iter().zip(candidate).zip(output_gate);
    for (((update, candidate), output_gate), (state, output)) in
        gates.zip(state.iter_mut().zip(output))
    {
        run_element::<S>([*update, *candidate, *output_gate], state, output);
    }
}

#[inline(always)]
fn run_element<S: pulp::Simd>(
    [update, candidate, output_gate]: [f32; 3],
    state: &mut f32,
    output: &mut f32,
) {
    let update = 1.0 / (1.0 + exp_neg::<S>(update, 1.0));
    let next = add_product::<S>(*state, update, candidate - *state);
    *state = next;
    // sigmoid(output_gate) * tanh(next) with one division:
    // tanh(x) = (1 - e^-2x) / (1 + e^-2x).
    let decay = exp_neg::<S>(next, 2.0);
    let output_gate = exp_neg::<S>(output_gate, 1.0);
    *output += (1.0 - decay) / ((1.0 + decay) * (1.0 + output_gate));
}

/// The recurrence with the layer that computes its gates from the input. The gates of a tile of rows are
/// used while they are in the cache; there is no tensor of all gates. Run it with
/// [`PackedLinear::visit`](super::linear::PackedLinear::visit) of that layer.
pub(super) struct LayerRows<'a, I> {
    pub(super) width: usize,
    /// [tile, 3, width] scratch
    pub(super) gates: &'a mut [f32],
    /// scratch of the layer
    pub(super) scratch: &'a mut [i32],
    /// the state of each row [width]
    pub(super) states: I,
    /// [rows, width] the input, which becomes the output
    pub(super) output: &'a mut [f32],
}

impl<'a, I: Iterator<Item = &'a mut [f32]>> LayerVisitor for LayerRows<'_, I> {
    #[inline(always)]
    fn visit<S: pulp::Simd>(mut self, simd: S, layer: &impl Layer<S>) {
        let width = self.width;
        for output in self.output.chunks_mut(TILE * width) {
            let gates = &mut self.gates[..3 * output.len()];
            layer.run(simd, output, gates, self.scratch);
            let rows = output.chunks_exact_mut(width);
            let rows = rows.zip(gates.chunks_exact(3 * width));
            for ((output, gates), state) in rows.zip(&mut self.states) {
                run_row::<S>(gates, state, output);
            }
        }
    }
}
