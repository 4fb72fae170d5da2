//! Mask to spectrum: gains, low-band filter, and the limit on what may be removed.

use realfft::num_complex::Complex32;

use crate::feature::Bands;
use crate::floor::Floor;
use crate::model::spec::{Layout, Spec, TapLayout, TapsSpec};
use crate::wide::{flat, flat_mut, wide};

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
        let reach = spec.taps().map_or(1, |taps| taps.order - taps.ahead);
        let depth = spec.lookahead() + reach;
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

impl Energies {
    fn scaled(self, scale: f32) -> Self {
        Self {
            input: self.input * scale,
            output: self.output * scale,
            speech: self.speech * scale,
            noise: self.noise * scale,
        }
    }
}

impl std::ops::AddAssign for Energies {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.speech += other.speech;
        self.noise += other.noise;
    }
}

/// Applies what a model says to the spectra of one stream.
pub(crate) struct Masker {
    bands: Bands,
    taps: Option<TapsSpec>,
    lookahead: usize,
    spectrum_scale: f32,
    /// [padded bins]
    curve: Vec<f32>,
    limit: Limit,
    floor: Floor,
}

impl Masker {
    /// `power_scale` makes the powers of a hop, summed over all channels, mean squares.
    pub(crate) fn new(spec: &Spec, attenuation_db: f32, power_scale: f32) -> Self {
        Self {
            bands: Bands::of_gains(spec),
            taps: spec.taps(),
            lookahead: spec.lookahead(),
            spectrum_scale: spec.spectrum_scale(),
            curve: vec![0.0; Bands::padded(spec.bins())],
            limit: Limit::new(attenuation_db),
            floor: Floor::new(power_scale),
        }
    }

    pub(crate) fn set_attenuation_db(&mut self, attenuation_db: f32) {
        self.limit.target = amplitude(attenuation_db);
        self.limit.step = (self.limit.target - self.limit.now) / LIMIT_HOPS;
    }

    /// Takes this hop's `[bands]` gains, once for all channels.
    pub(crate) fn take_gains(&mut self, gains: &[f32]) {
        self.bands.spread(gains, &mut self.curve);
    }

    /// Writes `[bins]` of one channel as they came, delayed like the masked ones.
    pub(crate) fn pass(&self, history: &History, out: &mut [Complex32]) {
        out.copy_from_slice(history.back(self.lookahead));
    }

    /// Writes `[bins]` of one channel under the gains taken last.
    pub(crate) fn apply_gains(&self, history: &History, out: &mut [Complex32]) {
        scale(history.back(self.lookahead), &self.curve, out);
    }

    /// Writes the lowest bins of one channel, filtered over hops.
    pub(crate) fn apply_taps(&self, taps: &[f32], history: &History, out: &mut [Complex32]) {
        let Some(spec) = self.taps else { return };
        let newest = self.lookahead - spec.ahead;
        let low = &mut out[..spec.bins];
        low.fill(Complex32::default());
        match spec.layout {
            TapLayout::NewestPartBin => {
                for (hop, tap) in taps.chunks_exact(2 * spec.bins).enumerate() {
                    let (re, im) = tap.split_at(spec.bins);
                    let past = history.back(newest + hop);
                    add_tap(past, re, im, low);
                }
            }
            TapLayout::BinOldestPart => {
                for hop in 0..spec.order {
                    let past = history.back(newest + spec.order - 1 - hop);
                    let of_bins = taps.chunks_exact(2 * spec.order);
                    for ((out, x), of_bin) in low.iter_mut().zip(past).zip(of_bins) {
                        *out += x * Complex32::new(of_bin[2 * hop], of_bin[2 * hop + 1]);
                    }
                }
            }
        }
    }

    /// Writes `[bins]` of one channel that the model made itself.
    pub(crate) fn take_spectrum(&self, layout: Layout, tensor: &[f32], out: &mut [Complex32]) {
        layout.read(tensor, 1.0 / self.spectrum_scale, out);
    }

    /// Goes on to the next hop's limit.
    pub(crate) fn advance(&mut self) {
        self.limit.advance();
    }

    /// Power of the hop that one channel is to say, as it came: the sum of |X|^2 over bins.
    pub(crate) fn power(&self, history: &History) -> f32 {
        power(flat(history.back(self.lookahead)))
    }

    /// What stays of the hop whatever the model says, as an amplitude; `input` is its power, of all
    /// channels together.
    pub(crate) fn share(&self, input: f32) -> f32 {
        self.floor.share(self.limit.now, input)
    }

