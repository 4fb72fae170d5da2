//! Hop to spectrum and spectrum to hop: a windowed FFT with overlap-add.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::manifest::{Manifest, WindowShape};
use crate::shared::Shared;

/// Window and transforms of one size, shared by all channels of all streams.
pub(crate) struct Transform {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// [window] analysis window
    analysis: Vec<f32>,
    /// [window] synthesis window: overlap-added products with `analysis` sum to one
    synthesis: Vec<f32>,
    hop: usize,
}

/// What determines a transform.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Design {
    shape: WindowShape,
    /// samples
    window: usize,
    transform: usize,
    hop: usize,
}

static TRANSFORMS: Shared<Design, Transform> = Shared::new();

impl Transform {
    /// The transform of a model. Streams that exist share it.
    pub(crate) fn shared(manifest: &Manifest) -> Arc<Self> {
        let design = Design {
            shape: manifest.window_shape(),
            window: manifest.window(),
            transform: manifest.transform(),
            hop: manifest.hop(),
        };
        TRANSFORMS.get(design, |design| Self::new(*design))
    }

    /// The synthesis window is the analysis window divided by the sum of its overlapping squares: the
    /// least-squares inverse (Griffin & Lim 1984, eq. 6).
    fn new(design: Design) -> Self {
        let Design {
            shape,
            window,
            transform,
            hop,
        } = design;
        let mut planner = RealFftPlanner::new();
        let analysis: Vec<f64> = (0..window).map(|n| shape.at(n, window)).collect();
        let overlapped: Vec<f64> = (0..hop)
            .map(|n| analysis[n..].iter().step_by(hop).map(|w| w * w).sum())
            .collect();
        let synthesis = |n: usize| (analysis[n] / overlapped[n % hop].max(1e-9)) as f32;
        Self {
            forward: planner.plan_fft_forward(transform),
            inverse: planner.plan_fft_inverse(transform),
            synthesis: (0..window).map(synthesis).collect(),
            analysis: analysis.iter().map(|w| *w as f32).collect(),
            hop,
        }
    }

    fn window(&self) -> usize {
        self.analysis.len()
    }

    fn len(&self) -> usize {
        self.forward.len()
    }

    /// Factor from |X|^2, summed over one-sided bins, to the mean square of the windowed samples
    /// (Parseval's theorem; DC and Nyquist count double, which is negligible for the features).
    pub(crate) fn power_scale(&self) -> f32 {
        let energy: f64 = self.analysis.iter().map(|w| f64::from(*w).powi(2)).sum();
        (2.0 / (self.len() as f64 * energy)) as f32
    }
}

impl WindowShape {
    /// Sample `n` of a window of `window` samples.
    fn at(self, n: usize, window: usize) -> f64 {
        let (pi, n, window) = (std::f64::consts::PI, n as f64, window as f64);
        match self {
            Self::SqrtHann => (pi * n / window).sin(),
            Self::SqrtHannSymmetric => (pi * n / (window - 1.0)).sin(),
            Self::Hann => (pi * n / window).sin().powi(2),
            Self::Rectangular => 1.0,
            Self::Vorbis => (pi / 2.0 * (pi * (n + 0.5) / window).sin().powi(2)).sin(),
        }
    }
}

/// Analysis and synthesis state of one channel.
pub(crate) struct Stft {
    transform: Arc<Transform>,
    /// [window] latest samples
    latest: Vec<f32>,
    /// [transform] windowed samples, then the output of the inverse transform
    windowed: Vec<f32>,
    /// [window - hop] sums that later hops complete
    overlap: Vec<f32>,
    scratch: Vec<Complex32>,
}

impl Stft {
    pub(crate) fn new(transform: &Arc<Transform>) -> Self {
        let (window, hop) = (transform.window(), transform.hop);
        let scratch = transform
            .forward
            .get_scratch_len()
            .max(transform.inverse.get_scratch_len());
        Self {
            transform: transform.clone(),
            latest: vec![0.0; window],
            windowed: vec![0.0; transform.len()],
            overlap: vec![0.0; window - hop],
            scratch: vec![Complex32::default(); scratch],
        }
    }

    /// Reads one hop of samples and writes `[bins]`.
    pub(crate) fn analyze(&mut self, hop: &[f32], spectrum: &mut [Complex32]) {
        let keep = self.latest.len() - hop.len();
        self.latest.copy_within(hop.len().., 0);
        self.latest[keep..].copy_from_slice(hop);
        self.windowed[self.latest.len()..].fill(0.0);
        for ((out, x), w) in self
            .windowed
            .iter_mut()
            .zip(&self.latest)
            .zip(&self.transform.analysis)
        {
            *out = x * w;
        }
        self.transform
            .forward
            .process_with_scratch(&mut self.windowed, spectrum, &mut self.scratch)
            .expect("buffers were sized by this transform");
    }

