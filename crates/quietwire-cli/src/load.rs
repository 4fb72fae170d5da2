//! Loads a model by the name on the command line.

use std::sync::Arc;

use anyhow::{Context, Result};
use quietwire::Model;
use quietwire_store::ModelStore;

/// A model by an embedded or installed id or by its folder. `argument` is the flag or the command that
/// named it, for the error.
pub(crate) fn model(argument: &str, name: &str) -> Result<Arc<Model>> {
    let model = ModelStore::user()?.load(name);
    model.with_context(|| format!("{argument} {name}"))
}
