//! Bins to bands and bands to bins.

use std::sync::Arc;

use realfft::num_complex::Complex32;

use crate::manifest::Manifest;
use crate::shared::Shared;
use crate::simd::simd_dispatch;

/// f32 lanes of the widest vector of all instruction sets (AVX-512).
const MAX_F32_LANES: usize = 16;

/// Filterbank of bins: triangular between neighboring centers, or side by side.
pub(crate) struct Filterbank {
    /// number of leading bands that are one bin each
    single_bin_bands: usize,
    /// the bins above those, in rising order
    segments: Vec<Segment>,
}

/// Consecutive bins that belong to the same two bands. Lanes past its end have weight 0 and belong
/// to the next segment.
struct Segment {
    first_bin: usize,
    lower: usize,
    upper: usize,
    /// weights of the bins in the lower and in the upper band
    lower_weights: [f32; MAX_F32_LANES],
    upper_weights: [f32; MAX_F32_LANES],
}

/// The weights of one bin in the two bands around it.
#[derive(Clone, Copy)]
struct BinWeight {
    /// index of the lower band
    lower: usize,
    /// weight in the lower band, 0 to 1; the upper band has the rest
    weight: f32,
}

/// What determines a filterbank.
#[derive(Debug, Clone, PartialEq)]
enum Design {
    Triangular { centers: Vec<usize> },
    Rectangular { widths: Vec<usize> },
}

static FILTERBANKS: Shared<Design, Filterbank> = Shared::new();

impl Filterbank {
    /// The bands that the gains of a model apply to. Streams that exist share them.
    pub(crate) fn of_gains(manifest: &Manifest) -> Arc<Self> {
        match (manifest.features(), manifest.bands()) {
            (Some(features), _) => Self::triangular(&features.bands.centers),
            (None, Some(bands)) => Self::rectangular(&bands.widths),
            (None, None) => Self::rectangular(&vec![1; manifest.bins()]),
        }
    }

    /// Triangular bands between neighboring centers. The weights of each bin add up to one.
    pub(crate) fn triangular(centers: &[usize]) -> Arc<Self> {
        Self::shared(Design::Triangular {
            centers: centers.to_vec(),
        })
    }

    fn rectangular(widths: &[usize]) -> Arc<Self> {
        Self::shared(Design::Rectangular {
            widths: widths.to_vec(),
        })
    }

    fn shared(design: Design) -> Arc<Self> {
        FILTERBANKS.get(design, |design| match design {
            Design::Triangular { centers } => Self::new_triangular(centers),
            Design::Rectangular { widths } => Self::new_rectangular(widths),
        })
    }

    fn new_triangular(centers: &[usize]) -> Self {
        let pairs = centers.windows(2).enumerate();
        let weights = pairs.flat_map(|(lower, pair)| {
            let width = pair[1] - pair[0];
            let weight = move |bin| (width - bin) as f32 / width as f32;
            (0..width).map(move |bin| BinWeight {
                lower,
                weight: weight(bin),
            })
        });
        let last = BinWeight {
            lower: centers.len() - 1,
            weight: 1.0,
        };
        Self::new(weights.chain([last]).collect(), centers.len())
    }

    fn new_rectangular(widths: &[usize]) -> Self {
        let bins = widths.iter().enumerate();
        let lower = bins.flat_map(|(lower, width)| (0..*width).map(move |_| lower));
        let weights = lower.map(|lower| BinWeight { lower, weight: 1.0 });
        Self::new(weights.collect(), widths.len())
    }

    fn new(weights: Vec<BinWeight>, bands: usize) -> Self {
        let is_single =
            |(bin, weight): &(usize, &BinWeight)| weight.lower == *bin && weight.weight == 1.0;
        let ends =
            |(bin, _): &(usize, &BinWeight)| weights.get(bin + 1).is_none_or(|w| w.lower > *bin);
        let bins = weights.iter().enumerate();
        let single_bin_bands = bins.take_while(|bin| is_single(bin) && ends(bin)).count();
        let mut segments: Vec<Segment> = Vec::new();
        for (bin, weight) in weights.iter().enumerate().skip(single_bin_bands) {
            let fits =
                |s: &&mut Segment| s.lower == weight.lower && bin < s.first_bin + MAX_F32_LANES;
            let segment = match segments.last_mut().filter(fits) {
                Some(segment) => segment,
                None => {
                    segments.push(Segment {
                        first_bin: bin,
                        lower: weight.lower,
                        upper: (weight.lower + 1).min(bands - 1),
                        lower_weights: [0.0; MAX_F32_LANES],
                        upper_weights: [0.0; MAX_F32_LANES],
                    });
                    segments.last_mut().expect("just pushed")
                }
            };
            segment.lower_weights[bin - segment.first_bin] = weight.weight;
            segment.upper_weights[bin - segment.first_bin] = 1.0 - weight.weight;
        }
        Self {
            single_bin_bands,
            segments,
        }
    }

