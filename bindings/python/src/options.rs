//! The arguments that set the options of a stream.

use pyo3::prelude::*;
use quietwire::{AttenuationLimit, ChannelMode, DenoiserOptions, Strength};

use crate::error::invalid_option;

/// The attenuation limit of the arguments `level` and `attenuation_db`. Both `None`: the default.
pub(crate) fn attenuation(
    py: Python<'_>,
    level: Option<&str>,
    attenuation_db: Option<f32>,
) -> PyResult<AttenuationLimit> {
    match (level, attenuation_db) {
        (Some(level), Some(db)) => Err(invalid_option(
            py,
            format!("expected level or attenuation_db, found both: {level:?} and {db} dB"),
        )),
        (Some(level), None) => Ok(strength(py, level)?.into()),
        (None, Some(db)) => Ok(db.into()),
        (None, None) => Ok(AttenuationLimit::default()),
    }
}

pub(crate) fn strength(py: Python<'_>, level: &str) -> PyResult<Strength> {
    match level {
        "low" => Ok(Strength::Low),
        "medium" => Ok(Strength::Medium),
        "high" => Ok(Strength::High),
        _ => Err(invalid_option(
            py,
            format!("level: expected \"low\", \"medium\" or \"high\", found {level:?}"),
        )),
    }
}

/// The attenuation limit of a level, dB.
#[pyfunction]
pub(crate) fn level_db(py: Python<'_>, level: &str) -> PyResult<f32> {
    Ok(strength(py, level)?.attenuation_db())
}

fn channel_mode(py: Python<'_>, mode: &str) -> PyResult<ChannelMode> {
    match mode {
        "independent" => Ok(ChannelMode::Independent),
        "linked" => Ok(ChannelMode::Linked),
        _ => Err(invalid_option(
            py,
            format!("channel_mode: expected \"independent\" or \"linked\", found {mode:?}"),
        )),
    }
}

/// The options that a stream, an array and a file have in common.
pub(crate) fn common(
    py: Python<'_>,
    level: Option<&str>,
    attenuation_db: Option<f32>,
    mode: &str,
) -> PyResult<DenoiserOptions> {
    let mut options = DenoiserOptions::default();
    options.attenuation = attenuation(py, level, attenuation_db)?;
    options.channel_mode = channel_mode(py, mode)?;
    Ok(options)
}

/// A sample rate. The core checks its range.
pub(crate) fn rate(py: Python<'_>, rate_hz: i64) -> PyResult<u32> {
    u32::try_from(rate_hz).map_err(|_| {
        let text = format!("sample rate {rate_hz} Hz is not supported: expected 8000 to 192000 Hz");
        invalid_option(py, text)
    })
}
