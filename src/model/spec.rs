//! The manifest of a model, `model.toml`, checked before anything runs.

use serde::Deserialize;

use crate::Error;

/// Shortest and longest hop that a manifest may ask for, samples at the model's rate.
const HOP_RANGE: std::ops::RangeInclusive<usize> = 16..=16_384;
const RATE_RANGE_HZ: std::ops::RangeInclusive<u32> = 8_000..=192_000;
const MAX_LOOKAHEAD: usize = 16;
const MAX_TAP_ORDER: usize = 16;

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

    fn check(&self) -> Result<(), Error> {
        let front = &self.front_end;
        let WindowShape::SqrtHann = front.window_shape;
        in_range("front_end.rate_hz", front.rate_hz, &RATE_RANGE_HZ)?;
        in_range("front_end.hop", front.hop, &HOP_RANGE)?;
        in_range("front_end.lookahead", front.lookahead, &(0..=MAX_LOOKAHEAD))?;
        let fits = front.window.is_multiple_of(2 * front.hop)
            && (2 * front.hop..=16 * front.hop).contains(&front.window);
        ensure(
            fits,
            "front_end.window",
            "2 to 16 hops, an even number of them",
            front.window,
        )?;
        let [low, high] = self.domain.input_rates_hz;
        ensure(
            low <= high,
            "domain.input_rates_hz",
            "lowest, then highest",
            format!("[{low}, {high}]"),
        )?;

        let file = &self.graph.file;
        ensure(
            !file.is_empty() && file != ".." && !file.contains(['/', '\\']),
            "graph.file",
            "the name of a file in the manifest's folder",
            file,
        )?;

        let bins = self.bins();
        let Features {
            bands,
            phase_advance,
            level,
        } = &self.features;
        let rising = bands.centres.windows(2).all(|pair| pair[0] < pair[1]);
        let whole = bands.centres.first() == Some(&0) && bands.centres.last() == Some(&(bins - 1));
        ensure(
            rising && whole,
            "features.bands.centres",
            format!("bins that rise from 0 to {}", bins - 1),
            format!("{:?} .. {:?}", bands.centres.first(), bands.centres.last()),
        )?;
        let numbers = [
            bands.range_low_db,
            bands.range_high_db,
            bands.range_step_db,
            bands.range_offset,
        ];
        ensure(
            numbers.iter().all(|n| n.is_finite())
                && bands.range_low_db < bands.range_high_db
                && bands.range_step_db > 0.0,
            "features.bands.range_*",
            "finite numbers, low below high, a step above 0",
            format!("{numbers:?}"),
        )?;
        if let Some(phase) = phase_advance {
            let end = phase.first_bin.saturating_add(phase.bins);
            ensure(
                phase.bins > 0 && end <= bins,
                "features.phase_advance",
                format!("at least one bin, inside {bins}"),
                format!("bins {} to {end}", phase.first_bin),
            )?;
        }
        ensure(
            level.first_bin < bins,
            "features.level.first_bin",
            format!("below {bins}"),
            level.first_bin,
        )?;
        ensure(
            level.attack > 0.0 && level.attack <= 1.0,
            "features.level.attack",
            "above 0, at most 1",
            level.attack,
        )?;
        ensure(
            level.release_db > 0.0 && level.release_db.is_finite(),
            "features.level.release_db",
            "a number above 0",
            level.release_db,
        )?;
        ensure(
            (-160.0..=0.0).contains(&level.floor_db),
            "features.level.floor_db",
            "-160 to 0",
            level.floor_db,
        )?;
        self.check_tensors()
    }

    fn check_tensors(&self) -> Result<(), Error> {
        let (inputs, outputs) = (&self.graph.inputs, &self.graph.outputs);
        for tensor in inputs.iter().chain(outputs) {
            let batched = tensor.shape.first() == Some(&Axis::Symbol("N".into()));
            let sized = tensor
                .shape
                .iter()
                .skip(1)
                .all(|axis| matches!(axis, Axis::Size(1..)));
            ensure(
                batched && sized,
                &format!("graph, shape of `{}`", tensor.name),
                "[\"N\", sizes above 0]",
                format!("{:?}", tensor.shape),
            )?;
        }
        let names =
            |list: &[TensorSpec]| -> Vec<String> { list.iter().map(|t| t.name.clone()).collect() };
        for (side, list) in [
            ("graph.inputs", names(inputs)),
            ("graph.outputs", names(outputs)),
        ] {
            let mut unique = list.clone();
            unique.sort();
            unique.dedup();
            ensure(
                unique.len() == list.len(),
                side,
                "every name once",
                format!("{list:?}"),
            )?;
        }
        self.check_role(
            inputs,
            "graph.inputs",
            Role::Features,
            true,
            &[self.feature_count()],
        )?;
        self.check_role(
            outputs,
            "graph.outputs",
            Role::Gain,
            true,
            &[self.features.bands.centres.len()],
        )?;
        self.check_role(outputs, "graph.outputs", Role::Vad, false, &[1])?;
        if let Some(taps) = outputs.iter().find(|t| t.role == Role::Taps) {
            let sizes = taps.sizes();
            let right = matches!(sizes[..], [order, 2, bins] if order <= MAX_TAP_ORDER && bins <= self.bins());
            ensure(
                right && outputs.iter().filter(|t| t.role == Role::Taps).count() == 1,
                "graph.outputs, role `taps`",
                format!(
                    "one tensor, [N, 1..={MAX_TAP_ORDER}, 2, 1..={}]",
                    self.bins()
                ),
                format!("[N, {sizes:?}]"),
            )?;
        }
        for (side, list, wrong) in [
            (
                "graph.inputs",
                inputs,
                &[Role::Gain, Role::Taps, Role::Vad][..],
            ),
            ("graph.outputs", outputs, &[Role::Features][..]),
        ] {
            if let Some(tensor) = list.iter().find(|t| wrong.contains(&t.role)) {
                return Err(manifest(
                    side,
                    "a role that belongs on this side",
                    format!("{:?}", tensor.role),
                ));
            }
        }
        self.check_states()
    }

    fn check_role(
        &self,
        list: &[TensorSpec],
        side: &str,
        role: Role,
        required: bool,
        sizes: &[usize],
    ) -> Result<(), Error> {
        let found: Vec<&TensorSpec> = list.iter().filter(|t| t.role == role).collect();
        let right = match found[..] {
            [] => !required,
            [one] => one.sizes() == sizes,
            _ => false,
        };
        ensure(
            right,
            &format!("{side}, role {role:?}"),
            format!("one tensor [N, {sizes:?}]"),
            format!("{:?}", found.iter().map(|t| t.sizes()).collect::<Vec<_>>()),
        )
    }

    fn check_states(&self) -> Result<(), Error> {
        let states = |list: &'_ [TensorSpec]| -> Vec<TensorSpec> {
            list.iter()
                .filter(|t| t.role == Role::State)
                .cloned()
                .collect()
        };
        let (into, out) = (states(&self.graph.inputs), states(&self.graph.outputs));
        for state in &into {
            ensure(
                state.initial.is_some_and(f32::is_finite) && state.of.is_none(),
                &format!("graph.inputs, state `{}`", state.name),
                "`initial`, a finite number, and no `of`",
                format!("initial {:?}, of {:?}", state.initial, state.of),
            )?;
            let nexts = out
                .iter()
                .filter(|next| next.of.as_ref() == Some(&state.name));
            let shapes: Vec<_> = nexts.map(|next| next.shape.clone()).collect();
            ensure(
                shapes == [state.shape.clone()],
                &format!("graph.inputs, state `{}`", state.name),
                format!(
                    "one output with `of = \"{}\"` and shape {:?}",
                    state.name, state.shape
                ),
                format!("{shapes:?}"),
            )?;
        }
        for next in &out {
            let known = next
                .of
                .as_ref()
                .is_some_and(|of| into.iter().any(|s| s.name == *of));
            ensure(
                known && next.initial.is_none(),
                &format!("graph.outputs, state `{}`", next.name),
                "`of`, the name of a state that goes in, and no `initial`",
                format!("of {:?}, initial {:?}", next.of, next.initial),
            )?;
        }
        Ok(())
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

fn manifest(field: &str, expected: impl ToString, found: impl ToString) -> Error {
    Error::Manifest {
        field: field.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

fn ensure(
    right: bool,
    field: &str,
    expected: impl ToString,
    found: impl ToString,
) -> Result<(), Error> {
    if right {
        Ok(())
    } else {
        Err(manifest(field, expected, found))
    }
}

fn in_range<T: PartialOrd + ToString + Copy>(
    field: &str,
    found: T,
    range: &std::ops::RangeInclusive<T>,
) -> Result<(), Error> {
    let expected = format!(
        "{} to {}",
        range.start().to_string(),
        range.end().to_string()
    );
    ensure(range.contains(&found), field, expected, found)
}
