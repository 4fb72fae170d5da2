//! Spectrum to the input tensors of a model.
//!
//! `train/quietwire_train/frontend.py` has the same formulas in Python for the embedded models. Golden
//! vectors hold the two equal.

mod level_relative;
mod running_norm;

use realfft::num_complex::Complex32;

use crate::filterbank::add_powers;
use crate::manifest::{Layout, Manifest, Role, TensorSpec};
use level_relative::LevelRelative;
use running_norm::{BandMeanNorm, UnitNorm};

/// Lower bound of a power before its logarithm (NSNet2).
const LOG_POWER_FLOOR: f32 = 1e-12;

/// Computes one input tensor for one channel, or for several that share one mask.
pub(crate) struct FeatureExtractor {
    kind: Kind,
    spectrum_scale: f32,
    channels: usize,
    /// [bins] mean of |X|^2 over channels, `spectrum_scale` in it
    power: Vec<f32>,
}

enum Kind {
    LevelRelative(LevelRelative),
    BandMeanNorm(BandMeanNorm),
    UnitNorm(UnitNorm, Layout),
    Spectrum(Layout),
    Magnitude,
    LogPower,
}

impl FeatureExtractor {
    /// `None` for a tensor that is not computed from the spectrum: a state, an intermediate tensor, a
    /// windowed signal.
    pub(crate) fn new(
        manifest: &Manifest,
        tensor: &TensorSpec,
        power_scale: f32,
        channels: usize,
    ) -> Option<Self> {
        let checked = "a checked manifest has the tables of its roles";
        let layout = || tensor.layout.expect(checked);
        let kind = match tensor.role {
            Role::Features => {
                let features = manifest.features().expect(checked);
                Kind::LevelRelative(LevelRelative::new(
                    manifest,
                    features,
                    power_scale,
                    channels,
                ))
            }
            Role::BandLevels => {
                let widths = &manifest.bands().expect(checked).widths;
                Kind::BandMeanNorm(BandMeanNorm::new(
                    widths,
                    manifest.band_levels().expect(checked),
                ))
            }
            Role::UnitSpectrum => Kind::UnitNorm(
                UnitNorm::new(manifest.unit_spectrum().expect(checked)),
                layout(),
            ),
            Role::Spectrum => Kind::Spectrum(layout()),
            Role::Magnitude => Kind::Magnitude,
            Role::LogPower => Kind::LogPower,
            _ => return None,
        };
        Some(Self {
            kind,
            spectrum_scale: manifest.spectrum_scale(),
            channels,
            power: vec![0.0; manifest.bins()],
        })
    }

    /// Reads `[channels][bins]` and writes the tensor. A tensor with a whole spectrum has one channel.
    pub(crate) fn extract<'a>(
        &mut self,
        mut spectra: impl Iterator<Item = &'a [Complex32]> + Clone,
        tensor: &mut [f32],
    ) {
        let scale = self.spectrum_scale;
        let (kind, power) = (&mut self.kind, &mut self.power);
        if matches!(
            kind,
            Kind::BandMeanNorm(_) | Kind::Magnitude | Kind::LogPower
        ) {
            power.fill(0.0);
            let scale = scale * scale / self.channels as f32;
            for spectrum in spectra.clone() {
                add_powers(power, spectrum, scale);
            }
        }
        match kind {
            Kind::LevelRelative(relative) => relative.extract(spectra, tensor),
            Kind::BandMeanNorm(levels) => levels.extract(power, tensor),
            Kind::UnitNorm(unit, layout) => {
                let spectrum = spectra.next().expect("one channel at least");
                layout.write(unit.extract(spectrum, scale), 1.0, tensor);
            }
            Kind::Spectrum(layout) => {
                let spectrum = spectra.next().expect("one channel at least");
                layout.write(spectrum, scale, tensor);
            }
            Kind::Magnitude => {
                for (to, power) in tensor.iter_mut().zip(&*power) {
                    *to = power.sqrt();
                }
            }
            Kind::LogPower => {
                for (to, power) in tensor.iter_mut().zip(&*power) {
                    *to = power.max(LOG_POWER_FLOOR).log10();
                }
            }
        }
    }

    pub(crate) fn reset(&mut self) {
        match &mut self.kind {
            Kind::LevelRelative(relative) => relative.reset(),
            Kind::BandMeanNorm(levels) => levels.reset(),
            Kind::UnitNorm(unit, _) => unit.reset(),
            Kind::Spectrum(_) | Kind::Magnitude | Kind::LogPower => {}
        }
    }
}

impl Layout {
    /// Writes complex bins, times `scale`, to a tensor.
    fn write(self, bins: &[Complex32], scale: f32, tensor: &mut [f32]) {
        match self {
            Self::Interleaved => {
                for (to, x) in tensor.chunks_exact_mut(2).zip(bins) {
                    to[0] = x.re * scale;
                    to[1] = x.im * scale;
                }
            }
            Self::Planar => {
                let (re, im) = tensor.split_at_mut(bins.len());
                for ((re, im), x) in re.iter_mut().zip(im).zip(bins) {
                    *re = x.re * scale;
                    *im = x.im * scale;
                }
            }
        }
    }

    /// Reads complex bins, times `scale`, from a tensor.
    pub(crate) fn read(self, tensor: &[f32], scale: f32, bins: &mut [Complex32]) {
        match self {
            Self::Interleaved => {
                for (x, from) in bins.iter_mut().zip(tensor.chunks_exact(2)) {
                    *x = Complex32::new(from[0], from[1]) * scale;
                }
            }
            Self::Planar => {
                let (re, im) = tensor.split_at(bins.len());
                for ((x, re), im) in bins.iter_mut().zip(re).zip(im) {
                    *x = Complex32::new(*re, *im) * scale;
                }
            }
        }
    }
}
