//! The rules of the tables besides the graphs.

use std::ops::RangeInclusive;

use super::require::{require, require_finite, require_in_range, require_positive};
use crate::error::Error;
use crate::manifest::raw::RawManifest;
use crate::manifest::tables::{BandLevels, Bands, Features, FrontEnd, Gate, UnitSpectrum};
use crate::manifest::tensors::Role;

/// Samples at the model's rate.
const HOP_RANGE: RangeInclusive<usize> = 16..=16_384;
const RATE_RANGE_HZ: RangeInclusive<u32> = 8_000..=192_000;
/// Hops.
const MAX_LOOKAHEAD: usize = 16;
/// Hops per window.
const MAX_OVERLAP: usize = 16;
/// Windows per transform.
const MAX_PADDING: usize = 4;
const FLOOR_RANGE_DBFS: RangeInclusive<f32> = -160.0..=0.0;

pub(super) fn check(raw: &RawManifest) -> Result<(), Error> {
    check_front_end(&raw.front_end, raw.transform())?;
    let [low, high] = raw.intended_use.input_rates_hz;
    require(
        low <= high,
        "domain.input_rates_hz",
        "the lowest rate, then the highest rate",
        format!("[{low}, {high}]"),
    )?;
    if let Some(features) = &raw.features {
        check_features(features, raw.bins())?;
    }
    if let Some(bands) = &raw.bands {
        check_bands(bands, raw)?;
    }
    if let Some(levels) = &raw.band_levels {
        check_band_levels(levels, raw)?;
    }
    if let Some(unit) = &raw.unit_spectrum {
        check_unit_spectrum(unit, raw.bins())?;
    }
    raw.gate.map_or(Ok(()), |gate| check_gate(gate, raw))
}

fn check_front_end(front_end: &FrontEnd, transform: usize) -> Result<(), Error> {
    let &FrontEnd {
        rate_hz,
        window,
        hop,
        lookahead,
        spectrum_scale,
        ..
    } = front_end;
    require_in_range("front_end.rate_hz", rate_hz, &RATE_RANGE_HZ)?;
    require_in_range("front_end.hop", hop, &HOP_RANGE)?;
    require_in_range("front_end.lookahead", lookahead, &(0..=MAX_LOOKAHEAD))?;
    require(
        // With a window of one hop, the samples at its ends would be lost: the window is 0 there.
        window.is_multiple_of(2) && window > hop && window <= MAX_OVERLAP * hop,
        "front_end.window",
        format!("an even number above the hop, {hop}, and at most {MAX_OVERLAP} hops"),
        window,
    )?;
    require(
        transform.is_multiple_of(2) && (window..=MAX_PADDING * window).contains(&transform),
        "front_end.transform",
        format!("an even number from {window}, the window, to {MAX_PADDING} windows"),
        transform,
    )?;
    require_positive("front_end.spectrum_scale", spectrum_scale)
}

fn check_features(features: &Features, bins: usize) -> Result<(), Error> {
    let Features {
        bands,
        phase_advance,
        level,
    } = features;
    let is_rising = bands.centers.windows(2).all(|pair| pair[0] < pair[1]);
    let (first, last) = (bands.centers.first(), bands.centers.last());
    require(
        is_rising && first == Some(&0) && last == Some(&(bins - 1)),
        "features.bands.centers",
        format!("rising bins from 0 to {}", bins - 1),
        match (first, last) {
            (Some(first), Some(last)) if is_rising => format!("{first} to {last}"),
            (Some(_), Some(_)) => "bins that do not rise".into(),
            _ => "no bins".into(),
        },
    )?;
    let (low, high) = (bands.range_low_db, bands.range_high_db);
    require_finite("features.bands.range_low_db", &[low])?;
    require_finite("features.bands.range_high_db", &[high])?;
    require(
        low < high,
        "features.bands.range_high_db",
        format!("a number above range_low_db, {low}"),
        high,
    )?;
    require_positive("features.bands.range_step_db", bands.range_step_db)?;
    require_finite("features.bands.range_offset", &[bands.range_offset])?;
    if let Some(phase) = phase_advance {
        let end = phase.first_bin.saturating_add(phase.bins);
        require(
            phase.bins > 0 && end <= bins,
            "features.phase_advance",
            format!("at least one bin, and none above {}", bins - 1),
            format!("{} bins from bin {}", phase.bins, phase.first_bin),
        )?;
    }
    require(
        level.first_bin < bins,
        "features.level.first_bin",
        format!("at most {}", bins - 1),
        level.first_bin,
    )?;
    require(
        level.attack > 0.0 && level.attack <= 1.0,
        "features.level.attack",
        "a number above 0 and at most 1",
        level.attack,
    )?;
    require_positive("features.level.release_db", level.release_db)?;
    require_in_range("features.level.floor_db", level.floor_db, &FLOOR_RANGE_DBFS)
}

fn check_bands(bands: &Bands, raw: &RawManifest) -> Result<(), Error> {
    require(
        raw.features.is_none(),
        "bands",
        "no [bands] in a manifest with [features]",
        "both",
    )?;
    let mut widths = bands.widths.iter();
    let sum = widths.try_fold(0usize, |sum, width| sum.checked_add(*width));
    require(
        sum == Some(raw.bins()) && bands.widths.iter().all(|width| *width > 0),
        "bands.widths",
        format!("widths above 0 with the sum {}", raw.bins()),
        sum.map_or("a sum out of range".into(), |sum| {
            format!("{} widths with the sum {sum}", bands.widths.len())
        }),
    )
}

/// An error unless `smoothing`, the weight of a previous mean, is between 0 and 1.
fn check_smoothing(field: &str, smoothing: f32) -> Result<(), Error> {
    let is_between = smoothing > 0.0 && smoothing < 1.0;
    require(is_between, field, "a number between 0 and 1", smoothing)
}

fn check_band_levels(levels: &BandLevels, raw: &RawManifest) -> Result<(), Error> {
    require(
        raw.bands.is_some(),
        "band_levels",
        "a [bands] table beside [band_levels]",
        "none",
    )?;
    check_smoothing("band_levels.smoothing", levels.smoothing)?;
    require_finite("band_levels.initial_db", &levels.initial_db)?;
    require_positive("band_levels.step_db", levels.step_db)
}

fn check_unit_spectrum(unit: &UnitSpectrum, bins: usize) -> Result<(), Error> {
    check_smoothing("unit_spectrum.smoothing", unit.smoothing)?;
    require_in_range("unit_spectrum.bins", unit.bins, &(1..=bins))?;
    for initial in unit.initial {
        require_positive("unit_spectrum.initial", initial)?;
    }
    Ok(())
}

fn check_gate(gate: Gate, raw: &RawManifest) -> Result<(), Error> {
    require(
        raw.has_output(Role::Snr),
        "gate",
        "an output with the role snr",
        "none",
    )?;
    // A hop without samples would repeat those of the hop before.
    require(
        !raw.has_output(Role::Windowed),
        "gate",
        "no output with the role windowed",
        "one",
    )?;
    let Gate {
        noise_below_db: noise,
        no_taps_above_db: no_taps,
        clean_above_db: clean,
    } = gate;
    require(
        noise < no_taps && no_taps <= clean,
        "gate",
        "noise_below_db below no_taps_above_db, and clean_above_db not below that",
        format!("{noise}, {no_taps} and {clean}"),
    )
}
