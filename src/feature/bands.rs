//! Bins to bands and back.

use crate::model::spec::Spec;
use crate::wide::wide;

/// Bins that the widest vector holds.
const LANES: usize = 16;

/// Bands of bins: hats between neighbouring centres, or side by side.
pub(crate) struct Bands {
    /// as many of the first bands as are one bin each
    narrow: usize,
    /// the bins above, in their order
    stretches: Vec<Stretch>,
}

/// A few bins that the same two bands share. What lies past its end belongs to the next.
struct Stretch {
    first_bin: usize,
    lower: usize,
    upper: usize,
    /// of the lower band and of the upper one; 0 past the stretch's end
    lower_shares: [f32; LANES],
    upper_shares: [f32; LANES],
}

/// One bin's share of the two bands around it.
#[derive(Clone, Copy)]
struct Share {
    /// lower band's index
    lower: usize,
    /// share of the lower band, 0..=1; the rest is the upper band's
    share: f32,
}

impl Bands {
    /// Those that the gains of a model are for.
    pub(crate) fn of_gains(spec: &Spec) -> Self {
        match (spec.features(), spec.bands()) {
            (Some(features), _) => Self::hats(&features.bands.centres),
            (None, Some(bands)) => Self::side_by_side(&bands.widths),
            (None, None) => Self::side_by_side(&vec![1; spec.bins()]),
        }
    }

    /// Hat functions between neighbouring centres: every bin's shares add up to one.
    pub(super) fn hats(centres: &[usize]) -> Self {
        let pairs = centres.windows(2).enumerate();
        let shares = pairs.flat_map(|(lower, pair)| {
            let width = pair[1] - pair[0];
            let share = move |bin| (width - bin) as f32 / width as f32;
            (0..width).map(move |bin| Share {
                lower,
                share: share(bin),
            })
        });
        let last = Share {
            lower: centres.len() - 1,
            share: 1.0,
        };
        Self::new(shares.chain([last]).collect(), centres.len())
    }

    fn side_by_side(widths: &[usize]) -> Self {
        let bins = widths.iter().enumerate();
        let shares = bins.flat_map(|(lower, width)| (0..*width).map(move |_| lower));
        let shares = shares.map(|lower| Share { lower, share: 1.0 });
        Self::new(shares.collect(), widths.len())
    }

    fn new(shares: Vec<Share>, bands: usize) -> Self {
        let is_narrow = |(bin, share): &(usize, &Share)| share.lower == *bin && share.share == 1.0;
        let alone = |(bin, _): &(usize, &Share)| shares.get(bin + 1).is_none_or(|s| s.lower > *bin);
        let first = shares.iter().enumerate();
        let narrow = first.take_while(|s| is_narrow(s) && alone(s)).count();
        let mut stretches: Vec<Stretch> = Vec::new();
        for (bin, share) in shares.iter().enumerate().skip(narrow) {
            let fits = |s: &&mut Stretch| s.lower == share.lower && bin < s.first_bin + LANES;
            let stretch = match stretches.last_mut().filter(fits) {
                Some(stretch) => stretch,
                None => {
                    stretches.push(Stretch {
                        first_bin: bin,
                        lower: share.lower,
                        upper: (share.lower + 1).min(bands - 1),
                        lower_shares: [0.0; LANES],
                        upper_shares: [0.0; LANES],
                    });
                    stretches.last_mut().expect("just pushed")
                }
            };
            stretch.lower_shares[bin - stretch.first_bin] = share.share;
            stretch.upper_shares[bin - stretch.first_bin] = 1.0 - share.share;
        }
        Self { narrow, stretches }
    }

    /// Numbers that buffers of `bins` have here, so that the last ones are a vector too.
    pub(crate) fn padded(bins: usize) -> usize {
        bins + LANES
    }

