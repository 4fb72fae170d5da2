//! Bins to bands and back.

use crate::model::spec::Spec;

/// One bin's share of the two bands around it.
pub(super) struct Share {
    /// lower band's index
    pub(super) lower: usize,
    /// share of the lower band, 0..=1; the rest is the upper band's
    pub(super) share: f32,
}

/// `[bands]` gains to `[bins]`: linearly between the centres of hat bands, one for all bins of
/// bands side by side.
pub(crate) struct BandGains {
    bands: Vec<Share>,
}

impl BandGains {
    pub(crate) fn new(spec: &Spec) -> Self {
        let bands = match (spec.features(), spec.bands()) {
            (Some(features), _) => shares(&features.bands.centres),
            (None, Some(bands)) => side_by_side(&bands.widths),
            (None, None) => side_by_side(&vec![1; spec.bins()]),
        };
        Self { bands }
    }

    pub(crate) fn spread(&self, gains: &[f32], curve: &mut [f32]) {
        for (out, band) in curve.iter_mut().zip(&self.bands) {
            *out = band.share * gains[band.lower];
            if band.share < 1.0 {
                *out += (1.0 - band.share) * gains[band.lower + 1];
            }
        }
    }
}

/// Hat functions between neighbouring centres: every bin's shares add up to one.
pub(super) fn shares(centres: &[usize]) -> Vec<Share> {
    let mut bands = Vec::with_capacity(centres.last().map_or(0, |last| last + 1));
    for (lower, pair) in centres.windows(2).enumerate() {
        for bin in pair[0]..pair[1] {
            bands.push(Share {
                lower,
                share: (pair[1] - bin) as f32 / (pair[1] - pair[0]) as f32,
            });
        }
    }
    bands.push(Share {
        lower: centres.len() - 1,
        share: 1.0,
    });
    bands
}

fn side_by_side(widths: &[usize]) -> Vec<Share> {
    let bins = widths.iter().enumerate();
    bins.flat_map(|(lower, width)| (0..*width).map(move |_| Share { lower, share: 1.0 }))
        .collect()
}
