//! The tables of `model.toml` besides the graphs.

use serde::Deserialize;

/// The input for which the model is intended.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IntendedUse {
    /// lowest and highest rate of a stream, Hz
    pub(super) input_rates_hz: [u32; 2],
    /// kind of speech
    pub(super) speech: String,
}

/// Where the files of a model that is not part of this library are available.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    /// in the Python package index
    pub(super) package: Option<String>,
    /// version of the package
    pub(super) version: Option<String>,
    /// platform tag, for packages with wheels for single platforms
    pub(super) platform: Option<String>,
    /// instructions for a user without the package index
    pub(super) hint: String,
}

/// The short-time Fourier transform of the model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrontEnd {
    /// sample rate, Hz
    pub(super) rate_hz: u32,
    /// samples
    pub(super) window: usize,
    /// length of the transform, samples; default: the window; a longer transform pads with zeros
    #[serde(default)]
    pub(super) transform: Option<usize>,
    /// samples
    pub(super) hop: usize,
    /// hops
    pub(super) lookahead: usize,
    pub(super) window_shape: WindowShape,
    /// factor of the spectrum at the model's input; the output is divided by it
    #[serde(default = "one")]
    pub(super) spectrum_scale: f32,
}

fn one() -> f32 {
    1.0
}

/// Shape of the analysis window. The synthesis window is the same, divided by the sum of the
/// overlapping products of both (Griffin & Lim 1984).
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

/// The features of the role `features`: the levels of the bands, then the phase advances.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Features {
    pub(crate) bands: TriangularBands,
    pub(crate) phase_advance: Option<PhaseAdvance>,
    pub(crate) level: Level,
}

/// Triangular bands between neighboring centers. Their gains are interpolated with the same weights.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TriangularBands {
    /// bins, rising, from 0 to the last bin
    #[serde(alias = "centres")]
    pub(crate) centers: Vec<usize>,
    /// lowest level of a band, dB relative to the running level
    pub(crate) range_low_db: f32,
    /// highest level of a band, dB relative to the running level
    pub(crate) range_high_db: f32,
    /// dB per unit of the feature
    pub(crate) range_step_db: f32,
    /// added to the feature
    pub(crate) range_offset: f32,
}

/// Rectangular bands side by side, for band levels and for gains without `[features]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bands {
    /// [bands] bins; the sum is the number of bins
    pub(crate) widths: Vec<usize>,
}

/// Mean power of a band in dB, minus its running mean (Schroeter et al. 2022, DeepFilterNet).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BandLevels {
    /// weight of the previous running mean, between 0 and 1
    #[serde(alias = "keep")]
    pub(crate) smoothing: f32,
    /// running mean of the lowest and the highest band before the first hop, dB
    #[serde(alias = "start_db")]
    pub(crate) initial_db: [f32; 2],
    /// dB per unit of the feature
    pub(crate) step_db: f32,
}

/// The lowest bins, divided by the square root of their running magnitude (Schroeter et al. 2022).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnitSpectrum {
    pub(crate) bins: usize,
    /// weight of the previous running magnitude, between 0 and 1
    #[serde(alias = "keep")]
    pub(crate) smoothing: f32,
    /// running magnitude of the lowest and the highest bin before the first hop
    #[serde(alias = "start")]
    pub(crate) initial: [f32; 2],
}

/// Thresholds of the model's own signal-to-noise ratio that decide which graphs run on a hop. The
/// states of a graph that does not run stay as they are. An infinite threshold disables its rule.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    /// below: only noise, the gain is 0
    pub(crate) noise_below_db: f32,
    /// above: gains without taps
    pub(crate) no_taps_above_db: f32,
    /// above: clean, the output is the input
    pub(crate) clean_above_db: f32,
}

/// Cosine and sine of the phase change of a bin over one hop, minus that of the bin's center
/// frequency (phase vocoder, Flanagan & Golden 1966).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhaseAdvance {
    pub(crate) first_bin: usize,
    pub(crate) bins: usize,
}

/// The running level of the stream, the reference of the band levels.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Level {
    /// lowest bin that counts
    pub(crate) first_bin: usize,
    /// part of the distance to a higher level per hop, above 0, at most 1
    pub(crate) attack: f32,
    /// fall per hop, dB
    pub(crate) release_db: f32,
    /// lowest level, dBFS
    pub(crate) floor_db: f32,
}
