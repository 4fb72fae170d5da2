//! The errors of the library: what was expected and what was found.

use std::path::PathBuf;

/// Every error of the library. Variants that occur while audio runs hold only numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's sample rate is outside the supported range.
    #[error("sample rate {found_hz} Hz is not supported: expected {min_hz} to {max_hz} Hz")]
    Rate {
        /// Requested rate, Hz.
        found_hz: u32,
        /// Lowest rate, Hz.
        min_hz: u32,
        /// Highest rate, Hz.
        max_hz: u32,
    },
    /// The caller's channel count is outside the supported range.
    #[error("{found} channels are not supported: expected 1 to {max}")]
    Channels {
        /// Requested channels.
        found: usize,
        /// Largest number of channels of one stream.
        max: usize,
    },
    /// The attenuation limit is negative or not a number.
    #[error("attenuation limit {found_db} dB is not valid: expected 0 dB or more, or no limit")]
    Attenuation {
        /// Requested limit, dB.
        found_db: f32,
    },
    /// The telemetry ring is larger than supported.
    #[error("telemetry of {found} hops is not supported: expected 0 to {max}")]
    TelemetryHops {
        /// Requested hops.
        found: usize,
        /// Largest number of hops.
        max: usize,
    },
    /// A stream needs at least one model.
    #[error("no model was given: a stream needs at least one")]
    NoModel,
    /// The model outputs spectra or samples. It has no mask that channels could share.
    #[error("model `{model}` has no mask that channels can share: use independent channels")]
    Linked {
        /// Its id.
        model: String,
    },
    /// The model's manifest has no `[gate]`.
    #[error(
        "model `{model}` does not support SNR gating: its manifest has no [gate] and no output `snr`"
    )]
    Gate {
        /// Its id.
        model: String,
    },
    /// The width of a batch is outside the supported range.
    #[error("a batch of {found} streams per step is not supported: expected 1 to {max}")]
    BatchWidth {
        /// Requested width.
        found: usize,
        /// Largest width.
        max: usize,
    },
    /// `hop_aligned` was requested, but a model runs at another rate or has another hop.
    #[error(
        "hop_aligned needs every model's rate and hop to equal the stream's: this stream runs at {rate_hz} Hz"
    )]
    HopAligned {
        /// The caller's rate, Hz.
        rate_hz: u32,
    },
    /// The stream has no model with this index.
    #[error("model index {found} is out of range: the stream has {models} models, counted from 0")]
    ModelIndex {
        /// Requested index.
        found: usize,
        /// Models of the stream.
        models: usize,
    },
    /// The fallback level is beyond the stream's last one.
    #[error("fallback level {found} is out of range: expected 0 to {max}")]
    FallbackLevel {
        /// Requested level.
        found: usize,
        /// The level at which the output is the delayed input.
        max: usize,
    },
    /// Input and output differ in length, or a block is not a whole number of frames or hops.
    #[error("block of {found} samples is not valid: expected {expected}")]
    BlockLength {
        /// Samples expected.
        expected: usize,
        /// Samples found.
        found: usize,
    },
    /// A planar method got another number of channel slices than the stream has channels.
    #[error("{found} channel slices were passed: the stream has {expected} channels")]
    ChannelSlices {
        /// Channels of the stream.
        expected: usize,
        /// Slices found.
        found: usize,
    },
    /// During one batch call a [`BatchStream`](crate::BatchStream) returned another stream or block
    /// than at the start of the call. The rest of its block was not processed.
    #[error("the block of a batch stream changed during the call: the rest was not processed")]
    BatchStreamChanged,
    /// A file of a model folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// `model.toml` is not a manifest: wrong syntax, an unknown key or a missing key.
    #[error("model manifest: {message}")]
    ManifestSyntax {
        /// Place and reason, on one line.
        message: String,
    },
    /// A value in `model.toml` is contradictory, or this version cannot run it.
    #[error("model manifest, {field}: expected {expected}, found {found}")]
    Manifest {
        /// The key, as written in the file.
        field: String,
        /// Expected value.
        expected: String,
        /// Found value.
        found: String,
    },
    /// The ONNX file is not the one that the manifest names.
    #[error(
        "model graph {file}: sha256 expected {expected}, found {found}: the file is damaged or belongs to another manifest"
    )]
    Hash {
        /// The file's name in the manifest.
        file: String,
        /// From the manifest.
        expected: String,
        /// Of the bytes given.
        found: String,
    },
    /// A tensor of the graph differs from the manifest.
    #[error("model tensor `{tensor}`: the manifest has {expected}, the graph has {found}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// From the manifest.
        expected: String,
        /// From the graph.
        found: String,
    },
    /// The engine cannot load or run the graph.
    #[error("the engine cannot run the model graph: {reason}")]
    Engine {
        /// The engine's reason.
        reason: String,
    },
    /// The graph needs the engine tract, which this build does not have.
    #[error(
        "model graph {file} needs the engine tract, which is not in this build: the crate quietwire was built without its feature `onnx` ({reason})"
    )]
    EngineMissing {
        /// The file's name in the manifest.
        file: String,
        /// Why the executor of this library cannot run the graph.
        reason: String,
    },
    /// The model failed while a stream ran. The output of this hop is the delayed input. See
    /// [`Denoiser::last_failure`](crate::Denoiser::last_failure).
    #[error("the model failed on hop {hop}: the output of this hop is the delayed input")]
    Inference {
        /// Hops since the stream was created or reset.
        hop: u64,
    },
    /// No embedded model has this id.
    #[error("no embedded model has the id `{found}`: expected one of {known}")]
    UnknownModel {
        /// Requested id.
        found: String,
        /// Ids of all embedded models.
        known: String,
    },
}

