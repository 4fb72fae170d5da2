//! Construction of the errors of a manifest.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::error::Error;

/// An error for `field` unless the `condition` is met.
pub(super) fn require(
    condition: bool,
    field: &str,
    expected: impl Display,
    found: impl Display,
) -> Result<(), Error> {
    if condition {
        return Ok(());
    }
    Err(Error::Manifest {
        field: field.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

/// An error for `field` unless `found` is in `range`. NaN is in no range.
pub(super) fn require_in_range<T: PartialOrd + Display>(
    field: &str,
    found: T,
    range: &RangeInclusive<T>,
) -> Result<(), Error> {
    let expected = format!("{} to {}", range.start(), range.end());
    require(range.contains(&found), field, expected, found)
}

/// An error for `field` unless `found` is finite and above 0.
pub(super) fn require_positive(field: &str, found: f32) -> Result<(), Error> {
    let is_positive = found.is_finite() && found > 0.0;
    require(is_positive, field, "a finite number above 0", found)
}

/// An error for `field` unless all numbers are finite.
pub(super) fn require_finite(field: &str, found: &[f32]) -> Result<(), Error> {
    let is_finite = found.iter().all(|number| number.is_finite());
    require(is_finite, field, "finite numbers", format!("{found:?}"))
}