    /// Inverse transform of `[bins]`, which it overwrites. Returns `[window]` samples, still multiplied
    /// by the analysis window.
    pub(crate) fn invert(&mut self, spectrum: &mut [Complex32]) -> &mut [f32] {
        // These two bins of a real signal are real; rounding may leave an imaginary part.
        let last = spectrum.len() - 1;
        spectrum[0].im = 0.0;
        spectrum[last].im = 0.0;
        self.transform
            .inverse
            .process_with_scratch(spectrum, &mut self.windowed, &mut self.scratch)
            .expect("buffers were sized by this transform, and the real bins are real");
        let scale = 1.0 / self.windowed.len() as f32;
        let window = &mut self.windowed[..self.latest.len()];
        for x in &mut *window {
            *x *= scale;
        }
        window
    }

    /// Inverse transform and overlap-add of `[bins]`, which it overwrites. Writes one hop: the samples
    /// that lie `window - hop` before those of the matching call of `analyze`.
    pub(crate) fn synthesize(&mut self, spectrum: &mut [Complex32], hop: &mut [f32]) {
        self.invert(spectrum);
        for (x, w) in self.windowed.iter_mut().zip(&self.transform.synthesis) {
            *x *= w;
        }
        self.add(hop);
    }

    /// Overlap-adds `[window]` samples without a synthesis window. Writes one hop.
    pub(crate) fn overlap_add(&mut self, window: &[f32], hop: &mut [f32]) {
        self.windowed[..window.len()].copy_from_slice(window);
        self.add(hop);
    }

    /// The `[window]` samples for which [`overlap_add`](Self::overlap_add) reconstructs the input.
    pub(crate) fn dry_window(&self) -> impl Iterator<Item = f32> {
        let windows = self
            .transform
            .analysis
            .iter()
            .zip(&self.transform.synthesis);
        self.latest.iter().zip(windows).map(|(x, (a, s))| x * a * s)
    }

    /// Overlap-adds the windowed samples and writes the hop that is complete.
    fn add(&mut self, hop: &mut [f32]) {
        let step = hop.len();
        let (done, later) = self.windowed[..self.latest.len()].split_at(step);
        let done_before = self.overlap.len().min(step);
        hop.copy_from_slice(done);
        for (out, sum) in hop.iter_mut().zip(&self.overlap) {
            *out += sum;
        }
        let keep = self.overlap.len() - done_before;
        self.overlap.copy_within(done_before.., 0);
        self.overlap[keep..].fill(0.0);
        for (sum, x) in self.overlap.iter_mut().zip(later) {
            *sum += x;
        }
    }

    pub(crate) fn reset(&mut self) {
        self.latest.fill(0.0);
        self.overlap.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_spectra_reconstruct_the_input() {
        use WindowShape::{Hann, Rectangular, SqrtHann, SqrtHannSymmetric, Vorbis};
        for (shape, window, fft, hop) in [
            (SqrtHann, 960, 960, 480),
            (SqrtHann, 512, 512, 128),
            (SqrtHann, 960, 1024, 512),
            (SqrtHannSymmetric, 320, 320, 160),
            (Hann, 512, 512, 256),
            (Rectangular, 512, 512, 128),
            (Vorbis, 960, 960, 480),
        ] {
            let transform = Arc::new(Transform::new(Design {
                shape,
                window,
                transform: fft,
                hop,
            }));
            let mut stft = Stft::new(&transform);
            let input: Vec<f32> = (0..hop * 12)
                .map(|n| ((n * n) as f32 * 0.01).sin())
                .collect();
            let mut spectrum = vec![Complex32::default(); fft / 2 + 1];
            let delay = window - hop;
            for windowed in [false, true] {
                let (mut output, mut block) = (Vec::new(), vec![0.0; hop]);
                stft.reset();
                for chunk in input.chunks(hop) {
                    stft.analyze(chunk, &mut spectrum);
                    if windowed {
                        let window: Vec<f32> = stft.dry_window().collect();
                        stft.overlap_add(&window, &mut block);
                    } else {
                        stft.synthesize(&mut spectrum, &mut block);
                    }
                    output.extend_from_slice(&block);
                }
                for (n, out) in output.iter().enumerate().skip(delay) {
                    assert!(
                        (out - input[n - delay]).abs() < 2e-6,
                        "{shape:?} {window}/{fft}/{hop} at {n}, windowed: {windowed}"
                    );
                }
            }
        }
    }

    #[test]
    fn power_scale_gives_the_mean_square() {
        let transform = Arc::new(Transform::new(Design {
            shape: WindowShape::SqrtHann,
            window: 960,
            transform: 960,
            hop: 480,
        }));
        let mut stft = Stft::new(&transform);
        let mut spectrum = vec![Complex32::default(); 481];
        for hop in 0..4 {
            let sine: Vec<f32> = (0..480)
                .map(|n| ((hop * 480 + n) as f32 * 0.3).sin())
                .collect();
            stft.analyze(&sine, &mut spectrum);
        }
        let sum: f32 = spectrum.iter().map(|x| x.norm_sqr()).sum();
        assert!((sum * transform.power_scale() - 0.5).abs() < 1e-3);
    }
}
