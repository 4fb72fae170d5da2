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
        let update = 1.0 / (1.0 + exp_neg::<S>(new_update[at] + old_update[at], 1.0));
        let reset = 1.0 / (1.0 + exp_neg::<S>(new_reset[at] + old_reset[at], 1.0));
        let sum = add_product::<S>(new_candidate[at], reset, old_candidate[at]);
        let decay = exp_neg::<S>(sum, 2.0);
        let candidate = (1.0 - decay) / (1.0 + decay);
        state[at] = add_product::<S>(candidate, update, state[at] - candidate);
    }
}
