//! Applies a mask to spectra: gains, taps of the low bins, and the attenuation limit.

use std::sync::Arc;

use realfft::num_complex::Complex32;

use crate::filterbank::Filterbank;
use crate::hop_powers::HopPowers;
use crate::manifest::{Layout, Manifest, TapLayout, TapsSpec};
use crate::noise_floor::NoiseFloor;
use crate::options::AttenuationLimit;
use crate::simd::{as_interleaved, as_interleaved_mut, simd_dispatch};
use crate::spectrum_history::SpectrumHistory;

/// Time over which a new attenuation limit is approached, s.
const LIMIT_RAMP_S: f64 = 0.05;

/// Applies a model's outputs to the spectra of the channels that share one mask.
pub(crate) struct MaskApplier {
    filterbank: Arc<Filterbank>,
    taps: Option<TapsSpec>,
    lookahead: usize,
    spectrum_scale: f32,
    /// [padded bins]
    bin_gains: Vec<f32>,
    limit: AttenuationRamp,
    floor: NoiseFloor,
}

impl MaskApplier {
    /// `power_scale` turns the powers of a hop, summed over all channels, into mean squares.
    pub(crate) fn new(manifest: &Manifest, limit: AttenuationLimit, power_scale: f32) -> Self {
        let hop_s = manifest.hop() as f64 / f64::from(manifest.rate_hz());
        Self {
            filterbank: Filterbank::of_gains(manifest),
            taps: manifest.taps(),
            lookahead: manifest.lookahead(),
            spectrum_scale: manifest.spectrum_scale(),
            bin_gains: vec![0.0; Filterbank::padded(manifest.bins())],
            limit: AttenuationRamp::new(limit, hop_s),
            floor: NoiseFloor::new(power_scale, hop_s),
        }
    }

    pub(crate) fn set_limit(&mut self, limit: AttenuationLimit) {
        self.limit.set(limit);
    }

    /// Sets the `[bands]` gains of this hop, once for all channels.
    pub(crate) fn set_band_gains(&mut self, gains: &[f32]) {
        self.filterbank.bands_to_bins(gains, &mut self.bin_gains);
    }

    /// Copies the input `[bins]` of one channel, delayed like masked bins.
    pub(crate) fn copy_delayed(&self, history: &SpectrumHistory, out: &mut [Complex32]) {
        out.copy_from_slice(history.delayed(self.lookahead));
    }

    /// Writes `[bins]` of one channel: the input times the gains of [`Self::set_band_gains`].
    pub(crate) fn apply_gains(&self, history: &SpectrumHistory, out: &mut [Complex32]) {
        scale(history.delayed(self.lookahead), &self.bin_gains, out);
    }

    /// Writes the lowest bins of one channel: the input, filtered over hops by `taps`.
    pub(crate) fn apply_taps(
        &self,
        taps: &[f32],
        history: &SpectrumHistory,
        out: &mut [Complex32],
    ) {
        let Some(spec) = self.taps else { return };
        let newest = self.lookahead - spec.ahead;
        let low = &mut out[..spec.bins];
        low.fill(Complex32::default());
        match spec.layout {
            TapLayout::NewestPartBin => {
                for (hop, tap) in taps.chunks_exact(2 * spec.bins).enumerate() {
                    let (re, im) = tap.split_at(spec.bins);
                    let past = history.delayed(newest + hop);
                    add_tap(past, re, im, low);
                }
            }
            TapLayout::BinOldestPart => {
                for hop in 0..spec.order {
                    let past = history.delayed(newest + spec.order - 1 - hop);
                    let bin_taps = taps.chunks_exact(2 * spec.order);
                    for ((out, x), taps) in low.iter_mut().zip(past).zip(bin_taps) {
                        *out += x * Complex32::new(taps[2 * hop], taps[2 * hop + 1]);
                    }
                }
            }
        }
    }

