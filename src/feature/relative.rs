//! Features that do not change with the level of the input: what our own models hear.

use realfft::num_complex::Complex32;

use super::add_powers;
use super::bands::Bands;
use super::decibels::decibels;
use crate::model::spec::{Features, Level, Spec};
use crate::wide::wide;

/// -200 dB: under every clamp, only keeps the logarithm finite.
const POWER_FLOOR: f32 = 1e-20;

/// Makes `[features]` of one stream, for one channel or for several that share one mask.
///
/// `train/quietwire_train/frontend.py` is the same code in Python; golden vectors pin the two.
pub(super) struct Relative {
    bands: Bands,
    bins: usize,
    power_scale: f32,
    range_low_db: f32,
    range_high_db: f32,
    range_step_db: f32,
    range_offset: f32,
    phase_first: usize,
    /// [phase bins] a hop's turn of the bin's centre, to be taken away
    turn: Vec<Complex32>,
    /// [channels] the hop before, and this one
    before: Vec<Low>,
    now: Low,
    /// [phase bins] what a bin's turn is divided by
    norms: Vec<f32>,
    level: LevelTracker,
    /// [padded bins] summed over channels, |X|^2 times `power_scale`
    power: Vec<f32>,
}

impl Relative {
    pub(super) fn new(spec: &Spec, features: &Features, power_scale: f32, channels: usize) -> Self {
        let (phase_first, phase_bins) = features
            .phase_advance
            .as_ref()
            .map_or((0, 0), |p| (p.first_bin, p.bins));
        let turn = |k: usize| {
            // Whole turns first: exact where the hop divides the window.
            let part = (k * spec.hop()) % spec.transform();
            let angle = -2.0 * std::f64::consts::PI * part as f64 / spec.transform() as f64;
            Complex32::new(angle.cos() as f32, angle.sin() as f32)
        };
        let bands = &features.bands;
        Self {
            bands: Bands::hats(&bands.centres),
            bins: spec.bins(),
            power_scale: power_scale / channels as f32,
            range_low_db: bands.range_low_db,
            range_high_db: bands.range_high_db,
            range_step_db: bands.range_step_db,
            range_offset: bands.range_offset,
            phase_first,
            turn: (phase_first..phase_first + phase_bins).map(turn).collect(),
            before: vec![Low::new(phase_bins); channels],
            now: Low::new(phase_bins),
            norms: vec![0.0; phase_bins],
            level: LevelTracker::new(&features.level),
            power: vec![0.0; Bands::padded(spec.bins())],
        }
    }

    /// Takes `[channels][bins]`, fills `[features]`: bands first, then cosines, then sines.
    pub(super) fn run<'a>(
        &mut self,
        spectra: impl Iterator<Item = &'a [Complex32]> + Clone,
        features: &mut [f32],
    ) {
        let power = &mut self.power[..self.bins];
        power.fill(0.0);
        for spectrum in spectra.clone() {
            add_powers(power, spectrum, self.power_scale);
        }
        let level_db = self.level.run(power);
        let (bands, phases) = features.split_at_mut(features.len() - 2 * self.turn.len());
        self.bands.gather(&self.power, bands);
        show_bands(self, level_db, bands);

        // The floor keeps bins that hold nothing from saying anything, at any input level.
        let floor = 10f32.powf((level_db + self.range_low_db) / 10.0) / self.power_scale;
        self.norms.fill(floor);
        phases.fill(0.0);
        for (spectrum, before) in spectra.zip(&mut self.before) {
            let now = &mut self.now;
            let bins = &spectrum[self.phase_first..];
            part(bins, &mut now.re, &mut now.im, &mut now.size);
            add_phases(now, before, phases, &mut self.norms);
            std::mem::swap(now, before);
        }
        show_phases(&self.turn, &self.norms, phases);
    }

    pub(super) fn reset(&mut self) {
        for Low { re, im, size } in &mut self.before {
            re.fill(0.0);
            im.fill(0.0);
            size.fill(0.0);
        }
        self.level.reset();
    }
}

