//! Gated recurrent units along an axis of one hop.

use crate::engine::gru_cell::advance;
use crate::engine::linear::{
    Additions, Layer, LayerVisitor, LinearRows, PackedLinear, scratch_len,
};

#[derive(Debug)]
pub(super) struct Gru {
    steps: usize,
    rows: usize,
    inputs: usize,
    hidden: usize,
    directions: Vec<Direction>,
}

#[derive(Debug)]
struct Direction {
    is_reversed: bool,
    /// [inputs] to [update, reset, candidate], with the biases that are outside the reset
    from_input: PackedLinear,
    /// [hidden] to [update, reset, candidate]
    from_state: PackedLinear,
}

impl Gru {
    /// `w`: [directions, 3, hidden, inputs], `r`: [directions, 3, hidden, hidden], `bias`: [directions,
    /// 2, 3, hidden]. No size is 0. `None` for weights that are not finite.
    pub(super) fn new(
        [steps, rows, inputs, hidden]: [usize; 4],
        is_reversed: &[bool],
        [w, r, bias]: [&[f32]; 3],
    ) -> Option<Self> {
        let outputs = 3 * hidden;
        if !bias.iter().all(|b| b.is_finite()) {
            return None;
        }
        let layer = |weights: &[f32], inputs: usize| {
            let transposed = (0..inputs).flat_map(|input| {
                let column = (0..outputs).map(move |output| output * inputs + input);
                column.map(|at| weights[at])
            });
            let transposed: Vec<f32> = transposed.collect();
            PackedLinear::new(&transposed, [inputs, outputs])
        };
        let mut directions = Vec::with_capacity(is_reversed.len());
        for (at, is_reversed) in is_reversed.iter().enumerate() {
            let from_input = layer(&w[at * outputs * inputs..][..outputs * inputs], inputs)?;
            let from_state = layer(&r[at * outputs * hidden..][..outputs * hidden], hidden)?;
            let (input_bias, state_bias) =
                bias[2 * at * outputs..][..2 * outputs].split_at(outputs);
            directions.push(Direction {
                is_reversed: *is_reversed,
                from_input: from_input.with_bias(input_bias),
                from_state: from_state.with_bias(state_bias),
            });
        }
        Some(Self {
            steps,
            rows,
            inputs,
            hidden,
            directions,
        })
    }

    /// Numbers of f32 and of i32 scratch that [`Self::run`] needs.
    pub(super) fn scratch(&self) -> [usize; 2] {
        let gates = (self.steps + 1) * self.rows * 3 * self.hidden;
        let integers = scratch_len(self.inputs, self.steps * self.rows);
        let integers = integers.max(scratch_len(self.hidden, self.rows));
        [gates + self.rows * self.hidden, integers]
    }

    /// `x`: [steps, rows, inputs]. `initial`: [directions, rows, hidden], or zeros. `y`: [steps,
    /// directions, rows, hidden].
    pub(super) fn run(
        &self,
        x: &[f32],
        initial: Option<&[f32]>,
        y: &mut [f32],
        (floats, integers): (&mut [f32], &mut [i32]),
    ) {
        let state_len = self.rows * self.hidden;
        let (new, rest) = floats.split_at_mut(self.steps * 3 * state_len);
        let (old, rest) = rest.split_at_mut(3 * state_len);
        let state = &mut rest[..state_len];
        for (at, direction) in self.directions.iter().enumerate() {
            match initial {
                Some(initial) => state.copy_from_slice(&initial[at * state_len..][..state_len]),
                None => state.fill(0.0),
            }
            direction.from_input.visit(
                Additions::default(),
                LinearRows {
                    input: x,
                    output: &mut *new,
                    scratch: &mut *integers,
                },
            );
            direction.from_state.visit(
                Additions::default(),
                Steps {
                    gru: self,
                    direction: at,
                    new: &*new,
                    old: &mut *old,
                    state: &mut *state,
                    y: &mut *y,
                    scratch: &mut *integers,
                },
            );
        }
    }
}

struct Steps<'a> {
    gru: &'a Gru,
    direction: usize,
    /// [steps, rows, 3, hidden] from the inputs
    new: &'a [f32],
    /// [rows, 3, hidden] from the state
    old: &'a mut [f32],
    /// [rows, hidden]
    state: &'a mut [f32],
    y: &'a mut [f32],
    scratch: &'a mut [i32],
}

impl LayerVisitor for Steps<'_> {
    #[inline(always)]
    fn visit<S: pulp::Simd>(self, simd: S, layer: &impl Layer<S>) {
        let Self {
            gru,
            direction,
            new,
            old,
            state,
            y,
            scratch,
        } = self;
        let directions = gru.directions.len();
        let state_len = state.len();
        for step in 0..gru.steps {
            let step = if gru.directions[direction].is_reversed {
                gru.steps - 1 - step
            } else {
                step
            };
            layer.run(simd, state, old, scratch);
            let new = &new[step * 3 * state_len..][..3 * state_len];
            let rows = state.chunks_exact_mut(gru.hidden);
            let gates = old.chunks_exact(3 * gru.hidden);
            let gates = gates.zip(new.chunks_exact(3 * gru.hidden));
            for (state, (old, new)) in rows.zip(gates) {
                advance::<S>(old, new, state);
            }
            y[(step * directions + direction) * state_len..][..state_len].copy_from_slice(state);
        }
    }
}