    /// Writes `[bins]` of one channel from a spectrum tensor of the model.
    pub(crate) fn read_spectrum(&self, layout: Layout, tensor: &[f32], out: &mut [Complex32]) {
        layout.read(tensor, 1.0 / self.spectrum_scale, out);
    }

    /// Advances the attenuation limit by one hop.
    pub(crate) fn advance(&mut self) {
        self.limit.advance();
    }

    /// Power of the input of the hop that one channel outputs: the sum of |X|^2 over bins.
    pub(crate) fn input_power(&self, history: &SpectrumHistory) -> f32 {
        power(as_interleaved(history.delayed(self.lookahead)))
    }

    /// Amplitude of the input that is mixed into the output whatever the mask is. `input` is the
    /// power of the hop, summed over all channels.
    pub(crate) fn dry_gain(&self, input: f32) -> f32 {
        self.floor.dry_gain(self.limit.gain, input)
    }

    /// Updates the noise floor: `speech` is the power that the model kept of a hop of power `input`,
    /// both summed over all channels.
    pub(crate) fn update_noise_floor(&mut self, speech: f32, input: f32) {
        self.floor.update(speech, input);
    }

    /// Mixes the input of one channel, times `dry_gain`, into its `[bins]`. Returns all powers but
    /// that of the input, which [`Self::input_power`] gives.
    pub(crate) fn mix_dry(
        &self,
        dry_gain: f32,
        history: &SpectrumHistory,
        out: &mut [Complex32],
    ) -> HopPowers {
        let input = as_interleaved(history.delayed(self.lookahead));
        mix(dry_gain, input, as_interleaved_mut(out))
    }

    /// [`Self::mix_dry`] for a `[window]` of samples that is overlap-added without a synthesis window.
    /// `dry` is the input in the same form.
    pub(crate) fn mix_dry_windowed(
        &self,
        dry_gain: f32,
        history: &SpectrumHistory,
        dry: impl Iterator<Item = f32>,
        out: &mut [f32],
    ) -> HopPowers {
        let mut powers = HopPowers::default();
        let mut input = 0.0;
        for (out, x) in out.iter_mut().zip(dry) {
            input += x * x;
            powers += mix_one(dry_gain, x, out);
        }
        // In the units of a spectrum: telemetry has the same units for all models.
        powers.scaled(self.input_power(history) / input.max(f32::MIN_POSITIVE))
    }

    /// Powers of a hop whose output is its input.
    pub(crate) fn passthrough_powers(&self, history: &SpectrumHistory) -> HopPowers {
        let input = self.input_power(history);
        HopPowers {
            input,
            output: input,
            ..HopPowers::default()
        }
    }

    /// Sets the attenuation limit to its target and resets the noise floor.
    pub(crate) fn reset(&mut self) {
        self.limit.reset();
        self.floor.reset();
    }
}

simd_dispatch! {
    fn scale<'a>(input: &'a [Complex32], bin_gains: &'a [f32], out: &'a mut [Complex32]) {
        for (out, (x, gain)) in out.iter_mut().zip(input.iter().zip(bin_gains)) {
            *out = x * gain;
        }
    }
}

simd_dispatch! {
    /// Adds the bins of one hop times their taps.
    fn add_tap<'a>(past: &'a [Complex32], re: &'a [f32], im: &'a [f32], out: &'a mut [Complex32]) {
        for (((out, x), re), im) in out.iter_mut().zip(past).zip(re).zip(im) {
            *out += x * Complex32::new(*re, *im);
        }
    }
}

simd_dispatch! {
    /// Sum of squares.
    fn power<'a, S>(simd: S; values: &'a [f32]) -> f32 {
        let (vectors, rest) = S::as_simd_f32s(values);
        let mut sum = simd.splat_f32s(0.0);
        for x in vectors {
            sum = simd.add_f32s(sum, simd.mul_f32s(*x, *x));
        }
        rest.iter().fold(simd.reduce_sum_f32s(sum), |sum, x| sum + x * x)
    }
}

