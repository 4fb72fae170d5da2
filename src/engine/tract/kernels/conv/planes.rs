//! Convolutions in which each output channel has one input channel, to one row.

use super::{DirectConv, MAX_ROW, MAX_STRIDE, split_phases};

/// Maximum width of a row with its padding, and of what a vector reads after it.
const MAX_PADDED: usize = MAX_ROW + 32;
/// Maximum number of an output vector's numbers.
const MAX_LANES: usize = 16;
/// Maximum height of a kernel.
const MAX_HEIGHT: usize = 3;

/// A row with zeros around it: the columns of each phase within the stride.
type PaddedRow = [[f32; MAX_PADDED]; MAX_STRIDE];

impl DirectConv {
    /// Whether [`Self::run_planes`] has these sizes.
    pub(super) fn has_planes(&self) -> bool {
        let ahead = (self.kernel[1] - 1) * self.dilations[1] / self.strides[1];
        let last_read = self.output[2].next_multiple_of(MAX_LANES) + ahead;
        !self.transposed
            && self.input[0] == self.groups
            && self.output[1] == 1
            && self.kernel[0] <= MAX_HEIGHT
            && last_read.max(self.padding[1] + self.input[2]) <= MAX_PADDED
    }

    #[inline(always)]
    pub(super) fn run_planes<S: pulp::Simd>(
        &self,
        simd: S,
        input: &[f32],
        weights: &[f32],
        bias: &[f32],
        output: &mut [f32],
    ) {
        if self.kernel[0] == 1 {
            self.run_rows::<S, 1>(simd, input, weights, bias, output);
        } else {
            self.run_rows::<S, MAX_HEIGHT>(simd, input, weights, bias, output);
        }
    }

    /// `ROWS`: at least the height of the kernel.
    #[inline(always)]
    fn run_rows<S: pulp::Simd, const ROWS: usize>(
        &self,
        simd: S,
        input: &[f32],
        weights: &[f32],
        bias: &[f32],
        output: &mut [f32],
    ) {
        let [_, height_in, width_in] = self.input;
        let [channels, _, width] = self.output;
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        let group_out = channels / self.groups;
        // The rows that lie in the padding stay zero.
        let mut rows = [[[0.0f32; MAX_PADDED]; MAX_STRIDE]; ROWS];
        let kernels = weights.chunks_exact(self.kernel[0] * self.kernel[1]);
        let outputs = output.chunks_exact_mut(width).zip(kernels);
        for (channel, (output, kernel)) in outputs.enumerate() {
            if channel % group_out == 0 {
                let plane = &input[channel / group_out * height_in * width_in..];
                for (tap, row) in rows[..self.kernel[0]].iter_mut().enumerate() {
                    if let Some(at) = self.row(0, tap, height_in) {
                        self.pad(&plane[at * width_in..][..width_in], row);
                    }
                }
            }
            let bias = simd.splat_f32s(if bias.len() == 1 {
                bias[0]
            } else {
                bias[channel]
            });
            let mut at = 0;
            while at < width {
                let vectors = (width - at).div_ceil(lanes).min(3);
                let sums = &mut [bias; 3];
                match vectors {
                    1 => self.add_taps::<S, 1>(simd, &rows, kernel, at, sums),
                    2 => self.add_taps::<S, 2>(simd, &rows, kernel, at, sums),
                    _ => self.add_taps::<S, 3>(simd, &rows, kernel, at, sums),
                }
                for sum in &sums[..vectors] {
                    let to = &mut output[at..];
                    match S::as_mut_simd_f32s(to).0 {
                        [full, ..] => *full = *sum,
                        [] => simd.partial_store_f32s(to, *sum),
                    }
                    at += lanes;
                }
            }
        }
    }

    /// Copies a row of the input into `padded`, at its place after the padding.
    #[inline(always)]
    fn pad(&self, row: &[f32], padded: &mut PaddedRow) {
        let padding = self.padding[1];
        if self.strides[1] == 1 {
            padded[0][padding..][..row.len()].copy_from_slice(row);
            return;
        }
        let ([even, odd], at) = (padded, padding / MAX_STRIDE);
        if padding.is_multiple_of(MAX_STRIDE) {
            split_phases(row, &mut even[at..], &mut odd[at..]);
        } else {
            split_phases(row, &mut odd[at..], &mut even[at + 1..]);
        }
    }

    /// Adds the products of `VECTORS` vectors of columns from `at` on to `sums`.
    #[inline(always)]
    fn add_taps<S: pulp::Simd, const VECTORS: usize>(
        &self,
        simd: S,
        rows: &[PaddedRow],
        kernel: &[f32],
        at: usize,
        sums: &mut [S::f32s; 3],
    ) {
        let (stride, columns) = (self.strides[1], self.kernel[1]);
        let mut total = [sums[0]; VECTORS];
        for (row, kernel) in rows.iter().zip(kernel.chunks_exact(columns)) {
            for (column, weight) in kernel.iter().enumerate() {
                let ahead = column * self.dilations[1];
                let from = &row[ahead % stride][ahead / stride + at..];
                let (from, _) = S::as_simd_f32s(from);
                let Some(from) = from.first_chunk::<VECTORS>() else {
                    return; // not reached: the row has numbers after its end
                };
                let weight = simd.splat_f32s(*weight);
                for vector in 0..VECTORS {
                    total[vector] = simd.mul_add_e_f32s(weight, from[vector], total[vector]);
                }
            }
        }
        sums[..VECTORS].copy_from_slice(&total);
    }
}
