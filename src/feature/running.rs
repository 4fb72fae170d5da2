//! Features against running means: what DeepFilterNet and its kin hear.
//!
//! Schroeter et al. 2022, "DeepFilterNet2", section 2; constants as in libDF.

use realfft::num_complex::Complex32;

use crate::model::spec::{BandLevels, UnitSpectrum};

/// -100 dB, added to a power before its logarithm.
const POWER_FLOOR: f32 = 1e-10;

/// Level of each band in dB, less its running mean.
pub(super) struct Levels {
    widths: Vec<usize>,
    keep: f32,
    step_db: f32,
    /// [bands] running mean before the first hop, dB
    start: Vec<f32>,
    /// [bands] dB
    mean: Vec<f32>,
}

impl Levels {
    pub(super) fn new(widths: &[usize], spec: &BandLevels) -> Self {
        let start = between(spec.start_db, widths.len());
        Self {
            widths: widths.to_vec(),
            keep: spec.keep,
            step_db: spec.step_db,
            mean: start.clone(),
            start,
        }
    }

    /// Takes `[bins]` |X|^2, fills `[bands]`.
    pub(super) fn run(&mut self, power: &[f32], features: &mut [f32]) {
        let mut rest = power;
        let bands = self.widths.iter().zip(&mut self.mean).zip(features);
        for ((width, mean), feature) in bands {
            let (band, above) = rest.split_at(*width);
            rest = above;
            let power = band.iter().sum::<f32>() / *width as f32;
            let db = 10.0 * (power + POWER_FLOOR).log10();
            *mean = db * (1.0 - self.keep) + *mean * self.keep;
            *feature = (db - *mean) / self.step_db;
        }
    }

    pub(super) fn reset(&mut self) {
        self.mean.copy_from_slice(&self.start);
    }
}

/// The lowest bins over the square root of their running magnitude.
pub(super) struct Unit {
    keep: f32,
    /// [bins] running magnitude before the first hop
    start: Vec<f32>,
    /// [bins]
    mean: Vec<f32>,
    /// [bins]
    now: Vec<Complex32>,
}

impl Unit {
    pub(super) fn new(spec: &UnitSpectrum) -> Self {
        let start = between(spec.start, spec.bins);
        Self {
            keep: spec.keep,
            mean: start.clone(),
            start,
            now: vec![Complex32::default(); spec.bins],
        }
    }

    /// Takes a spectrum and the factor it is heard with, gives the lowest `[bins]`.
    pub(super) fn run(&mut self, spectrum: &[Complex32], scale: f32) -> &[Complex32] {
        let bins = spectrum.iter().zip(&mut self.mean).zip(&mut self.now);
        for ((x, mean), now) in bins {
            let x = x * scale;
            *mean = x.norm() * (1.0 - self.keep) + *mean * self.keep;
            *now = x / mean.sqrt();
        }
        &self.now
    }

    pub(super) fn reset(&mut self) {
        self.mean.copy_from_slice(&self.start);
    }
}

/// `count` numbers in equal steps from the first to the last.
fn between([first, last]: [f32; 2], count: usize) -> Vec<f32> {
    let step = (last - first) / count.saturating_sub(1).max(1) as f32;
    (0..count).map(|n| first + step * n as f32).collect()
}
