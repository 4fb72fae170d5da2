//! The manifest of a model, `model.toml`, checked before anything runs.

mod check;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// Name of the batch axis in a manifest.
pub(crate) const BATCH: &str = "N";
/// Name of the axis of hops in a manifest.
pub(crate) const HOPS: &str = "S";

/// What `model.toml` says: who the model is, its graphs, and how audio becomes what they eat.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    id: String,
    version: String,
    #[serde(alias = "licence")]
    license: String,
    source: String,
    training_data: String,
    domain: IntendedUse,
    origin: Option<PackageSource>,
    #[serde(rename = "graph")]
    graphs: Vec<GraphSpec>,
    front_end: FrontEnd,
    features: Option<Features>,
    bands: Option<Bands>,
    band_levels: Option<BandLevels>,
    unit_spectrum: Option<UnitSpectrum>,
    gate: Option<Gate>,
}

/// Where the model was meant to work.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntendedUse {
    input_rates_hz: [u32; 2],
    speech: String,
}

/// Where a user gets the files of a model that is not part of this library.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSource {
    /// of the Python package index; none: the user brings the files
    package: Option<String>,
    version: Option<String>,
    /// platform tag, where the package has wheels for single platforms
    platform: Option<String>,
    /// what a person without the package index has to look for
    hint: String,
}

/// One ONNX file. Graphs run in their order, once a hop.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GraphSpec {
    pub(crate) file: String,
    pub(crate) sha256: String,
    /// states that the export hides: those of recurrences and convolutions along the hops, each
    /// made an input and an output of the graph while it loads
    #[serde(default)]
    pub(crate) hidden_states: usize,
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
}

/// One ONNX file of a model: its name beside `model.toml` and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphFile<'a> {
    name: &'a str,
    sha256: &'a str,
}

impl<'a> GraphFile<'a> {
    /// The name of the file.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Checks the hash of the file's bytes.
    ///
    /// # Errors
    /// [`Error::Hash`] when it is not that of the manifest.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), Error> {
        let digest = Sha256::digest(bytes);
        let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if found.eq_ignore_ascii_case(self.sha256) {
            return Ok(());
        }
        Err(Error::Hash {
            file: self.name.into(),
            expected: self.sha256.into(),
            found,
        })
    }
}

/// The message of a syntax error with its line, on one line.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.as_bytes()[..start]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
        + 1;
    let message = error.message().split_whitespace().collect::<Vec<_>>();
    format!("line {line}: {}", message.join(" "))
}

/// One tensor of a graph by name, with its part in the flow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// `"N"`: the batch axis, `"S"`: the axis of hops in an export for whole signals
    pub(crate) shape: Vec<Axis>,
    /// of a state that goes in: its value before the first hop
    #[serde(default)]
    pub(crate) initial: Option<f32>,
    /// of a state that comes out: the input that takes it on the next hop; of a link that goes
    /// in: the output of an earlier graph, where it has another name
    #[serde(default, alias = "of")]
    pub(crate) source: Option<String>,
    /// of complex numbers: the order of their axes
    #[serde(default)]
    pub(crate) layout: Option<Layout>,
    /// of taps whose shape does not say it
    #[serde(default)]
    pub(crate) taps: Option<TapsSpec>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Axis {
    Size(usize),
    Symbol(String),
}

/// Where the real and imaginary parts of bins stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layout {
    /// real and imaginary part of each bin together
    #[serde(alias = "bin-part")]
    Interleaved,
    /// all real parts, then all imaginary parts
    #[serde(alias = "part-bin")]
    Planar,
}

/// A complex filter over hops for each of the lowest bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TapsSpec {
    /// hops that it spans
    pub(crate) order: usize,
    pub(crate) bins: usize,
    /// hops after the one that it makes
    #[serde(default)]
    pub(crate) ahead: usize,
    pub(crate) layout: TapLayout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TapLayout {
    /// [order, 2, bins], the newest hop first
    NewestPartBin,
    /// [bins, order, 2], the oldest hop first
    BinOldestPart,
}

