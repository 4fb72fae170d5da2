//! Features that do not change with the level of the input: what our own models hear.

use realfft::num_complex::Complex32;

use super::bands::{Share, shares};
use crate::model::spec::{Features, Level, Spec};

/// -200 dB: under every clamp, only keeps the logarithm finite.
const POWER_FLOOR: f32 = 1e-20;

/// Sums that go on side by side.
const LANES: usize = 16;

/// Makes `[features]` of one stream, for one channel or for several that share one mask.
///
/// `train/quietwire_train/frontend.py` is the same code in Python; golden vectors pin the two.
pub(super) struct Relative {
    bands: Vec<Share>,
    power_scale: f32,
    range_low_db: f32,
    range_high_db: f32,
    range_step_db: f32,
    range_offset: f32,
    phase_first: usize,
    /// [phase bins] a hop's turn of the bin's centre, to be taken away
    turn: Vec<Complex32>,
    /// [channels][phase bins] spectrum of the hop before
    before: Vec<Vec<Complex32>>,
    level: LevelTracker,
    /// [bins] summed over channels, |X|^2 times `power_scale`
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
            bands: shares(&bands.centres),
            power_scale: power_scale / channels as f32,
            range_low_db: bands.range_low_db,
            range_high_db: bands.range_high_db,
            range_step_db: bands.range_step_db,
            range_offset: bands.range_offset,
            phase_first,
            turn: (phase_first..phase_first + phase_bins).map(turn).collect(),
            before: vec![vec![Complex32::default(); phase_bins]; channels],
            level: LevelTracker::new(&features.level),
            power: vec![0.0; spec.bins()],
        }
    }

    /// Takes `[channels][bins]`, fills `[features]`: bands first, then cosines, then sines.
    pub(super) fn run<'a>(
        &mut self,
        spectra: impl Iterator<Item = &'a [Complex32]> + Clone,
        features: &mut [f32],
    ) {
        self.power.fill(0.0);
        for spectrum in spectra.clone() {
            for (sum, x) in self.power.iter_mut().zip(spectrum) {
                *sum += x.norm_sqr() * self.power_scale;
            }
        }
        let level = self.level.run(&self.power);

        let phases = self.turn.len();
        let (bands, phase) = features.split_at_mut(features.len() - 2 * phases);
        bands.fill(0.0);
        for (band, power) in self.bands.iter().zip(&self.power) {
            bands[band.lower] += band.share * power;
            if band.share < 1.0 {
                bands[band.lower + 1] += (1.0 - band.share) * power;
            }
        }
        for value in &mut *bands {
            let db = 10.0 * (*value + POWER_FLOOR).log10();
            let relative = (db - level).clamp(self.range_low_db, self.range_high_db);
            *value = relative / self.range_step_db + self.range_offset;
        }

        // The floor keeps bins that hold nothing from saying anything, at any input level.
        let floor = 10f32.powf((level + self.range_low_db) / 10.0) / self.power_scale;
        let (cosines, sines) = phase.split_at_mut(phases);
        for bin in 0..phases {
            let (mut cross, mut norm) = (Complex32::default(), floor);
            for (spectrum, before) in spectra.clone().zip(&mut self.before) {
                let (now, then) = (spectrum[self.phase_first + bin], before[bin]);
                cross += now * then.conj();
                // Squares of sane samples stay in range; `norm` would take care, slowly.
                norm += now.norm_sqr().sqrt() * then.norm_sqr().sqrt();
                before[bin] = now;
            }
            let advance = cross * self.turn[bin] / norm;
            cosines[bin] = advance.re;
            sines[bin] = advance.im;
        }
    }

    pub(super) fn reset(&mut self) {
        for before in &mut self.before {
            before.fill(Complex32::default());
        }
        self.level.reset();
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
        // Side by side, for each sum would wait for the one before.
        let (chunks, rest) = power[self.first_bin..].as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        for chunk in chunks {
            for (sum, power) in sums.iter_mut().zip(chunk) {
                *sum += power;
            }
        }
        let sum: f32 = sums.iter().chain(rest).sum();
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
