//! The manifest of a model, `model.toml`.

mod check;
mod raw;
mod tables;
mod tensors;

use sha2::{Digest as _, Sha256};

use crate::error::Error;
use raw::RawManifest;

pub(crate) use tables::{BandLevels, Bands, Features, Gate, Level, UnitSpectrum, WindowShape};
pub(crate) use tensors::{
    Axis, BATCH, GraphSpec, HOPS, Layout, Role, TapLayout, TapsSpec, TensorSpec,
};

/// The contents of a model's `model.toml`: metadata, the graphs, and the signal processing around
/// them. Always checked; the only way to make one is to parse it.
#[derive(Debug, Clone)]
pub struct Manifest {
    raw: RawManifest,
    package_source: Option<PackageSource>,
}

impl Manifest {
    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// [`Error::ManifestSyntax`] for text that is not a manifest, [`Error::Manifest`] for a value
    /// that contradicts another one or is out of range.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let raw: RawManifest = toml::from_str(text).map_err(|error| Error::ManifestSyntax {
            message: one_line(&error, text),
        })?;
        check::check(&raw)?;
        let package_source = raw.origin.clone().map(|origin| PackageSource {
            package: origin.package.zip(origin.version),
            platform: origin.platform,
            hint: origin.hint,
        });
        Ok(Self {
            raw,
            package_source,
        })
    }

    /// The id by which users select the model.
    pub fn id(&self) -> &str {
        &self.raw.id
    }

    /// Version of the weights.
    pub fn version(&self) -> &str {
        &self.raw.version
    }

    /// License of the weights, an SPDX expression.
    pub fn license(&self) -> &str {
        &self.raw.license
    }

    /// Where the weights come from.
    pub fn source(&self) -> &str {
        &self.raw.source
    }

    /// The training data.
    pub fn training_data(&self) -> &str {
        &self.raw.training_data
    }

    /// Lowest and highest rate of a stream for which the model is intended, Hz.
    pub fn input_rates_hz(&self) -> (u32, u32) {
        let [low, high] = self.raw.intended_use.input_rates_hz;
        (low, high)
    }

    /// Kind of speech for which the model is intended.
    pub fn speech(&self) -> &str {
        &self.raw.intended_use.speech
    }

    /// Whether the model outputs a probability of speech.
    pub fn has_vad(&self) -> bool {
        self.raw.has_output(Role::Vad)
    }

    /// Where the files of a model that is not part of the library are available.
    pub fn package_source(&self) -> Option<&PackageSource> {
        self.package_source.as_ref()
    }

    /// Whether the model supports
    /// [`DenoiserBuilder::snr_gating`](crate::DenoiserBuilder::snr_gating).
    pub fn has_gate(&self) -> bool {
        self.raw.gate.is_some()
    }

    /// Whether one step of the graphs can process several streams: every tensor has "N" as its first
    /// axis, and there are no hidden states.
    pub fn can_batch(&self) -> bool {
        let has_batch_axis =
            |t: &TensorSpec| matches!(t.shape.first(), Some(Axis::Symbol(n)) if n == BATCH);
        self.raw.graphs.iter().all(|graph| {
            let mut tensors = graph.inputs.iter().chain(&graph.outputs);
            graph.hidden_states == 0 && tensors.all(has_batch_axis)
        })
    }

    /// Whether one mask can serve several channels: the inputs are powers and the outputs are masks.
    pub fn can_link_channels(&self) -> bool {
        use Role::{Spectrum, UnitSpectrum, Windowed};
        let needs_one_channel =
            |t: &TensorSpec| matches!(t.role, Windowed | Spectrum | UnitSpectrum);
        !self.raw.graphs.iter().any(|graph| {
            let mut tensors = graph.inputs.iter().chain(&graph.outputs);
            tensors.any(needs_one_channel)
        })
    }

    /// The model's own sample rate, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.raw.front_end.rate_hz
    }

    /// Hop, samples at the model's rate.
    pub fn hop(&self) -> usize {
        self.raw.front_end.hop
    }

    /// Length of the analysis window, samples at the model's rate.
    pub fn window(&self) -> usize {
        self.raw.front_end.window
    }

    /// Future hops that the output of a hop depends on.
    pub fn lookahead(&self) -> usize {
        self.raw.front_end.lookahead
    }

    /// The ONNX files of the model, in the order in which they run.
    pub fn graph_files(&self) -> impl Iterator<Item = GraphFile<'_>> {
        self.raw.graphs.iter().map(|graph| GraphFile {
            name: &graph.file,
            sha256: &graph.sha256,
        })
    }

    /// Length of the transform, samples.
    pub(crate) fn transform(&self) -> usize {
        self.raw.transform()
    }

    pub(crate) fn window_shape(&self) -> WindowShape {
        self.raw.front_end.window_shape
    }

    /// Factor of the spectrum at the model's input.
    pub(crate) fn spectrum_scale(&self) -> f32 {
        self.raw.front_end.spectrum_scale
    }

    /// Bins of the spectrum, from 0 Hz to half the rate.
    pub(crate) fn bins(&self) -> usize {
        self.raw.bins()
    }

    pub(crate) fn graphs(&self) -> &[GraphSpec] {
        &self.raw.graphs
    }

    pub(crate) fn features(&self) -> Option<&Features> {
        self.raw.features.as_ref()
    }

    pub(crate) fn bands(&self) -> Option<&Bands> {
        self.raw.bands.as_ref()
    }

    pub(crate) fn band_levels(&self) -> Option<&BandLevels> {
        self.raw.band_levels.as_ref()
    }

    pub(crate) fn unit_spectrum(&self) -> Option<&UnitSpectrum> {
        self.raw.unit_spectrum.as_ref()
    }

    pub(crate) fn gate(&self) -> Option<Gate> {
        self.raw.gate
    }

    /// The filter of the lowest bins.
    pub(crate) fn taps(&self) -> Option<TapsSpec> {
        self.raw.taps()
    }
}

/// The message of a syntax error with its line, on one line.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let newlines = text.as_bytes()[..start].iter().filter(|b| **b == b'\n');
    let line = newlines.count() + 1;
    let message = error.message().split_whitespace().collect::<Vec<_>>();
    format!("line {line}: {}", message.join(" "))
}

/// One ONNX file of a model: its name in the folder of `model.toml` and its hash.
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

    /// Checks that `bytes`, the contents of the file, have the hash of the manifest.
    ///
    /// # Errors
    /// [`Error::Hash`] for another hash.
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

/// Where the files of a model that is not part of the library are available.
#[derive(Debug, Clone)]
pub struct PackageSource {
    /// name and version
    package: Option<(String, String)>,
    platform: Option<String>,
    hint: String,
}

impl PackageSource {
    /// Name and version in the Python package index. `None` when only the user can provide the files.
    pub fn package(&self) -> Option<(&str, &str)> {
        let (name, version) = self.package.as_ref()?;
        Some((name, version))
    }

    /// Platform tag of the wheel, for packages with wheels for single platforms.
    pub fn platform(&self) -> Option<&str> {
        self.platform.as_deref()
    }

    /// Instructions for a user who provides the files.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}