/// The part that a tensor plays. TensorBindings that this version cannot run are not in the list, so a
/// manifest that names one is refused by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// in: what `[features]` describes, in its order
    Features,
    /// in: [bands] what `[band_levels]` describes
    BandLevels,
    /// in: [2 x bins] what `[unit_spectrum]` describes
    UnitSpectrum,
    /// in and out: [2 x bins] the whole spectrum, `spectrum_scale` in it
    Spectrum,
    /// in: [bins] |X|
    Magnitude,
    /// in: [bins] log10(max(|X|^2, 1e-12))
    LogPower,
    /// in: [window] the inverse transform of what the graphs before have made of the spectrum;
    /// out: [window] takes the place of the inverse transform, and is overlap-added as it is
    #[serde(alias = "frame")]
    Windowed,
    /// out of one graph and into later ones, any shape
    #[serde(alias = "link")]
    Intermediate,
    /// in and out, any shape: kept from hop to hop
    State,
    /// out: [bands] real gain of each band, or of each bin without bands
    Gain,
    /// out: complex filter of the lowest bins over hops; takes the place of the gain there
    Taps,
    /// out: [1] probability of speech
    Vad,
    /// out: [1] signal-to-noise ratio of the hop, dB
    Snr,
    /// out: of no use here
    Unused,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FrontEnd {
    pub(crate) rate_hz: u32,
    /// samples
    pub(crate) window: usize,
    /// length of the transform, samples: a longer one than the window pads with zeros
    #[serde(default)]
    pub(crate) transform: Option<usize>,
    /// samples
    pub(crate) hop: usize,
    /// hops
    pub(crate) lookahead: usize,
    pub(crate) window_shape: WindowShape,
    /// factor of the spectrum that the model hears; its output is divided by it
    #[serde(default = "one")]
    pub(crate) spectrum_scale: f32,
}

fn one() -> f32 {
    1.0
}

/// Shape of the analysis window. Synthesis uses the same one, divided by what the overlapping
/// products of both add up to (Griffin & Lim 1984).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WindowShape {
    /// sin(pi n / window): the square root of a periodic Hann window
    SqrtHann,
    /// sin(pi n / (window - 1)): the square root of a symmetric Hann window
    SqrtHannSymmetric,
    /// sin^2(pi n / window)
    Hann,
    Rectangular,
    /// sin(pi / 2 sin^2(pi (n + 1/2) / window)) (Vorbis I specification, 4.3.1)
    Vorbis,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Features {
    pub(crate) bands: HatBands,
    pub(crate) phase_advance: Option<PhaseAdvance>,
    pub(crate) level: Level,
}

/// Bands are hat functions between neighboring centers; their gains are interpolated likewise.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HatBands {
    /// bins, rising, from 0 to the last
    #[serde(alias = "centres")]
    pub(crate) centers: Vec<usize>,
    /// dB against the running level
    pub(crate) range_low_db: f32,
    pub(crate) range_high_db: f32,
    /// dB for one unit of feature
    pub(crate) range_step_db: f32,
    pub(crate) range_offset: f32,
}

/// Bands side by side: of band levels, and of gains where there are no `[features]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bands {
    /// [bands] bins, all of them in the end
    pub(crate) widths: Vec<usize>,
}

/// Mean power of a band in dB, less its running mean (Schroeter et al. 2022, DeepFilterNet).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BandLevels {
    /// weight of the previous running mean
    #[serde(alias = "keep")]
    pub(crate) smoothing: f32,
    /// running mean of the lowest and the highest band before the first hop, dB
    #[serde(alias = "start_db")]
    pub(crate) initial_db: [f32; 2],
    /// dB for one unit of feature
    pub(crate) step_db: f32,
}

/// The lowest bins over the square root of their running magnitude (Schroeter et al. 2022).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnitSpectrum {
    pub(crate) bins: usize,
    /// weight of the previous running magnitude
    #[serde(alias = "keep")]
    pub(crate) smoothing: f32,
    /// running magnitude of the lowest and the highest bin before the first hop
    #[serde(alias = "start")]
    pub(crate) initial: [f32; 2],
}

/// What the model's own SNR spares: graphs that a hop does not need are not run. Off unless a
/// stream asks for it, for the states of a graph that rests stand still.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    /// nothing but noise below: the gain is 0
    pub(crate) noise_below_db: f32,
    /// no taps above, gains alone
    pub(crate) no_taps_above_db: f32,
    /// clean above: the input as it is
    pub(crate) clean_above_db: f32,
}

