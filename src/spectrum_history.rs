//! The latest spectra of one channel.

use realfft::num_complex::Complex32;

use crate::manifest::Manifest;

/// Spectra of one channel: the newest hop and as many earlier ones as the mask reaches back.
pub(crate) struct SpectrumHistory {
    /// [depth][bins]
    spectra: Vec<Vec<Complex32>>,
    newest: usize,
}

impl SpectrumHistory {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let reach = manifest.taps().map_or(1, |taps| taps.order - taps.ahead);
        let depth = manifest.lookahead() + reach;
        Self {
            spectra: vec![vec![Complex32::default(); manifest.bins()]; depth],
            newest: 0,
        }
    }

    /// Drops the oldest spectrum and returns the place of the newest, `[bins]`.
    pub(crate) fn advance(&mut self) -> &mut [Complex32] {
        self.newest = (self.newest + 1) % self.spectra.len();
        &mut self.spectra[self.newest]
    }

    /// The spectrum `hops` before the newest, `[bins]`.
    pub(crate) fn delayed(&self, hops: usize) -> &[Complex32] {
        let depth = self.spectra.len();
        &self.spectra[(self.newest + depth - hops) % depth]
    }

    pub(crate) fn reset(&mut self) {
        for spectrum in &mut self.spectra {
            spectrum.fill(Complex32::default());
        }
    }
}
