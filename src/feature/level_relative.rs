//! Features that do not change with the level of the input. The embedded models use them.

use std::sync::Arc;

use realfft::num_complex::Complex32;

use crate::fast_math::power_to_db;
use crate::filterbank::{Filterbank, add_powers};
use crate::manifest::{Features, Level, Manifest};
use crate::simd::simd_dispatch;

/// -200 dB, below every clamp: keeps the logarithm finite.
const POWER_FLOOR: f32 = 1e-20;

/// Computes `[features]` for one channel, or for several that share one mask.
///
/// `train/quietwire_train/frontend.py` is the same code in Python. Golden vectors hold the two equal.
pub(super) struct LevelRelative {
    bands: Arc<Filterbank>,
    bins: usize,
    power_scale: f32,
    range_low_db: f32,
    range_high_db: f32,
    range_step_db: f32,
    range_offset: f32,
    phase_first: usize,
    /// [phase bins] phase that the bin's center frequency gains over one hop, conjugated
    expected_advance: Vec<Complex32>,
    /// [channels] the previous hop; and the present hop
    before: Vec<PhaseBins>,
    now: PhaseBins,
    /// [phase bins] product of the magnitudes of both hops
    norms: Vec<f32>,
    level: LevelTracker,
    /// [padded bins] summed over channels, |X|^2 times `power_scale`
    power: Vec<f32>,
}

impl LevelRelative {
    pub(super) fn new(
        manifest: &Manifest,
        features: &Features,
        power_scale: f32,
        channels: usize,
    ) -> Self {
        let (phase_first, phase_bins) = features
            .phase_advance
            .as_ref()
            .map_or((0, 0), |p| (p.first_bin, p.bins));
        let expected_advance = |k: usize| {
            // Without whole turns the angle is exact where the hop divides the window.
            let part = (k * manifest.hop()) % manifest.transform();
            let angle = -2.0 * std::f64::consts::PI * part as f64 / manifest.transform() as f64;
            Complex32::new(angle.cos() as f32, angle.sin() as f32)
        };
        let bands = &features.bands;
        Self {
            bands: Filterbank::triangular(&bands.centers),
            bins: manifest.bins(),
            power_scale: power_scale / channels as f32,
            range_low_db: bands.range_low_db,
            range_high_db: bands.range_high_db,
            range_step_db: bands.range_step_db,
            range_offset: bands.range_offset,
            phase_first,
            expected_advance: (phase_first..phase_first + phase_bins)
                .map(expected_advance)
                .collect(),
            before: vec![PhaseBins::new(phase_bins); channels],
            now: PhaseBins::new(phase_bins),
            norms: vec![0.0; phase_bins],
            level: LevelTracker::new(&features.level),
            power: vec![0.0; Filterbank::padded(manifest.bins())],
        }
    }

    /// Reads `[channels][bins]` and writes `[features]`: bands, then cosines, then sines.
    pub(super) fn extract<'a>(
        &mut self,
        spectra: impl Iterator<Item = &'a [Complex32]> + Clone,
        features: &mut [f32],
    ) {
        let power = &mut self.power[..self.bins];
        power.fill(0.0);
        for spectrum in spectra.clone() {
            add_powers(power, spectrum, self.power_scale);
        }
        let level_db = self.level.update(power);
        let (bands, phases) =
            features.split_at_mut(features.len() - 2 * self.expected_advance.len());
        self.bands.bins_to_bands(&self.power, bands);
        normalize_bands(self, level_db, bands);

        // The floor makes the phase features of empty bins small, at any input level.
        let floor = 10f32.powf((level_db + self.range_low_db) / 10.0) / self.power_scale;
        self.norms.fill(floor);
        phases.fill(0.0);
        for (spectrum, before) in spectra.zip(&mut self.before) {
            let now = &mut self.now;
            let bins = &spectrum[self.phase_first..];
            split_complex(bins, &mut now.re, &mut now.im, &mut now.magnitude);
            add_phases(now, before, phases, &mut self.norms);
            std::mem::swap(now, before);
        }
        normalize_phases(&self.expected_advance, &self.norms, phases);
    }

    pub(super) fn reset(&mut self) {
        for PhaseBins { re, im, magnitude } in &mut self.before {
            re.fill(0.0);
            im.fill(0.0);
            magnitude.fill(0.0);
        }
        self.level.reset();
    }
}

simd_dispatch! {
    fn sum<'a, S>(simd: S; power: &'a [f32]) -> f32 {
        let (vectors, rest) = S::as_simd_f32s(power);
        // Two sums: additions to one would wait for each other.
        let [mut even, mut odd] = [simd.splat_f32s(0.0); 2];
        let (pairs, last) = vectors.as_chunks::<2>();
        for [a, b] in pairs {
            even = simd.add_f32s(even, *a);
            odd = simd.add_f32s(odd, *b);
        }
        for vector in last {
            even = simd.add_f32s(even, *vector);
        }
        simd.reduce_sum_f32s(simd.add_f32s(even, odd)) + rest.iter().sum::<f32>()
    }
}

