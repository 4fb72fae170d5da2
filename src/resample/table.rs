//! Tables of windowed-sinc filters, shared by all streams of a pair of rates.

use std::f64::consts::PI;
use std::sync::Arc;

use crate::shared::Shared;

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
        let points = design.impulse();
        let scale = phases as f64 / points.iter().sum::<f64>();
        let mut coefficients = vec![0.0; phases * row_len];
        // Several taps at a time, because their coefficients share cache lines.
        for (chunk, points) in points.chunks(LANES * phases).enumerate() {
            let begin = row_len - taps + chunk * LANES;
            // A later position uses earlier points of the impulse.
            let rows = coefficients.chunks_exact_mut(row_len).rev();
            let mut columns = points.chunks_exact(phases);
            let columns: [&[f64]; LANES] = std::array::from_fn(|_| columns.next().unwrap_or(&[]));
            for (phase, row) in rows.enumerate() {
                for (coefficient, points) in row[begin..].iter_mut().zip(columns) {
                    *coefficient = (points[phase] * scale) as f32;
                }
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

    /// The sinc under a Blackman-Harris window (Harris 1978, "On the Use of Windows for Harmonic Analysis with
    /// the Discrete Fourier Transform", table 1, 4-term), at all positions: [taps, phases].
    fn impulse(&self) -> Vec<f64> {
        let len = self.taps * self.phases;
        let center = len / 2;
        let sinc_step = PI * self.cutoff / self.phases as f64;
        let window_step = 2.0 * PI / len as f64;
        let mut sinc = Rotations::new(0.0, sinc_step);
        let mut window = Rotations::new(center as f64 * window_step, window_step);
        // By distance from the center: both halves are equal, except for the first point.
        let mut half = vec![0.0; (center + 1).next_multiple_of(ANGLES)];
        for (chunk, points) in half.as_chunks_mut::<ANGLES>().0.iter_mut().enumerate() {
            for (at, point) in points.iter_mut().enumerate() {
                let (sin, cos) = (sinc.sin[at], window.cos[at]);
                // The cosines of twice and of three times the angle.
                let (cos2, cos3) = (2.0 * cos * cos - 1.0, cos * (4.0 * cos * cos - 3.0));
                let window = 0.35875 - 0.48829 * cos + 0.14128 * cos2 - 0.01168 * cos3;
                let distance = (chunk * ANGLES) as f64 + at as f64;
                *point = window * sin / (distance * sinc_step);
            }
            sinc.advance();
            window.advance();
        }
        // sinc 0 = 1, and the center of the window is 1.
        half[0] = 1.0;
        let mut points = vec![0.0; len];
        let (first, second) = points.split_at_mut(center + 1);
        for (point, value) in first.iter_mut().rev().zip(&half) {
            *point = *value;
        }
        for (point, value) in second.iter_mut().zip(&half[1..]) {
            *point = *value;
        }
        points
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
