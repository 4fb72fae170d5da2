//! Spectrum to what a model hears.
//!
//! `train/quietwire_train/frontend.py` is the same for our own models in Python; golden vectors
//! pin the two.

mod bands;
mod decibels;
mod relative;
mod running;

use realfft::num_complex::Complex32;

pub(crate) use bands::Bands;

use crate::model::spec::{Layout, Role, Spec, TensorSpec};
use crate::wide::wide;
use relative::Relative;
use running::{Levels, Unit};

/// 10^-12, the least power that a logarithm sees (NSNet2's feature).
const LOG_POWER_FLOOR: f32 = 1e-12;

/// Makes one input tensor, for one channel or for several that share one mask.
pub(crate) struct FeatureMaker {
    kind: Kind,
    spectrum_scale: f32,
    channels: usize,
    /// [bins] mean of |X|^2 over channels, `spectrum_scale` in it
    power: Vec<f32>,
}

enum Kind {
    Relative(Relative),
    Levels(Levels),
    Unit(Unit, Layout),
    Spectrum(Layout),
    Magnitude,
    LogPower,
}

impl FeatureMaker {
    /// None for a tensor that is not made of the spectrum: a state, a link, a frame.
    pub(crate) fn new(
        spec: &Spec,
        tensor: &TensorSpec,
        power_scale: f32,
        channels: usize,
    ) -> Option<Self> {
        let checked = "a checked manifest has the tables of its roles";
        let layout = || tensor.layout.expect(checked);
        let kind = match tensor.role {
            Role::Features => {
                let features = spec.features().expect(checked);
                Kind::Relative(Relative::new(spec, features, power_scale, channels))
            }
            Role::BandLevels => {
                let widths = &spec.bands().expect(checked).widths;
                Kind::Levels(Levels::new(widths, spec.band_levels().expect(checked)))
            }
            Role::UnitSpectrum => {
                Kind::Unit(Unit::new(spec.unit_spectrum().expect(checked)), layout())
            }
            Role::Spectrum => Kind::Spectrum(layout()),
            Role::Magnitude => Kind::Magnitude,
            Role::LogPower => Kind::LogPower,
            _ => return None,
        };
        Some(Self {
            kind,
            spectrum_scale: spec.spectrum_scale(),
            channels,
            power: vec![0.0; spec.bins()],
        })
    }

    /// Takes `[channels][bins]`, fills the tensor. Whole spectra are of one channel.
    pub(crate) fn run<'a>(
        &mut self,
        mut spectra: impl Iterator<Item = &'a [Complex32]> + Clone,
        tensor: &mut [f32],
    ) {
        let scale = self.spectrum_scale;
        let (kind, power) = (&mut self.kind, &mut self.power);
        if matches!(kind, Kind::Levels(_) | Kind::Magnitude | Kind::LogPower) {
            power.fill(0.0);
            let scale = scale * scale / self.channels as f32;
            for spectrum in spectra.clone() {
                add_powers(power, spectrum, scale);
            }
        }
        match kind {
            Kind::Relative(relative) => relative.run(spectra, tensor),
            Kind::Levels(levels) => levels.run(power, tensor),
            Kind::Unit(unit, layout) => {
                let spectrum = spectra.next().expect("one channel at least");
                layout.write(unit.run(spectrum, scale), 1.0, tensor);
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
            Kind::Relative(relative) => relative.reset(),
            Kind::Levels(levels) => levels.reset(),
            Kind::Unit(unit, _) => unit.reset(),
            Kind::Spectrum(_) | Kind::Magnitude | Kind::LogPower => {}
        }
    }
}

impl Layout {
    /// Complex bins, each times `scale`, to a tensor.
    fn write(self, bins: &[Complex32], scale: f32, tensor: &mut [f32]) {
        match self {
            Self::BinPart => {
                for (to, x) in tensor.chunks_exact_mut(2).zip(bins) {
                    to[0] = x.re * scale;
                    to[1] = x.im * scale;
                }
            }
            Self::PartBin => {
                let (re, im) = tensor.split_at_mut(bins.len());
                for ((re, im), x) in re.iter_mut().zip(im).zip(bins) {
                    *re = x.re * scale;
                    *im = x.im * scale;
                }
            }
        }
    }

    /// A tensor to complex bins, each times `scale`.
    pub(crate) fn read(self, tensor: &[f32], scale: f32, bins: &mut [Complex32]) {
        match self {
            Self::BinPart => {
                for (x, from) in bins.iter_mut().zip(tensor.chunks_exact(2)) {
                    *x = Complex32::new(from[0], from[1]) * scale;
                }
            }
            Self::PartBin => {
                let (re, im) = tensor.split_at(bins.len());
                for ((x, re), im) in bins.iter_mut().zip(re).zip(im) {
                    *x = Complex32::new(*re, *im) * scale;
                }
            }
        }
    }
}

wide! {
    /// Adds |X|^2 `scale` of each bin.
    fn add_powers<'a>(sums: &'a mut [f32], spectrum: &'a [Complex32], scale: f32) {
        for (sum, x) in sums.iter_mut().zip(spectrum) {
            *sum += (x.re * x.re + x.im * x.im) * scale;
        }
    }
}