simd_dispatch! {
    /// Mixes `dry`, times `dry_gain`, into `out`.
    fn mix<'a, S>(simd: S; dry_gain: f32, dry: &'a [f32], out: &'a mut [f32]) -> HopPowers {
        let (drys, dry_rest) = S::as_simd_f32s(dry);
        let (outs, out_rest) = S::as_mut_simd_f32s(out);
        let (dry_gains, wet_gains) = (simd.splat_f32s(dry_gain), simd.splat_f32s(1.0 - dry_gain));
        let [mut output, mut speech, mut noise] = [simd.splat_f32s(0.0); 3];
        for (dry, out) in drys.iter().zip(outs) {
            let (dry, estimate) = (*dry, *out);
            let mixed = simd.add_f32s(simd.mul_f32s(estimate, wet_gains), simd.mul_f32s(dry, dry_gains));
            let removed = simd.sub_f32s(dry, estimate);
            *out = mixed;
            output = simd.add_f32s(output, simd.mul_f32s(mixed, mixed));
            speech = simd.add_f32s(speech, simd.mul_f32s(estimate, estimate));
            noise = simd.add_f32s(noise, simd.mul_f32s(removed, removed));
        }
        let mut sums = HopPowers {
            input: 0.0,
            output: simd.reduce_sum_f32s(output),
            speech: simd.reduce_sum_f32s(speech),
            noise: simd.reduce_sum_f32s(noise),
        };
        for (dry, out) in dry_rest.iter().zip(out_rest) {
            sums += mix_one(dry_gain, *dry, out);
        }
        sums
    }
}

/// [`mix`] for one number.
fn mix_one(dry_gain: f32, dry: f32, out: &mut f32) -> HopPowers {
    let estimate = *out;
    *out = estimate * (1.0 - dry_gain) + dry * dry_gain;
    HopPowers {
        input: 0.0,
        output: *out * *out,
        speech: estimate * estimate,
        noise: (dry - estimate) * (dry - estimate),
    }
}

/// The attenuation limit as an amplitude, approached in equal steps.
struct AttenuationRamp {
    /// amplitude of a loud input that stays in the output whatever the mask is
    gain: f32,
    target: f32,
    step: f32,
    /// hops of a ramp
    hops: f32,
}

impl AttenuationRamp {
    fn new(limit: AttenuationLimit, hop_s: f64) -> Self {
        let gain = amplitude(limit);
        Self {
            gain,
            target: gain,
            step: 0.0,
            hops: (LIMIT_RAMP_S / hop_s).round().max(1.0) as f32,
        }
    }

    fn set(&mut self, limit: AttenuationLimit) {
        self.target = amplitude(limit);
        self.step = (self.target - self.gain) / self.hops;
    }

    fn advance(&mut self) {
        let left = self.target - self.gain;
        // The margin covers the rounding of the steps before.
        self.gain = if left.abs() <= self.step.abs() * 1.001 {
            self.target
        } else {
            self.gain + self.step
        };
    }

    fn reset(&mut self) {
        self.gain = self.target;
    }
}

/// An attenuation limit to the amplitude that remains; no limit to 0.
fn amplitude(limit: AttenuationLimit) -> f32 {
    10f32.powf(-limit.db() / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_takes_50_ms_whatever_the_hop() {
        for hop_s in [0.008, 0.01, 0.016] {
            let mut ramp = AttenuationRamp::new(AttenuationLimit::Db(0.0), hop_s);
            ramp.set(AttenuationLimit::Db(20.0));
            let mut hops = 0;
            while ramp.gain != ramp.target {
                ramp.advance();
                hops += 1;
            }
            let error_s = (f64::from(hops) * hop_s - LIMIT_RAMP_S).abs();
            assert!(error_s <= hop_s / 2.0 + 1e-6, "{hop_s} s: {hops} hops");
        }
    }
}