/// Cosine and sine of the phase that a bin gained over one hop, less what its center gains.
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

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`Error::ManifestSyntax`] for text that is no manifest, [`Error::Manifest`] for one that
    /// contradicts itself or asks for what cannot be.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let manifest: Self = toml::from_str(text).map_err(|error| Error::ManifestSyntax {
            message: one_line(&error, text),
        })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Short name, as users write it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Version of the weights.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// License of the weights, an SPDX expression.
    pub fn license(&self) -> &str {
        &self.license
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
    pub fn has_vad(&self) -> bool {
        self.outputs().any(|t| t.role == Role::Vad)
    }

    /// Where the files come from, for a model that is not part of the library.
    pub fn origin(&self) -> Option<&PackageSource> {
        self.origin.as_ref()
    }

    /// Whether [`DenoiserBuilder::snr_gating`](crate::DenoiserBuilder::snr_gating) means anything to it.
    pub fn has_gate(&self) -> bool {
        self.gate.is_some()
    }

    /// Whether one step of the graphs can serve several streams: every tensor begins with the axis
    /// "N", and no state is hidden.
    pub fn can_batch(&self) -> bool {
        let begins =
            |t: &TensorSpec| matches!(t.shape.first(), Some(Axis::Symbol(n)) if n == BATCH);
        self.graphs
            .iter()
            .all(|g| g.hidden_states == 0 && g.inputs.iter().chain(&g.outputs).all(begins))
    }

    /// Whether one mask can serve several channels: the model hears powers and gives masks.
    pub fn can_link_channels(&self) -> bool {
        let whole = |t: &TensorSpec| {
            use Role::{Spectrum, UnitSpectrum, Windowed};
            matches!(t.role, Windowed | Spectrum | UnitSpectrum)
        };
        !self
            .graphs
            .iter()
            .any(|g| g.inputs.iter().chain(&g.outputs).any(whole))
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

    pub(crate) fn transform(&self) -> usize {
        self.front_end.transform.unwrap_or(self.front_end.window)
    }

    pub(crate) fn window_shape(&self) -> WindowShape {
        self.front_end.window_shape
    }

    pub(crate) fn spectrum_scale(&self) -> f32 {
        self.front_end.spectrum_scale
    }

    pub(crate) fn bins(&self) -> usize {
        self.transform() / 2 + 1
    }

    /// The ONNX files of the model, in the order in which they run.
    pub fn graph_files(&self) -> impl Iterator<Item = GraphFile<'_>> {
        self.graphs.iter().map(|graph| GraphFile {
            name: &graph.file,
            sha256: &graph.sha256,
        })
    }

    pub(crate) fn graphs(&self) -> &[GraphSpec] {
        &self.graphs
    }

    pub(crate) fn features(&self) -> Option<&Features> {
        self.features.as_ref()
    }

    pub(crate) fn bands(&self) -> Option<&Bands> {
        self.bands.as_ref()
    }

    pub(crate) fn band_levels(&self) -> Option<&BandLevels> {
        self.band_levels.as_ref()
    }

    pub(crate) fn unit_spectrum(&self) -> Option<&UnitSpectrum> {
        self.unit_spectrum.as_ref()
    }

    pub(crate) fn gate(&self) -> Option<Gate> {
        self.gate
    }

    fn outputs(&self) -> impl Iterator<Item = &TensorSpec> {
        self.graphs.iter().flat_map(|g| &g.outputs)
    }

    pub(crate) fn feature_count(&self) -> usize {
        let Some(features) = &self.features else {
            return 0;
        };
        let phase = features.phase_advance.as_ref().map_or(0, |p| 2 * p.bins);
        features.bands.centers.len() + phase
    }

    /// Gains that a hop has: of hat bands, of bands side by side, or of all bins.
    pub(crate) fn gain_count(&self) -> usize {
        match (&self.features, &self.bands) {
            (Some(features), _) => features.bands.centers.len(),
            (None, Some(bands)) => bands.widths.len(),
            (None, None) => self.bins(),
        }
    }

    /// The filter of the lowest bins, if there is one.
    pub(crate) fn taps(&self) -> Option<TapsSpec> {
        self.outputs()
            .find(|t| t.role == Role::Taps)
            .and_then(TensorSpec::taps)
    }
}

impl PackageSource {
    /// Name and version in the Python package index; none where the user brings the files.
    pub fn package(&self) -> Option<(&str, &str)> {
        Some((self.package.as_deref()?, self.version.as_deref()?))
    }

    /// Platform tag of the wheel to take, where wheels are for single platforms.
    pub fn platform(&self) -> Option<&str> {
        self.platform.as_deref()
    }

    /// What a person has to look for to bring the files.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl TensorSpec {
    /// Numbers in one hop of one stream.
    pub(crate) fn elements(&self) -> usize {
        self.stream_shape().iter().product()
    }

    /// Shape of one hop of one stream.
    pub(crate) fn stream_shape(&self) -> Vec<usize> {
        let size = |axis: &Axis| match axis {
            Axis::Size(size) => *size,
            Axis::Symbol(_) => 1,
        };
        self.shape.iter().map(size).collect()
    }

    /// Of taps: from the shape [N, order, 2, bins], if nothing else is said.
    pub(crate) fn taps(&self) -> Option<TapsSpec> {
        self.taps.or(match self.shape[..] {
            [
                Axis::Symbol(_),
                Axis::Size(order),
                Axis::Size(2),
                Axis::Size(bins),
            ] => Some(TapsSpec {
                order,
                bins,
                ahead: 0,
                layout: TapLayout::NewestPartBin,
            }),
            _ => None,
        })
    }
}
