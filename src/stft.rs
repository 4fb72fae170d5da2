//! Hop to spectrum and spectrum to hop: a windowed FFT with overlap-add.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Window and transforms of one size, shared by all channels.
#[derive(Clone)]
pub(crate) struct Transform {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// [window] analysis window
    analysis: Arc<[f32]>,
    /// [window] synthesis window; overlap-added products with `analysis` sum to one, and the
    /// inverse transform's factor is in it
    synthesis: Arc<[f32]>,
    hop: usize,
}

impl Transform {
    /// A square-root periodic Hann window on both sides: sin(pi n / window). Its squares overlap
    /// to a constant for every hop that divides half a window (Griffin & Lim 1984).
    pub(crate) fn new(window: usize, hop: usize) -> Self {
        let mut planner = RealFftPlanner::new();
        let sine = |n: usize| (std::f64::consts::PI * n as f64 / window as f64).sin();
        // sum over overlapping windows of sin^2 = window / (2 hop)
        let scale = 2.0 * hop as f64 / window as f64 / window as f64;
        Self {
            forward: planner.plan_fft_forward(window),
            inverse: planner.plan_fft_inverse(window),
            analysis: (0..window).map(|n| sine(n) as f32).collect(),
            synthesis: (0..window).map(|n| (sine(n) * scale) as f32).collect(),
            hop,
        }
    }

    fn window(&self) -> usize {
        self.analysis.len()
    }

    /// Factor from |X|^2, summed over one-sided bins, to the mean square of the windowed frame
    /// (Parseval's theorem; DC and Nyquist count double, which no feature minds).
    pub(crate) fn power_scale(&self) -> f32 {
        let energy: f64 = self.analysis.iter().map(|w| f64::from(*w).powi(2)).sum();
        (2.0 / (self.window() as f64 * energy)) as f32
    }
}

/// Analysis and synthesis state of one channel.
pub(crate) struct Stft {
    transform: Transform,
    /// [window] latest samples
    recent: Vec<f32>,
    /// [window] windowed samples, then the inverse transform's output
    frame: Vec<f32>,
    /// [window - hop] sums still to be completed by later hops
    overlap: Vec<f32>,
    scratch: Vec<Complex32>,
}

impl Stft {
    pub(crate) fn new(transform: &Transform) -> Self {
        let (window, hop) = (transform.window(), transform.hop);
        let scratch = transform
            .forward
            .get_scratch_len()
            .max(transform.inverse.get_scratch_len());
        Self {
            transform: transform.clone(),
            recent: vec![0.0; window],
            frame: vec![0.0; window],
            overlap: vec![0.0; window - hop],
            scratch: vec![Complex32::default(); scratch],
        }
    }

    /// Takes one hop of samples, writes `[bins]`.
    pub(crate) fn analyse(&mut self, hop: &[f32], spectrum: &mut [Complex32]) {
        let keep = self.recent.len() - hop.len();
        self.recent.copy_within(hop.len().., 0);
        self.recent[keep..].copy_from_slice(hop);
        for ((out, x), w) in self
            .frame
            .iter_mut()
            .zip(&self.recent)
            .zip(&*self.transform.analysis)
        {
            *out = x * w;
        }
        self.transform
            .forward
            .process_with_scratch(&mut self.frame, spectrum, &mut self.scratch)
            .expect("buffers were sized by this transform");
    }

    /// Takes `[bins]`, which it spoils, and writes one hop: the samples `window - hop` before
    /// those that the same hop of `analyse` took.
    pub(crate) fn synthesise(&mut self, spectrum: &mut [Complex32], hop: &mut [f32]) {
        // The two real bins of a real signal; rounding may have left a trace.
        let last = spectrum.len() - 1;
        spectrum[0].im = 0.0;
        spectrum[last].im = 0.0;
        self.transform
            .inverse
            .process_with_scratch(spectrum, &mut self.frame, &mut self.scratch)
            .expect("buffers were sized by this transform, and the real bins are real");
        for (x, w) in self.frame.iter_mut().zip(&*self.transform.synthesis) {
            *x *= w;
        }
        let step = hop.len();
        let (done, later) = self.frame.split_at(step);
        for ((out, x), sum) in hop.iter_mut().zip(done).zip(&self.overlap) {
            *out = x + sum;
        }
        let keep = self.overlap.len() - step;
        self.overlap.copy_within(step.., 0);
        self.overlap[keep..].fill(0.0);
        for (sum, x) in self.overlap.iter_mut().zip(later) {
            *sum += x;
        }
    }

    pub(crate) fn reset(&mut self) {
        self.recent.fill(0.0);
        self.overlap.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_spectra_give_the_input_back() {
        for (window, hop) in [(960, 480), (512, 128), (320, 160)] {
            let transform = Transform::new(window, hop);
            let mut stft = Stft::new(&transform);
            let input: Vec<f32> = (0..hop * 12)
                .map(|n| ((n * n) as f32 * 0.01).sin())
                .collect();
            let mut output = Vec::new();
            let mut spectrum = vec![Complex32::default(); transform.window() / 2 + 1];
            let mut block = vec![0.0; hop];
            for chunk in input.chunks(hop) {
                stft.analyse(chunk, &mut spectrum);
                stft.synthesise(&mut spectrum, &mut block);
                output.extend_from_slice(&block);
            }
            let delay = window - hop;
            for (n, out) in output.iter().enumerate().skip(delay) {
                assert!(
                    (out - input[n - delay]).abs() < 1e-6,
                    "{window}/{hop} at {n}"
                );
            }
        }
    }

    #[test]
    fn power_scale_gives_the_mean_square() {
        let transform = Transform::new(960, 480);
        let mut stft = Stft::new(&transform);
        let mut spectrum = vec![Complex32::default(); transform.window() / 2 + 1];
        for hop in 0..4 {
            let sine: Vec<f32> = (0..480)
                .map(|n| ((hop * 480 + n) as f32 * 0.3).sin())
                .collect();
            stft.analyse(&sine, &mut spectrum);
        }
        let sum: f32 = spectrum.iter().map(|x| x.norm_sqr()).sum();
        assert!((sum * transform.power_scale() - 0.5).abs() < 1e-3);
    }
}
