//! The contents of `model.toml` before the checks.

use serde::Deserialize;

use super::tables::{
    BandLevels, Bands, Features, FrontEnd, Gate, IntendedUse, Origin, UnitSpectrum,
};
use super::tensors::{GraphSpec, Role, TapsSpec, TensorSpec};

/// A parsed `model.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawManifest {
    pub(super) id: String,
    pub(super) version: String,
    #[serde(alias = "licence")]
    pub(super) license: String,
    pub(super) source: String,
    pub(super) training_data: String,
    #[serde(rename = "domain")]
    pub(super) intended_use: IntendedUse,
    pub(super) origin: Option<Origin>,
    #[serde(rename = "graph")]
    pub(super) graphs: Vec<GraphSpec>,
    pub(super) front_end: FrontEnd,
    pub(super) features: Option<Features>,
    pub(super) bands: Option<Bands>,
    pub(super) band_levels: Option<BandLevels>,
    pub(super) unit_spectrum: Option<UnitSpectrum>,
    pub(super) gate: Option<Gate>,
}

impl RawManifest {
    pub(super) fn transform(&self) -> usize {
        self.front_end.transform.unwrap_or(self.front_end.window)
    }

    pub(super) fn bins(&self) -> usize {
        self.transform() / 2 + 1
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = &TensorSpec> {
        self.graphs.iter().flat_map(|g| &g.outputs)
    }

    pub(super) fn has_output(&self, role: Role) -> bool {
        self.outputs().any(|t| t.role == role)
    }

    /// Length of the tensor with the role `features`.
    pub(super) fn feature_count(&self) -> usize {
        let Some(features) = &self.features else {
            return 0;
        };
        let phase = features.phase_advance.as_ref().map_or(0, |p| 2 * p.bins);
        features.bands.centers.len() + phase
    }

    /// Gains per hop: of the triangular bands, of the rectangular bands, or of all bins.
    pub(super) fn gain_count(&self) -> usize {
        match (&self.features, &self.bands) {
            (Some(features), _) => features.bands.centers.len(),
            (None, Some(bands)) => bands.widths.len(),
            (None, None) => self.bins(),
        }
    }

    /// The filter of the lowest bins.
    pub(super) fn taps(&self) -> Option<TapsSpec> {
        let tensor = self.outputs().find(|t| t.role == Role::Taps);
        tensor.and_then(TensorSpec::taps)
    }
}
