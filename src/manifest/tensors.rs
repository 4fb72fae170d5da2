//! The `[[graph]]` tables: files, tensors and their roles.

use serde::Deserialize;

/// Name of the batch axis in a manifest.
pub(crate) const BATCH: &str = "N";
/// Name of the axis of hops in a manifest.
pub(crate) const HOPS: &str = "S";

/// One ONNX file. The graphs run in their order, once a hop.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GraphSpec {
    /// name of a file in the folder of the manifest
    pub(crate) file: String,
    /// hash of the file, hexadecimal
    pub(crate) sha256: String,
    /// states inside the graph: those of recurrences and convolutions along the hops, which become
    /// inputs and outputs of the graph when it is loaded
    #[serde(default)]
    pub(crate) hidden_states: usize,
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
}

/// One tensor of a graph.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TensorSpec {
    /// name in the graph
    pub(crate) name: String,
    pub(crate) role: Role,
    /// `"N"` is the batch axis, `"S"` the axis of hops of an export for whole signals
    pub(crate) shape: Vec<Axis>,
    /// for an input with the role `state`: the value before the first hop
    #[serde(default)]
    pub(crate) initial: Option<f32>,
    /// for an output with the role `state`: the input that receives it on the next hop; for an
    /// input with the role `intermediate`: the output of an earlier graph, if it has another name
    #[serde(default, alias = "of")]
    pub(crate) source: Option<String>,
    /// for complex numbers: the order of their axes
    #[serde(default)]
    pub(crate) layout: Option<Layout>,
    /// for the role `taps`: the filter, if the shape does not determine it
    #[serde(default)]
    pub(crate) taps: Option<TapsSpec>,
}

/// One axis of a tensor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Axis {
    Size(usize),
    Symbol(String),
}

/// The order of the real and imaginary parts of the bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layout {
    /// [bins, 2]: the real and the imaginary part of each bin together
    #[serde(alias = "bin-part")]
    Interleaved,
    /// [2, bins]: all real parts, then all imaginary parts
    #[serde(alias = "part-bin")]
    Planar,
}

/// A complex filter over hops for each of the lowest bins (deep filtering, Mack & Habets 2020).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TapsSpec {
    /// length of the filter, hops
    pub(crate) order: usize,
    /// number of filtered bins
    pub(crate) bins: usize,
    /// hops of the filter after the output hop
    #[serde(default)]
    pub(crate) ahead: usize,
    pub(crate) layout: TapLayout,
}

/// The order of the coefficients of a [`TapsSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TapLayout {
    /// [order, 2, bins], the newest hop first
    NewestPartBin,
    /// [bins, order, 2], the oldest hop first
    BinOldestPart,
}

/// The use of a tensor. "In" is an input, "out" an output of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// in: the features of `[features]`, in their order
    Features,
    /// in: [bands] the levels of `[band_levels]`
    BandLevels,
    /// in: [2 * bins] the spectrum of `[unit_spectrum]`
    UnitSpectrum,
    /// in and out: [2 * bins] the whole spectrum, multiplied by `spectrum_scale`
    Spectrum,
    /// in: [bins] |X|
    Magnitude,
    /// in: [bins] log10(max(|X|^2, 1e-12))
    LogPower,
    /// in: [window] the inverse transform of the spectrum after the earlier graphs; out: [window]
    /// samples that replace the inverse transform and are overlap-added without a window
    #[serde(alias = "frame")]
    Windowed,
    /// out of one graph and in of later ones, any shape
    #[serde(alias = "link")]
    Intermediate,
    /// in and out, any shape: the output of a hop is the input of the next one
    State,
    /// out: [bands] real gain of each band, or of each bin without bands
    Gain,
    /// out: the filter of a [`TapsSpec`], which replaces the gain of its bins
    Taps,
    /// out: [1] probability of speech
    Vad,
    /// out: [1] signal-to-noise ratio of the hop, dB
    Snr,
    /// out: not used
    Unused,
}

impl Role {
    /// The word of a manifest.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Features => "features",
            Self::BandLevels => "band-levels",
            Self::UnitSpectrum => "unit-spectrum",
            Self::Spectrum => "spectrum",
            Self::Magnitude => "magnitude",
            Self::LogPower => "log-power",
            Self::Windowed => "windowed",
            Self::Intermediate => "intermediate",
            Self::State => "state",
            Self::Gain => "gain",
            Self::Taps => "taps",
            Self::Vad => "vad",
            Self::Snr => "snr",
            Self::Unused => "unused",
        }
    }
}

impl TensorSpec {
    /// Number of elements for one hop of one stream.
    pub(crate) fn elements(&self) -> usize {
        self.stream_shape().iter().product()
    }

    /// Shape for one hop of one stream.
    pub(crate) fn stream_shape(&self) -> Vec<usize> {
        let size = |axis: &Axis| match axis {
            Axis::Size(size) => *size,
            Axis::Symbol(_) => 1,
        };
        self.shape.iter().map(size).collect()
    }

    /// The filter of a tensor with the role `taps`. Without `taps` in the manifest it follows from the
    /// shape [N, order, 2, bins].
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles_are_those_of_manifests() {
        #[derive(Deserialize)]
        struct Line {
            role: Role,
        }
        for role in [
            Role::Features,
            Role::BandLevels,
            Role::UnitSpectrum,
            Role::Spectrum,
            Role::Magnitude,
            Role::LogPower,
            Role::Windowed,
            Role::Intermediate,
            Role::State,
            Role::Gain,
            Role::Taps,
            Role::Vad,
            Role::Snr,
            Role::Unused,
        ] {
            let line: Line = toml::from_str(&format!("role = \"{}\"", role.name())).unwrap();
            assert_eq!(line.role, role);
        }
    }
}
