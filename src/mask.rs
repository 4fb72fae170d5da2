//! Mask to spectrum: band gains, low-band filter, and the limit on what may be removed.

use realfft::num_complex::Complex32;

use crate::feature::BandGains;
use crate::model::spec::Spec;

/// Hops over which a new attenuation limit takes hold.
const LIMIT_HOPS: f32 = 5.0;

/// Spectra of one channel, this hop's and as many before it as the mask reaches back to.
pub(crate) struct History {
    /// [depth][bins]
    spectra: Vec<Vec<Complex32>>,
    newest: usize,
}

impl History {
    pub(crate) fn new(spec: &Spec) -> Self {
        let depth = spec.lookahead() + spec.taps().0.max(1);
        Self {
            spectra: vec![vec![Complex32::default(); spec.bins()]; depth],
            newest: 0,
        }
    }

    /// Makes room for this hop's spectrum, `[bins]`.
    pub(crate) fn advance(&mut self) -> &mut [Complex32] {
        self.newest = (self.newest + 1) % self.spectra.len();
        &mut self.spectra[self.newest]
    }

    /// The spectrum `hops` before the newest, `[bins]`.
    pub(crate) fn back(&self, hops: usize) -> &[Complex32] {
        let depth = self.spectra.len();
        &self.spectra[(self.newest + depth - hops) % depth]
    }

    pub(crate) fn reset(&mut self) {
        for spectrum in &mut self.spectra {
            spectrum.fill(Complex32::default());
        }
    }
}

/// What a mask did to one hop: sums of |X|^2 over bins, unscaled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Energies {
    pub(crate) input: f32,
    pub(crate) output: f32,
    /// what the model takes for speech
    pub(crate) speech: f32,
    /// what it would take away
    pub(crate) noise: f32,
}

impl std::ops::AddAssign for Energies {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.speech += other.speech;
        self.noise += other.noise;
    }
}

/// Applies a model's gains and taps to the spectra of one stream.
pub(crate) struct Masker {
    band_gains: BandGains,
    tap_bins: usize,
    lookahead: usize,
    /// [bins]
    curve: Vec<f32>,
    limit: Limit,
}

impl Masker {
    pub(crate) fn new(spec: &Spec, attenuation_db: f32) -> Self {
        let (_, tap_bins) = spec.taps();
        Self {
            band_gains: BandGains::new(spec),
            tap_bins,
            lookahead: spec.lookahead(),
            curve: vec![0.0; spec.bins()],
            limit: Limit::new(attenuation_db),
        }
    }

    pub(crate) fn set_attenuation_db(&mut self, attenuation_db: f32) {
        self.limit.target = amplitude(attenuation_db);
        self.limit.step = (self.limit.target - self.limit.now) / LIMIT_HOPS;
    }

    /// Takes this hop's `[bands]` gains, once for all channels.
    pub(crate) fn take_gains(&mut self, gains: &[f32]) {
        self.band_gains.spread(gains, &mut self.curve);
        self.limit.advance();
    }

    /// Writes the masked `[bins]` of one channel. `taps` is [order, 2, tap_bins].
    pub(crate) fn apply(&self, taps: &[f32], history: &History, out: &mut [Complex32]) -> Energies {
        let input = history.back(self.lookahead);
        let (low, high) = out.split_at_mut(self.tap_bins);
        let gained = input.iter().zip(&self.curve).skip(self.tap_bins);
        for (out, (x, gain)) in high.iter_mut().zip(gained) {
            *out = x * gain;
        }
        if !low.is_empty() {
            low.fill(Complex32::default());
            for (hop, tap) in taps.chunks_exact(2 * self.tap_bins).enumerate() {
                let (re, im) = tap.split_at(self.tap_bins);
                let past = history.back(self.lookahead + hop);
                for (((out, x), re), im) in low.iter_mut().zip(past).zip(re).zip(im) {
                    *out += x * Complex32::new(*re, *im);
                }
            }
        }
        let floor = self.limit.now;
        let mut energies = Energies::default();
        for (out, x) in out.iter_mut().zip(input) {
            energies.input += x.norm_sqr();
            energies.speech += out.norm_sqr();
            energies.noise += (x - *out).norm_sqr();
            *out = *out * (1.0 - floor) + x * floor;
            energies.output += out.norm_sqr();
        }
        energies
    }

    /// Writes `[bins]` of one channel as they came, delayed like the masked ones.
    pub(crate) fn pass(&self, history: &History, out: &mut [Complex32]) -> Energies {
        out.copy_from_slice(history.back(self.lookahead));
        let input = out.iter().map(|x| x.norm_sqr()).sum();
        Energies {
            input,
            output: input,
            ..Energies::default()
        }
    }

    /// Jumps to the limit that was set last.
    pub(crate) fn reset(&mut self) {
        self.limit.now = self.limit.target;
    }
}

/// How much of the input stays in the output whatever the model says, as an amplitude.
struct Limit {
    now: f32,
    target: f32,
    step: f32,
}

impl Limit {
    fn new(attenuation_db: f32) -> Self {
        let now = amplitude(attenuation_db);
        Self {
            now,
            target: now,
            step: 0.0,
        }
    }

    fn advance(&mut self) {
        let left = self.target - self.now;
        self.now = if left.abs() <= self.step.abs() {
            self.target
        } else {
            self.now + self.step
        };
    }
}

/// Decibels of attenuation to the amplitude that remains; infinity to 0.
fn amplitude(attenuation_db: f32) -> f32 {
    10f32.powf(-attenuation_db / 20.0)
}