wide! {
    fn sum<'a, S>(simd: S; power: &'a [f32]) -> f32 {
        let (vectors, rest) = S::as_simd_f32s(power);
        // Two, for a sum would wait for the one before.
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

wide! {
    /// Turns powers of `[bands]` into what the model hears of them.
    fn show_bands<'a>(of: &'a Relative, level_db: f32, bands: &'a mut [f32]) {
        for value in bands {
            let relative_db = decibels(*value + POWER_FLOOR) - level_db;
            // Not `clamp`, whose check of its bounds would keep the loop from vectors.
            let relative_db = relative_db.max(of.range_low_db).min(of.range_high_db);
            *value = relative_db / of.range_step_db + of.range_offset;
        }
    }
}

wide! {
    fn part<'a>(
        bins: &'a [Complex32],
        re: &'a mut [f32],
        im: &'a mut [f32],
        size: &'a mut [f32],
    ) {
        for (x, (re, (im, size))) in bins.iter().zip(re.iter_mut().zip(im.iter_mut().zip(size))) {
            *re = x.re;
            *im = x.im;
            // Squares of sane samples stay in range; a norm would take care, slowly.
            *size = (x.re * x.re + x.im * x.im).sqrt();
        }
    }
}

wide! {
    /// Adds each bin's turn from `then` to `now`, cosine parts first, then sine parts, and what it
    /// is to be divided by.
    fn add_phases<'a>(now: &'a Low, then: &'a Low, phases: &'a mut [f32], norms: &'a mut [f32]) {
        let (cosines, sines) = phases.split_at_mut(norms.len());
        let now = now.re.iter().zip(&now.im).zip(&now.size);
        let then = then.re.iter().zip(&then.im).zip(&then.size);
        let sums = cosines.iter_mut().zip(sines).zip(norms);
        for ((now, then), ((cosine, sine), norm)) in now.zip(then).zip(sums) {
            let (((re, im), size), ((re_then, im_then), size_then)) = (now, then);
            *cosine += re * re_then + im * im_then;
            *sine += im * re_then - re * im_then;
            *norm += size * size_then;
        }
    }
}

wide! {
    /// Takes the turn of the bins' centres from the sums.
    fn show_phases<'a>(turn: &'a [Complex32], norms: &'a [f32], phases: &'a mut [f32]) {
        let (cosines, sines) = phases.split_at_mut(norms.len());
        let sums = cosines.iter_mut().zip(sines).zip(norms);
        for (turn, ((cosine, sine), norm)) in turn.iter().zip(sums) {
            let (re, im) = (*cosine, *sine);
            *cosine = (re * turn.re - im * turn.im) / norm;
            *sine = (re * turn.im + im * turn.re) / norm;
        }
    }
}

/// The bins whose phases are heard, in three lists: real parts, imaginary parts, magnitudes.
#[derive(Clone)]
struct Low {
    re: Vec<f32>,
    im: Vec<f32>,
    size: Vec<f32>,
}

impl Low {
    fn new(bins: usize) -> Self {
        Self {
            re: vec![0.0; bins],
            im: vec![0.0; bins],
            size: vec![0.0; bins],
        }
    }
}

/// Follows the peaks of a stream's level: quick up, slow down.
struct LevelTracker {
    first_bin: usize,
    attack: f32,
    release_db: f32,
    floor_db: f32,
    level_db: f32,
    /// whether anything but digital silence has come yet
    heard: bool,
}

impl LevelTracker {
    fn new(spec: &Level) -> Self {
        Self {
            first_bin: spec.first_bin,
            attack: spec.attack,
            release_db: spec.release_db,
            floor_db: spec.floor_db,
            level_db: spec.floor_db,
            heard: false,
        }
    }

    /// Takes `[bins]` power, gives the running level in dBFS.
    fn run(&mut self, power: &[f32]) -> f32 {
        let sum = sum(&power[self.first_bin..]);
        let now_db = 10.0 * (sum + POWER_FLOOR).log10();
        if self.heard {
            self.level_db = if now_db > self.level_db {
                self.level_db + self.attack * (now_db - self.level_db)
            } else {
                (self.level_db - self.release_db).max(now_db)
            };
        } else if now_db > self.floor_db {
            self.heard = true;
            self.level_db = now_db;
        }
        self.level_db = self.level_db.max(self.floor_db);
        self.level_db
    }

    fn reset(&mut self) {
        self.level_db = self.floor_db;
        self.heard = false;
    }
}
