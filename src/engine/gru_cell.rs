//! A step of a gated recurrent unit (ONNX `GRU` with `linear_before_reset`):
//!
//! ```text
//! update    = sigmoid(x Wz + h Rz + bz)
//! reset     = sigmoid(x Wr + h Rr + br)
//! candidate = tanh(x Wn + bn + reset * (h Rn + bh))
//! next h    = candidate + update * (h - candidate)
//! ```

use crate::fast_math::{add_product, exp_neg};

/// One row of one step. `new` [3, hidden]: the sums from the input, `old` [3, hidden]: those from the state, in
/// the order update, reset, candidate, with the biases of both. `state` [hidden] becomes the next state.
#[inline(always)]
pub(super) fn advance<S: pulp::Simd>(old: &[f32], new: &[f32], state: &mut [f32]) {
    let hidden = state.len();
    let (old_update, old_rest) = old.split_at(hidden);
    let (old_reset, old_candidate) = old_rest.split_at(hidden);
    let (new_update, new_rest) = new.split_at(hidden);
    let (new_reset, new_candidate) = new_rest.split_at(hidden);
    let old_candidate = &old_candidate[..hidden];
    let new_candidate = &new_candidate[..hidden];
    for at in 0..hidden {
        let new = [new_update[at], new_reset[at], new_candidate[at]];
        let old = [old_update[at], old_reset[at], old_candidate[at]];
        state[at] = next_state::<S>(new, old, state[at]);
    }
}

/// One number of the next state, from the sums of its gates in the order of [`advance`].
#[inline(always)]
pub(super) fn next_state<S: pulp::Simd>(new: [f32; 3], old: [f32; 3], state: f32) -> f32 {
    let update = 1.0 / (1.0 + exp_neg::<S>(new[0] + old[0], 1.0));
    let reset = 1.0 / (1.0 + exp_neg::<S>(new[1] + old[1], 1.0));
    let decay = exp_neg::<S>(add_product::<S>(new[2], reset, old[2]), 2.0);
    let candidate = (1.0 - decay) / (1.0 + decay);
    add_product::<S>(candidate, update, state - candidate)
}