simd_dispatch! {
    /// Powers of `[bands]` to normalized levels.
    fn normalize_bands<'a>(scale: &'a LevelRelative, level_db: f32, bands: &'a mut [f32]) {
        for value in bands {
            let relative_db = power_to_db(*value + POWER_FLOOR) - level_db;
            // `clamp` checks its bounds, which would prevent vectorization.
            let relative_db = relative_db.max(scale.range_low_db).min(scale.range_high_db);
            *value = relative_db / scale.range_step_db + scale.range_offset;
        }
    }
}

simd_dispatch! {
    fn split_complex<'a>(
        bins: &'a [Complex32],
        re: &'a mut [f32],
        im: &'a mut [f32],
        magnitude: &'a mut [f32],
    ) {
        for (x, (re, (im, magnitude))) in bins.iter().zip(re.iter_mut().zip(im.iter_mut().zip(magnitude))) {
            *re = x.re;
            *im = x.im;
            // Squares of repaired samples stay in range, so the slower `norm` is not needed.
            *magnitude = (x.re * x.re + x.im * x.im).sqrt();
        }
    }
}

simd_dispatch! {
    /// Adds the cross spectrum of both hops, real parts first, and the product of their magnitudes.
    fn add_phases<'a>(now: &'a PhaseBins, before: &'a PhaseBins, phases: &'a mut [f32], norms: &'a mut [f32]) {
        let (cosines, sines) = phases.split_at_mut(norms.len());
        let now = now.re.iter().zip(&now.im).zip(&now.magnitude);
        let before = before.re.iter().zip(&before.im).zip(&before.magnitude);
        let sums = cosines.iter_mut().zip(sines).zip(norms);
        for ((now, before), ((cosine, sine), norm)) in now.zip(before).zip(sums) {
            let (((re, im), magnitude), ((re_before, im_before), magnitude_before)) = (now, before);
            *cosine += re * re_before + im * im_before;
            *sine += im * re_before - re * im_before;
            *norm += magnitude * magnitude_before;
        }
    }
}

simd_dispatch! {
    /// Removes the phase advance of the bin centers and divides by the magnitudes.
    fn normalize_phases<'a>(expected_advance: &'a [Complex32], norms: &'a [f32], phases: &'a mut [f32]) {
        let (cosines, sines) = phases.split_at_mut(norms.len());
        let sums = cosines.iter_mut().zip(sines).zip(norms);
        for (expected_advance, ((cosine, sine), norm)) in expected_advance.iter().zip(sums) {
            let (re, im) = (*cosine, *sine);
            *cosine = (re * expected_advance.re - im * expected_advance.im) / norm;
            *sine = (re * expected_advance.im + im * expected_advance.re) / norm;
        }
    }
}

/// The bins with phase features, split into real parts, imaginary parts and magnitudes.
#[derive(Clone)]
struct PhaseBins {
    re: Vec<f32>,
    im: Vec<f32>,
    magnitude: Vec<f32>,
}

impl PhaseBins {
    fn new(bins: usize) -> Self {
        Self {
            re: vec![0.0; bins],
            im: vec![0.0; bins],
            magnitude: vec![0.0; bins],
        }
    }
}

/// Tracks the peaks of a stream's level: fast attack, slow release.
struct LevelTracker {
    first_bin: usize,
    attack: f32,
    release_db: f32,
    floor_db: f32,
    level_db: f32,
    /// whether any hop was above the floor yet
    signal_seen: bool,
}

impl LevelTracker {
    fn new(manifest: &Level) -> Self {
        Self {
            first_bin: manifest.first_bin,
            attack: manifest.attack,
            release_db: manifest.release_db,
            floor_db: manifest.floor_db,
            level_db: manifest.floor_db,
            signal_seen: false,
        }
    }

    /// Reads `[bins]` power and returns the running level, dBFS.
    fn update(&mut self, power: &[f32]) -> f32 {
        let sum = sum(&power[self.first_bin..]);
        let now_db = 10.0 * (sum + POWER_FLOOR).log10();
        if self.signal_seen {
            self.level_db = if now_db > self.level_db {
                self.level_db + self.attack * (now_db - self.level_db)
            } else {
                (self.level_db - self.release_db).max(now_db)
            };
        } else if now_db > self.floor_db {
            self.signal_seen = true;
            self.level_db = now_db;
        }
        self.level_db = self.level_db.max(self.floor_db);
        self.level_db
    }

    fn reset(&mut self) {
        self.level_db = self.floor_db;
        self.signal_seen = false;
    }
}