    /// [padded bins] powers to the sums of [bands].
    pub(super) fn gather(&self, power: &[f32], bands: &mut [f32]) {
        let (narrow, others) = bands.split_at_mut(self.narrow);
        narrow.copy_from_slice(&power[..self.narrow]);
        others.fill(0.0);
        gather(&self.stretches, power, bands);
    }

    /// [bands] gains to a `curve` of [padded bins].
    pub(crate) fn spread(&self, gains: &[f32], curve: &mut [f32]) {
        curve[..self.narrow].copy_from_slice(&gains[..self.narrow]);
        spread(&self.stretches, gains, curve);
    }
}

wide! {
    fn gather<'a, S>(simd: S; stretches: &'a [Stretch], power: &'a [f32], bands: &'a mut [f32]) {
        for stretch in stretches {
            let (power, _) = S::as_simd_f32s(&power[stretch.first_bin..][..LANES]);
            let sum = |shares: &[f32; LANES]| {
                let mut sum = simd.splat_f32s(0.0);
                for (share, power) in S::as_simd_f32s(shares).0.iter().zip(power) {
                    sum = simd.add_f32s(sum, simd.mul_f32s(*share, *power));
                }
                simd.reduce_sum_f32s(sum)
            };
            bands[stretch.lower] += sum(&stretch.lower_shares);
            bands[stretch.upper] += sum(&stretch.upper_shares);
        }
    }
}

wide! {
    fn spread<'a, S>(simd: S; stretches: &'a [Stretch], gains: &'a [f32], curve: &'a mut [f32]) {
        for stretch in stretches {
            let lower = simd.splat_f32s(gains[stretch.lower]);
            let upper = simd.splat_f32s(gains[stretch.upper]);
            let (curve, _) = S::as_mut_simd_f32s(&mut curve[stretch.first_bin..][..LANES]);
            let (lower_shares, _) = S::as_simd_f32s(&stretch.lower_shares);
            let (upper_shares, _) = S::as_simd_f32s(&stretch.upper_shares);
            for ((out, in_lower), in_upper) in curve.iter_mut().zip(lower_shares).zip(upper_shares) {
                let (a, b) = (simd.mul_f32s(*in_lower, lower), simd.mul_f32s(*in_upper, upper));
                *out = simd.add_f32s(a, b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTRES: [usize; 8] = [0, 1, 2, 3, 5, 9, 22, 40];

    #[test]
    fn powers_go_to_the_bands_around_their_bins() {
        let bands = Bands::hats(&CENTRES);
        for bin in 0..=40 {
            let mut power = vec![0.0; Bands::padded(41)];
            power[bin] = 1.0;
            let mut sums = [9.0; 8];
            bands.gather(&power, &mut sums);
            let centre: f32 = (0..8).map(|band| sums[band] * CENTRES[band] as f32).sum();
            assert!((sums.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{bin}");
            assert!((centre - bin as f32).abs() < 1e-5, "{bin}: {sums:?}");
            assert!(sums.iter().filter(|sum| **sum > 0.0).count() <= 2, "{bin}");
        }
    }

    #[test]
    fn gains_are_straight_lines_between_the_centres() {
        let mut curve = vec![9.0; Bands::padded(41)];
        let gains = CENTRES.map(|bin| bin as f32 / 40.0);
        Bands::hats(&CENTRES).spread(&gains, &mut curve);
        for (bin, gain) in curve[..41].iter().enumerate() {
            assert!((gain - bin as f32 / 40.0).abs() < 1e-6, "{bin}");
        }
    }

    #[test]
    fn bands_side_by_side_have_one_gain_each() {
        let widths = [1, 1, 2, 11, 3];
        let mut curve = vec![9.0; Bands::padded(18)];
        Bands::side_by_side(&widths).spread(&[0.1, 0.2, 0.3, 0.4, 0.5], &mut curve);
        let bins = widths.iter().zip([0.1, 0.2, 0.3, 0.4, 0.5]);
        let expected: Vec<f32> = bins.flat_map(|(w, g)| vec![g; *w]).collect();
        assert_eq!(curve[..18], expected);
    }
}