/// The kind of an [`Error`], with codes that stay the same in all later versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option of a stream or batch is out of range.
    InvalidOption = 1,
    /// A model cannot do what an option asks for.
    UnsupportedByModel = 2,
    /// A block does not fit the stream.
    InvalidBlock = 3,
    /// A file cannot be read.
    Io = 4,
    /// A manifest is not valid.
    InvalidManifest = 5,
    /// A graph does not match its manifest.
    ModelMismatch = 6,
    /// The engine cannot run a graph.
    Engine = 7,
    /// A model failed while a stream ran.
    Inference = 8,
    /// No model has the requested id.
    UnknownModel = 9,
}

impl ErrorKind {
    /// The code, for C and for logs.
    pub const fn code(self) -> u32 {
        self as u32
    }
}

impl Error {
    /// The kind of the error.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Rate { .. }
            | Self::Channels { .. }
            | Self::Attenuation { .. }
            | Self::TelemetryHops { .. }
            | Self::NoModel
            | Self::BatchWidth { .. }
            | Self::ModelIndex { .. }
            | Self::FallbackLevel { .. } => ErrorKind::InvalidOption,
            Self::Linked { .. } | Self::Gate { .. } | Self::HopAligned { .. } => {
                ErrorKind::UnsupportedByModel
            }
            Self::BlockLength { .. } | Self::ChannelSlices { .. } | Self::BatchStreamChanged => {
                ErrorKind::InvalidBlock
            }
            Self::Read { .. } => ErrorKind::Io,
            Self::ManifestSyntax { .. } | Self::Manifest { .. } => ErrorKind::InvalidManifest,
            Self::Hash { .. } | Self::Tensor { .. } => ErrorKind::ModelMismatch,
            Self::Engine { .. } | Self::EngineMissing { .. } => ErrorKind::Engine,
            Self::Inference { .. } => ErrorKind::Inference,
            Self::UnknownModel { .. } => ErrorKind::UnknownModel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C callers and logs compare these numbers: none of them may ever change.
    #[test]
    fn codes_are_stable() {
        let codes = [
            (ErrorKind::InvalidOption, 1),
            (ErrorKind::UnsupportedByModel, 2),
            (ErrorKind::InvalidBlock, 3),
            (ErrorKind::Io, 4),
            (ErrorKind::InvalidManifest, 5),
            (ErrorKind::ModelMismatch, 6),
            (ErrorKind::Engine, 7),
            (ErrorKind::Inference, 8),
            (ErrorKind::UnknownModel, 9),
        ];
        for (kind, code) in codes {
            assert_eq!(kind.code(), code, "{kind:?}");
        }
    }
}
