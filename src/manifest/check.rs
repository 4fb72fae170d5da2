//! The rules of a manifest: values in range and without contradictions. Loading checks the graphs
//! against the manifest.

mod flow;
mod graphs;
mod require;
mod tables;

use super::raw::RawManifest;
use crate::error::Error;

/// Checks every rule.
///
/// # Errors
/// [`Error::Manifest`] for the first rule that is violated.
pub(super) fn check(raw: &RawManifest) -> Result<(), Error> {
    tables::check(raw)?;
    graphs::check(raw)?;
    flow::check(raw)
}