    /// Length of a buffer of `bins`: the last bins must fill a vector too.
    pub(crate) fn padded(bins: usize) -> usize {
        bins + MAX_F32_LANES
    }

    /// `[padded bins]` powers to `[bands]` weighted sums.
    pub(crate) fn bins_to_bands(&self, power: &[f32], bands: &mut [f32]) {
        let (single, others) = bands.split_at_mut(self.single_bin_bands);
        single.copy_from_slice(&power[..self.single_bin_bands]);
        others.fill(0.0);
        bins_to_bands(&self.segments, power, bands);
    }

    /// `[bands]` gains to `[padded bins]` interpolated gains.
    pub(crate) fn bands_to_bins(&self, gains: &[f32], bin_gains: &mut [f32]) {
        bin_gains[..self.single_bin_bands].copy_from_slice(&gains[..self.single_bin_bands]);
        bands_to_bins(&self.segments, gains, bin_gains);
    }
}

simd_dispatch! {
    fn bins_to_bands<'a, S>(simd: S; segments: &'a [Segment], power: &'a [f32], bands: &'a mut [f32]) {
        for segment in segments {
            let (power, _) = S::as_simd_f32s(&power[segment.first_bin..][..MAX_F32_LANES]);
            let sum = |weights: &[f32; MAX_F32_LANES]| {
                let mut sum = simd.splat_f32s(0.0);
                for (weight, power) in S::as_simd_f32s(weights).0.iter().zip(power) {
                    sum = simd.add_f32s(sum, simd.mul_f32s(*weight, *power));
                }
                simd.reduce_sum_f32s(sum)
            };
            bands[segment.lower] += sum(&segment.lower_weights);
            bands[segment.upper] += sum(&segment.upper_weights);
        }
    }
}

simd_dispatch! {
    fn bands_to_bins<'a, S>(simd: S; segments: &'a [Segment], gains: &'a [f32], bin_gains: &'a mut [f32]) {
        for segment in segments {
            let lower = simd.splat_f32s(gains[segment.lower]);
            let upper = simd.splat_f32s(gains[segment.upper]);
            let (bin_gains, _) = S::as_mut_simd_f32s(&mut bin_gains[segment.first_bin..][..MAX_F32_LANES]);
            let (lower_weights, _) = S::as_simd_f32s(&segment.lower_weights);
            let (upper_weights, _) = S::as_simd_f32s(&segment.upper_weights);
            for ((out, in_lower), in_upper) in bin_gains.iter_mut().zip(lower_weights).zip(upper_weights) {
                let (a, b) = (simd.mul_f32s(*in_lower, lower), simd.mul_f32s(*in_upper, upper));
                *out = simd.add_f32s(a, b);
            }
        }
    }
}

simd_dispatch! {
    /// Adds |X|^2 times `scale` of each bin.
    pub(crate) fn add_powers<'a>(sums: &'a mut [f32], spectrum: &'a [Complex32], scale: f32) {
        for (sum, x) in sums.iter_mut().zip(spectrum) {
            *sum += (x.re * x.re + x.im * x.im) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTERS: [usize; 8] = [0, 1, 2, 3, 5, 9, 22, 40];

    #[test]
    fn powers_are_split_between_the_two_bands_around_a_bin() {
        let bands = Filterbank::triangular(&CENTERS);
        for bin in 0..=40 {
            let mut power = vec![0.0; Filterbank::padded(41)];
            power[bin] = 1.0;
            let mut sums = [9.0; 8];
            bands.bins_to_bands(&power, &mut sums);
            let center: f32 = (0..8).map(|band| sums[band] * CENTERS[band] as f32).sum();
            assert!((sums.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{bin}");
            assert!((center - bin as f32).abs() < 1e-5, "{bin}: {sums:?}");
            assert!(sums.iter().filter(|sum| **sum > 0.0).count() <= 2, "{bin}");
        }
    }

    #[test]
    fn gains_are_interpolated_between_the_centers() {
        let mut bin_gains = vec![9.0; Filterbank::padded(41)];
        let gains = CENTERS.map(|bin| bin as f32 / 40.0);
        Filterbank::triangular(&CENTERS).bands_to_bins(&gains, &mut bin_gains);
        for (bin, gain) in bin_gains[..41].iter().enumerate() {
            assert!((gain - bin as f32 / 40.0).abs() < 1e-6, "{bin}");
        }
    }

    #[test]
    fn rectangular_bands_have_one_gain_each() {
        let widths = [1, 1, 2, 11, 3];
        let mut bin_gains = vec![9.0; Filterbank::padded(18)];
        Filterbank::rectangular(&widths).bands_to_bins(&[0.1, 0.2, 0.3, 0.4, 0.5], &mut bin_gains);
        let bins = widths.iter().zip([0.1, 0.2, 0.3, 0.4, 0.5]);
        let expected: Vec<f32> = bins.flat_map(|(w, g)| vec![g; *w]).collect();
        assert_eq!(bin_gains[..18], expected);
    }
}
