//! The manifest of a model, `model.toml`, checked before anything runs.

mod check;

use serde::Deserialize;

use crate::Error;

/// What `model.toml` says: who the model is, its graph, and how audio becomes what it eats.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    id: String,
    version: String,
    licence: String,
    source: String,
    training_data: String,
    domain: Domain,
    graph: GraphSpec,
    front_end: FrontEnd,
    features: Features,
}

/// Where the model was meant to work.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    input_rates_hz: [u32; 2],
    speech: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GraphSpec {
    pub(crate) file: String,
    pub(crate) sha256: String,
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
}

/// One tensor of the graph by name, with its part in the flow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// `"N"` first: the batch axis
    pub(crate) shape: Vec<Axis>,
    /// of a state that goes in: its value before the first hop
    #[serde(default)]
    pub(crate) initial: Option<f32>,
    /// of a state that comes out: the input that takes it on the next hop
    #[serde(default)]
    pub(crate) of: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Axis {
    Size(usize),
    Symbol(String),
}

/// The part that a tensor plays. Roles that this version cannot run are not in the list, so a
/// manifest that names one is refused by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// in, [N, features]: what `[features]` describes, in its order
    Features,
    /// in and out, any shape: kept from hop to hop
    State,
    /// out, [N, bands]: real gain of each band
    Gain,
    /// out, [N, order, 2, bins]: complex filter of the lowest bins over this hop and those before
    /// it, real parts before imaginary ones; takes the place of the gain there
    Taps,
    /// out, [N, 1]: probability of speech
    Vad,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FrontEnd {
    pub(crate) rate_hz: u32,
    /// samples
    pub(crate) window: usize,
    /// samples
    pub(crate) hop: usize,
    /// hops
    pub(crate) lookahead: usize,
    pub(crate) window_shape: WindowShape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WindowShape {
    SqrtHann,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Features {
    pub(crate) bands: Bands,
    pub(crate) phase_advance: Option<PhaseAdvance>,
    pub(crate) level: Level,
}

/// Bands are hat functions between neighbouring centres; their gains are interpolated likewise.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bands {
    /// bins, rising, from 0 to the last
    pub(crate) centres: Vec<usize>,
    /// dB against the running level
    pub(crate) range_low_db: f32,
    pub(crate) range_high_db: f32,
    /// dB for one unit of feature
    pub(crate) range_step_db: f32,
    pub(crate) range_offset: f32,
}

/// Cosine and sine of the phase that a bin gained over one hop, less what its centre gains.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhaseAdvance {
    pub(crate) first_bin: usize,
    pub(crate) bins: usize,
}

/// The running level of the stream, against which powers are measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Level {
    pub(crate) first_bin: usize,
    /// share of the distance up, a hop
    pub(crate) attack: f32,
    /// dB down, a hop
    pub(crate) release_db: f32,
    /// dBFS
    pub(crate) floor_db: f32,
}

impl Spec {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`Error::ManifestSyntax`] for text that is no manifest, [`Error::Manifest`] for one that
    /// contradicts itself or asks for what cannot be.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let spec: Self = toml::from_str(text).map_err(Box::new)?;
        spec.check()?;
        Ok(spec)
    }

    /// Short name, as users write it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Version of the weights.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Licence of the weights, an SPDX expression.
    pub fn licence(&self) -> &str {
        &self.licence
    }

    /// Where the weights come from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What they were trained on.
    pub fn training_data(&self) -> &str {
        &self.training_data
    }

    /// Lowest and highest caller rate that the model was meant for, Hz.
    pub fn input_rates_hz(&self) -> (u32, u32) {
        (self.domain.input_rates_hz[0], self.domain.input_rates_hz[1])
    }

    /// What kind of speech the model was meant for.
    pub fn speech(&self) -> &str {
        &self.domain.speech
    }

    /// Whether the model tells a probability of speech.
    pub fn hears_speech(&self) -> bool {
        self.graph.outputs.iter().any(|t| t.role == Role::Vad)
    }

    /// The model's own sample rate, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.front_end.rate_hz
    }

    /// Step, samples at the model's rate.
    pub fn hop(&self) -> usize {
        self.front_end.hop
    }

    /// Analysis length, samples at the model's rate.
    pub fn window(&self) -> usize {
        self.front_end.window
    }

    /// Hops of the future that the model looks at.
    pub fn lookahead(&self) -> usize {
        self.front_end.lookahead
    }

    pub(crate) fn bins(&self) -> usize {
        self.window() / 2 + 1
    }

    pub(crate) fn graph(&self) -> &GraphSpec {
        &self.graph
    }

    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    pub(crate) fn feature_count(&self) -> usize {
        let phase = self
            .features
            .phase_advance
            .as_ref()
            .map_or(0, |p| 2 * p.bins);
        self.features.bands.centres.len() + phase
    }

    /// Order of the low-band filter and the bins it covers; (0, 0) without one.
    pub(crate) fn taps(&self) -> (usize, usize) {
        let taps = self.graph.outputs.iter().find(|t| t.role == Role::Taps);
        taps.map_or((0, 0), |t| match t.sizes()[..] {
            [order, _, bins] => (order, bins),
            _ => (0, 0),
        })
    }
}

impl TensorSpec {
    /// Sizes after the batch axis.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let size = |axis: &Axis| match axis {
            Axis::Size(size) => *size,
            Axis::Symbol(_) => 0,
        };
        self.shape.iter().skip(1).map(size).collect()
    }
}
