//! Resampling by a fraction of small numbers: each output has a filter of its own in a table.

use std::sync::Arc;

use super::table::Table;
use crate::simd::simd_dispatch;

/// Resamples one channel. An output lies `step / phases` inputs after the one before.
pub(super) struct Polyphase {
    table: Arc<Table>,
    step: usize,
    /// outputs from one filter to the next one in the table
    next_filter: usize,
    /// the inputs before those of the latest run, `history` numbers, and then those
    buffer: Vec<f32>,
    history: usize,
    /// inputs of the latest run
    filled: usize,
    /// Place of the latest output's first input, relative to the next input, in 1/phases inputs.
    position: i64,
}

impl Polyphase {
    /// `inputs_max`: the largest number of inputs of a run.
    pub(super) fn new(table: Arc<Table>, step: usize, inputs_max: usize) -> Self {
        // The earliest input of an output lies `taps` + 1 before the next input.
        let history = table.design().row_len() + 2;
        let phases = table.design().phases;
        let mut outputs = 0..phases;
        let next_filter = outputs.find(|outputs| outputs * step % phases == 1 % phases);
        let mut polyphase = Self {
            step,
            next_filter: next_filter.expect("step and phases share no divisor"),
            buffer: vec![0.0; history + inputs_max],
            history,
            filled: 0,
            position: 0,
            table,
        };
        polyphase.reset();
        polyphase
    }

    pub(super) fn reset(&mut self) {
        let design = self.table.design();
        self.buffer.fill(0.0);
        self.filled = 0;
        self.position = -((design.taps - 1) as i64 * design.phases as i64);
    }

    /// Inputs that the next `outputs` outputs need.
    pub(super) fn inputs_for(&self, outputs: usize) -> usize {
        let design = self.table.design();
        let last = self.position + (outputs * self.step) as i64;
        let end = last + (design.taps * design.phases) as i64;
        // Rounded up.
        -(-end).div_euclid(design.phases as i64).min(0) as usize
    }

    /// Outputs for which `inputs` more inputs suffice.
    pub(super) fn outputs_for(&self, inputs: usize) -> usize {
        let design = self.table.design();
        let last = inputs as i64 - design.taps as i64 - 1;
        let space = last * design.phases as i64 - self.position;
        space.div_euclid(self.step as i64).max(0) as usize
    }

    /// The numbers of inputs and outputs fit each other.
    ///
    /// # Real-time
    /// No allocation.
    pub(super) fn process(&mut self, input: &[f32], output: &mut [f32]) {
        let old = self.filled..self.filled + self.history;
        self.buffer.copy_within(old, 0);
        self.buffer[self.history..][..input.len()].copy_from_slice(input);
        self.filled = input.len();
        let phases = self.table.design().phases as i64;
        // That of the first output. In the buffer, the next input lies after the history.
        let first = self.position + self.step as i64 + self.history as i64 * phases;
        let steps = [self.step, self.next_filter];
        filter(&self.table, steps, first as usize, &self.buffer, output);
        self.position += (output.len() * self.step) as i64 - input.len() as i64 * phases;
    }
}

simd_dispatch! {
    /// `output[n]` for the filter at `position + n step`, in 1/phases inputs from the begin of `input`.
    fn filter<'a, S>(
        simd: S;
        table: &'a Table,
        steps: [usize; 2],
        position: usize,
        input: &'a [f32],
        output: &'a mut [f32],
    ) {
        let [step, next_filter] = steps;
        let design = table.design();
        let phases = design.phases;
        let (floor, mut phase) = (position / phases, position % phases);
        let padding = design.row_len() - design.taps;
        // The outputs `first`, `first + phases`, ... have one filter; their inputs are `step` apart. The filters
        // in the order of the table, so that the processor fetches them ahead.
        let mut first = 0;
        for _ in 0..phases {
            if first < output.len() {
                let row = table.row(phase);
                let at = floor + (position % phases + first * step) / phases - padding;
                let mut from = &input[at..];
                let mut n = first;
                while n < output.len() {
                    let output = &mut output[n..];
                    let count = match (output.len() - 1) / phases {
                        0 => sums::<S, 1>(simd, row, (from, step), (output, phases)),
                        1 => sums::<S, 2>(simd, row, (from, step), (output, phases)),
                        2 => sums::<S, 3>(simd, row, (from, step), (output, phases)),
                        _ => sums::<S, 4>(simd, row, (from, step), (output, phases)),
                    };
                    n += count * phases;
                    from = from.get(count * step..).unwrap_or_default();
                }
            }
            first += next_filter;
            if first >= phases {
                first -= phases;
            }
            phase = if phase + 1 < phases { phase + 1 } else { 0 };
        }
    }
}

/// The sums of products of `row` with the inputs from each of `N` places, `step` apart, to every `stride`th
/// output. The order of the additions does not depend on `N`. Returns `N`.
#[inline(always)]
fn sums<S: pulp::Simd, const N: usize>(
    simd: S,
    row: &[f32],
    (input, step): (&[f32], usize),
    (output, stride): (&mut [f32], usize),
) -> usize {
    let (row, _) = S::as_simd_f32s(row);
    let inputs: [&[S::f32s]; N] =
        std::array::from_fn(|n| &S::as_simd_f32s(&input[n * step..]).0[..row.len()]);
    let mut sums = [simd.splat_f32s(0.0); N];
    for (at, coefficients) in row.iter().enumerate() {
        for n in 0..N {
            sums[n] = simd.mul_add_e_f32s(*coefficients, inputs[n][at], sums[n]);
        }
    }
    for (n, sum) in sums.into_iter().enumerate() {
        output[n * stride] = simd.reduce_sum_f32s(sum);
    }
    N
}
