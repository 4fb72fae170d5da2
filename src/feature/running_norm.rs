//! Features normalized by running means, as DeepFilterNet defines them.
//!
//! Schroeter et al. 2022, "DeepFilterNet2", section 2; constants as in libDF.

use realfft::num_complex::Complex32;

use crate::manifest::{BandLevels, UnitSpectrum};

/// -100 dB, added to a power before its logarithm.
const POWER_FLOOR: f32 = 1e-10;

/// Level of each band in dB, minus its running mean.
pub(super) struct BandMeanNorm {
    widths: Vec<usize>,
    smoothing: f32,
    step_db: f32,
    /// [bands] running mean before the first hop, dB
    initial: Vec<f32>,
    /// [bands] dB
    mean: Vec<f32>,
}

impl BandMeanNorm {
    pub(super) fn new(widths: &[usize], manifest: &BandLevels) -> Self {
        let initial = linspace(manifest.initial_db, widths.len());
        Self {
            widths: widths.to_vec(),
            smoothing: manifest.smoothing,
            step_db: manifest.step_db,
            mean: initial.clone(),
            initial,
        }
    }

    /// Reads `[bins]` |X|^2 and writes `[bands]`.
    pub(super) fn extract(&mut self, power: &[f32], features: &mut [f32]) {
        let mut rest = power;
        let bands = self.widths.iter().zip(&mut self.mean).zip(features);
        for ((width, mean), feature) in bands {
            let (band, above) = rest.split_at(*width);
            rest = above;
            let power = band.iter().sum::<f32>() / *width as f32;
            let db = 10.0 * (power + POWER_FLOOR).log10();
            *mean = db * (1.0 - self.smoothing) + *mean * self.smoothing;
            *feature = (db - *mean) / self.step_db;
        }
    }

    pub(super) fn reset(&mut self) {
        self.mean.copy_from_slice(&self.initial);
    }
}

/// The lowest bins, divided by the square root of their running mean magnitude.
pub(super) struct UnitNorm {
    smoothing: f32,
    /// [bins] running magnitude before the first hop
    initial: Vec<f32>,
    /// [bins]
    mean: Vec<f32>,
    /// [bins]
    now: Vec<Complex32>,
}

impl UnitNorm {
    pub(super) fn new(manifest: &UnitSpectrum) -> Self {
        let initial = linspace(manifest.initial, manifest.bins);
        Self {
            smoothing: manifest.smoothing,
            mean: initial.clone(),
            initial,
            now: vec![Complex32::default(); manifest.bins],
        }
    }

    /// Scales a spectrum and returns its lowest `[bins]`, normalized.
    pub(super) fn extract(&mut self, spectrum: &[Complex32], scale: f32) -> &[Complex32] {
        let bins = spectrum.iter().zip(&mut self.mean).zip(&mut self.now);
        for ((x, mean), now) in bins {
            let x = x * scale;
            *mean = x.norm() * (1.0 - self.smoothing) + *mean * self.smoothing;
            *now = x / mean.sqrt();
        }
        &self.now
    }

    pub(super) fn reset(&mut self) {
        self.mean.copy_from_slice(&self.initial);
    }
}

/// `count` equally spaced numbers from `first` to `last`.
fn linspace([first, last]: [f32; 2], count: usize) -> Vec<f32> {
    let step = (last - first) / count.saturating_sub(1).max(1) as f32;
    (0..count).map(|n| first + step * n as f32).collect()
}
