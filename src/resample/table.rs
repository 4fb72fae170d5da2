//! Tables of windowed-sinc filters, shared by all streams of a pair of rates.

use std::f64::consts::PI;
use std::sync::Arc;

use crate::shared::Shared;
use crate::simd::simd_dispatch;

/// Numbers of a filter are padded to a multiple of this: the widest vector.
const LANES: usize = 16;
/// Angles that are rotated at a time: without dependence on each other the processor computes them in parallel.
const ANGLES: usize = 8;

/// One filter for each position of an output between two inputs.
#[derive(Debug)]
pub(super) struct Table {
    design: Design,
    /// [phases, row_len]: zeros, then the coefficients from the oldest input to the newest
    coefficients: Vec<f32>,
}

/// What determines the coefficients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Design {
    /// inputs of an output
    pub(super) taps: usize,
    /// positions of outputs between two inputs
    pub(super) phases: usize,
    /// relative to the Nyquist frequency of the input
    pub(super) cutoff: f64,
}

static TABLES: Shared<Design, Table> = Shared::new();

impl Table {
    /// The table of `design`. Streams that exist share it.
    pub(super) fn shared(design: Design) -> Arc<Self> {
        TABLES.get(design, |design| Self::new(*design))
    }

    fn new(design: Design) -> Self {
        let Design { taps, phases, .. } = design;
        let row_len = design.row_len();
        let half = design.half_impulse();
        let center = design.center();
        let mut coefficients = vec![0.0; phases * row_len];
        // A later position uses earlier points of the impulse.
        for (phase, row) in coefficients.chunks_exact_mut(row_len).rev().enumerate() {
            for (tap, coefficient) in row[row_len - taps..].iter_mut().enumerate() {
                *coefficient = half[(tap * phases + phase).abs_diff(center)];
            }
        }
        Self {
            design,
            coefficients,
        }
    }

    pub(super) fn design(&self) -> Design {
        self.design
    }

    /// The filter of position `phase`, `row_len` numbers.
    #[inline(always)]
    pub(super) fn row(&self, phase: usize) -> &[f32] {
        let len = self.design.row_len();
        &self.coefficients[phase * len..][..len]
    }
}

impl Design {
    /// Numbers of a filter with its padding.
    pub(super) fn row_len(&self) -> usize {
        self.taps.next_multiple_of(LANES)
    }

    /// The point with the largest value among all taps at all positions.
    fn center(&self) -> usize {
        self.taps * self.phases / 2
    }

    /// The sinc under a Blackman-Harris window (Harris 1978, "On the Use of Windows for Harmonic Analysis with
    /// the Discrete Fourier Transform", table 1, 4-term), by distance from the center: [0, taps * phases / 2].
    /// The coefficients of a position add up to 1 in the mean.
    fn half_impulse(&self) -> Vec<f32> {
        let center = self.center();
        // The center, and distances from 1 on, some beyond the last one.
        let mut half = vec![0.0f32; 1 + center.next_multiple_of(ANGLES)];
        half[0] = 1.0;
        let sum = windowed_sinc(self, half[1..].as_chunks_mut().0);
        // Both halves are equal but for the first point, where the window is almost 0.
        let scale = (self.phases as f64 / (1.0 + 2.0 * sum)) as f32;
        for point in &mut half {
            *point *= scale;
        }
        half
    }
}

simd_dispatch! {
    /// Points of the impulse at distances from 1 on, with a center of 1. Returns their sum.
    fn windowed_sinc<'a>(design: &'a Design, points: &'a mut [[f32; ANGLES]]) -> f64 {
        let sinc_step = PI * design.cutoff / design.phases as f64;
        let window_step = 2.0 * PI / (design.taps * design.phases) as f64;
        let mut sinc = Rotations::new(sinc_step, sinc_step);
        let mut window = Rotations::new((design.center() + 1) as f64 * window_step, window_step);
        let mut sums = [0.0; ANGLES];
        let mut distance = 0.0;
        for points in points {
            for at in 0..ANGLES {
                let cos = window.cos[at];
                // The cosines of twice and of three times the angle.
                let (cos2, cos3) = (2.0 * cos * cos - 1.0, cos * (4.0 * cos * cos - 3.0));
                let window = 0.35875 - 0.48829 * cos + 0.14128 * cos2 - 0.01168 * cos3;
                let angle = (distance + (at + 1) as f64) * sinc_step;
                let point = window * sinc.sin[at] / angle;
                points[at] = point as f32;
                sums[at] += point;
            }
            distance += ANGLES as f64;
            sinc.advance();
            window.advance();
        }
        sums.iter().sum()
    }
}

/// Sines and cosines of `ANGLES` equally spaced angles, each from the one `ANGLES` steps before: a call of the
/// standard library for each would take most of the time to make a stream. After the longest filter the error is
/// below 1e-10.
struct Rotations {
    sin: [f64; ANGLES],
    cos: [f64; ANGLES],
    /// sine and cosine of `ANGLES` steps
    steps: (f64, f64),
}

impl Rotations {
    fn new(start: f64, step: f64) -> Self {
        let angle = |at: usize| start + at as f64 * step;
        Self {
            sin: std::array::from_fn(|at| angle(at).sin()),
            cos: std::array::from_fn(|at| angle(at).cos()),
            steps: (ANGLES as f64 * step).sin_cos(),
        }
    }

    /// The next `ANGLES` angles.
    #[inline(always)]
    fn advance(&mut self) {
        for (sin, cos) in self.sin.iter_mut().zip(&mut self.cos) {
            (*sin, *cos) = (
                *sin * self.steps.1 + *cos * self.steps.0,
                *cos * self.steps.1 - *sin * self.steps.0,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_are_sines_and_cosines() {
        let (start, step) = (-3000.0, 0.016);
        let mut rotations = Rotations::new(start, step);
        for first in (0..200_000).step_by(ANGLES) {
            for at in 0..ANGLES {
                let (sin, cos) = (start + (first + at) as f64 * step).sin_cos();
                let error = (rotations.sin[at] - sin)
                    .abs()
                    .max((rotations.cos[at] - cos).abs());
                assert!(error < 1e-10, "{}: {error}", first + at);
            }
            rotations.advance();
        }
    }

    #[test]
    fn each_row_passes_a_constant() {
        let table = Table::shared(Design {
            taps: 24,
            phases: 5,
            cutoff: 0.43,
        });
        for phase in 0..5 {
            let sum: f32 = table.row(phase).iter().sum();
            assert!((sum - 1.0).abs() < 0.02, "{sum}");
        }
    }
}