    /// Takes the power of what the model left of a hop of power `input`, each of all channels together.
    pub(crate) fn take_speech(&mut self, speech: f32, input: f32) {
        self.floor.hear(speech, input);
    }

    /// Mixes a share of the input of one channel into its `[bins]`. Energies but for the input's, which is
    /// known already: [`power`](Self::power).
    pub(crate) fn limit(&self, share: f32, history: &History, out: &mut [Complex32]) -> Energies {
        mix(share, flat(history.back(self.lookahead)), flat_mut(out))
    }

    /// The same of a `[window]` that will be overlap-added as it is; `dry` is the input likewise.
    pub(crate) fn limit_frame(
        &self,
        share: f32,
        history: &History,
        dry: impl Iterator<Item = f32>,
        out: &mut [f32],
    ) -> Energies {
        let mut energies = Energies::default();
        let mut input = 0.0;
        for (out, x) in out.iter_mut().zip(dry) {
            input += x * x;
            energies += mix_one(share, x, out);
        }
        // In the spectrum's units, for the telemetry of all models is one.
        energies.scaled(self.power(history) / input.max(f32::MIN_POSITIVE))
    }

    /// What a hop that was passed on has in it.
    pub(crate) fn passed(&self, history: &History) -> Energies {
        let input = self.power(history);
        Energies {
            input,
            output: input,
            ..Energies::default()
        }
    }

    /// Jumps to the limit that was set last and forgets the talker.
    pub(crate) fn reset(&mut self) {
        self.limit.now = self.limit.target;
        self.floor.reset();
    }
}

wide! {
    fn scale<'a>(input: &'a [Complex32], curve: &'a [f32], out: &'a mut [Complex32]) {
        for (out, (x, gain)) in out.iter_mut().zip(input.iter().zip(curve)) {
            *out = x * gain;
        }
    }
}

wide! {
    /// Adds the bins of one hop, each times its tap.
    fn add_tap<'a>(past: &'a [Complex32], re: &'a [f32], im: &'a [f32], out: &'a mut [Complex32]) {
        for (((out, x), re), im) in out.iter_mut().zip(past).zip(re).zip(im) {
            *out += x * Complex32::new(*re, *im);
        }
    }
}

wide! {
    /// Sum of squares.
    fn power<'a, S>(simd: S; numbers: &'a [f32]) -> f32 {
        let (wides, rest) = S::as_simd_f32s(numbers);
        let mut sum = simd.splat_f32s(0.0);
        for x in wides {
            sum = simd.add_f32s(sum, simd.mul_f32s(*x, *x));
        }
        rest.iter().fold(simd.reduce_sum_f32s(sum), |sum, x| sum + x * x)
    }
}

wide! {
    /// Mixes `dry`, times `share`, into `out`.
    fn mix<'a, S>(simd: S; share: f32, dry: &'a [f32], out: &'a mut [f32]) -> Energies {
        let (drys, dry_rest) = S::as_simd_f32s(dry);
        let (outs, out_rest) = S::as_mut_simd_f32s(out);
        let (shares, keeps) = (simd.splat_f32s(share), simd.splat_f32s(1.0 - share));
        let [mut output, mut speech, mut noise] = [simd.splat_f32s(0.0); 3];
        for (dry, out) in drys.iter().zip(outs) {
            let (dry, made) = (*dry, *out);
            let mixed = simd.add_f32s(simd.mul_f32s(made, keeps), simd.mul_f32s(dry, shares));
            let taken = simd.sub_f32s(dry, made);
            *out = mixed;
            output = simd.add_f32s(output, simd.mul_f32s(mixed, mixed));
            speech = simd.add_f32s(speech, simd.mul_f32s(made, made));
            noise = simd.add_f32s(noise, simd.mul_f32s(taken, taken));
        }
        let mut sums = Energies {
            input: 0.0,
            output: simd.reduce_sum_f32s(output),
            speech: simd.reduce_sum_f32s(speech),
            noise: simd.reduce_sum_f32s(noise),
        };
        for (dry, out) in dry_rest.iter().zip(out_rest) {
            sums += mix_one(share, *dry, out);
        }
        sums
    }
}

/// The same of one number.
fn mix_one(share: f32, dry: f32, out: &mut f32) -> Energies {
    let made = *out;
    *out = made * (1.0 - share) + dry * share;
    Energies {
        input: 0.0,
        output: *out * *out,
        speech: made * made,
        noise: (dry - made) * (dry - made),
    }
}

/// How much of a loud input stays in the output whatever the model says, as an amplitude.
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
