//! The manifests of public models that can be installed.

use quietwire::{Manifest, Model};

use crate::error::StoreError;

/// Texts of the manifests. The weights are not part of this crate.
const MANIFESTS: [&str; 7] = [
    include_str!("../models/dfn3.toml"),
    include_str!("../models/dtln.toml"),
    include_str!("../models/gtcrn.toml"),
    include_str!("../models/hush.toml"),
    include_str!("../models/nsnet2.toml"),
    include_str!("../models/nsnet2-48k.toml"),
    include_str!("../models/ul-unas.toml"),
];

/// Every known manifest and its text.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Manifest)> {
    MANIFESTS.iter().map(|text| {
        let manifest = Manifest::parse(text).expect("the manifests of this crate are valid");
        (*text, manifest)
    })
}

/// The manifest of a known model and its text.
///
/// # Errors
/// [`StoreError::UnknownModel`] for another id.
pub(crate) fn find(id: &str) -> Result<(&'static str, Manifest), StoreError> {
    all()
        .find(|(_, manifest)| manifest.id() == id)
        .ok_or_else(|| unknown(id))
}

/// The error for a name that no model has.
pub(crate) fn unknown(name: &str) -> StoreError {
    let known: Vec<String> = all()
        .map(|(_, manifest)| manifest.id().to_owned())
        .collect();
    StoreError::UnknownModel {
        found: name.into(),
        embedded: Model::embedded_ids().collect::<Vec<_>>().join(", "),
        known: known.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_model_has_an_origin_and_its_own_id() {
        let mut ids: Vec<String> = all()
            .inspect(|(_, manifest)| {
                assert!(manifest.package_source().is_some(), "{}", manifest.id())
            })
            .map(|(_, manifest)| manifest.id().to_owned())
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), MANIFESTS.len());
    }
}
