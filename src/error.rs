//! What can go wrong, with what was expected and what came.

/// Every error of the library. Variants met while audio runs hold only numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's sample rate is outside what a stream supports.
    #[error("sample rate {found_hz} Hz is not supported: choose {min_hz} to {max_hz} Hz")]
    Rate {
        /// What the caller asked for, Hz.
        found_hz: u32,
        /// Lowest rate, Hz.
        min_hz: u32,
        /// Highest rate, Hz.
        max_hz: u32,
    },
    /// The caller's channel count is outside what a stream supports.
    #[error("{found} channels are not supported: choose 1 to {max}")]
    Channels {
        /// What the caller asked for.
        found: usize,
        /// Most channels of one stream.
        max: usize,
    },
    /// An attenuation limit that is not a number of decibels from 0 up.
    #[error(
        "attenuation limit {found_db} dB is not usable: choose 0 (change nothing) or more, infinity for no limit"
    )]
    Attenuation {
        /// What the caller asked for, dB.
        found_db: f32,
    },
    /// The model makes whole spectra or samples, no mask that channels could share.
    #[error("model `{model}` gives no mask that channels could share: clean them independently")]
    Linked {
        /// Its id.
        model: String,
    },
    /// The model's manifest has no `[gate]`.
    #[error("model `{model}` has no gate: its manifest would need a [gate] and an output `snr`")]
    Gate {
        /// Its id.
        model: String,
    },
    /// A batch of no streams, or of more than help.
    #[error("a step of {found} streams is not possible: choose 1 to {max}")]
    BatchWidth {
        /// What the caller asked for.
        found: usize,
        /// Most streams of one step.
        max: usize,
    },
    /// Blocks of whole hops were promised to a stream whose hops are none of the caller's.
    #[error(
        "whole hops are a promise about the models' own rate, and about one hop for all of them: not at {rate_hz} Hz with these"
    )]
    WholeHops {
        /// The caller's rate, Hz.
        rate_hz: u32,
    },
    /// The stream was not built with so many models.
    #[error("the stream has no model {found}: it was built with {models}, counted from 0")]
    ModelIndex {
        /// What the caller asked for.
        found: usize,
        /// Models of the stream.
        models: usize,
    },
    /// An input and an output block differ in length, or a block is not whole frames.
    #[error("block of {found} samples does not fit: expected {expected}")]
    BlockLength {
        /// Samples expected.
        expected: usize,
        /// Samples found.
        found: usize,
    },
    /// The planar entry points got another number of channel slices than the stream has.
    #[error("{found} channel slices given, the stream has {expected} channels")]
    ChannelSlices {
        /// Channels of the stream.
        expected: usize,
        /// Slices found.
        found: usize,
    },
    /// A model folder's file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why, from the operating system.
        source: std::io::Error,
    },
    /// `model.toml` is not a manifest: wrong syntax, an unknown or a missing key.
    #[error("model manifest: {0}")]
    ManifestSyntax(#[from] Box<toml::de::Error>),
    /// `model.toml` says something that cannot be, or that this version cannot run.
    #[error("model manifest, {field}: expected {expected}, found {found}")]
    Manifest {
        /// The key, as written in the file.
        field: String,
        /// What would be right.
        expected: String,
        /// What stands there.
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
    /// A tensor of the graph is not what the manifest says.
    #[error("model tensor `{tensor}`: manifest says {expected}, the graph has {found}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// From the manifest.
        expected: String,
        /// From the graph.
        found: String,
    },
    /// The engine cannot load or run the graph.
    #[error("model graph cannot be used: {0}")]
    Engine(String),
    /// The engine failed while a stream ran: this hop was replaced by the delayed input.
    #[error("the model failed on hop {hop}; the delayed input was passed on instead")]
    Inference {
        /// Hops since the stream began or was reset.
        hop: u64,
    },
    /// No embedded model has this name.
    #[error("no embedded model is called `{found}`; there are: {known}")]
    UnknownModel {
        /// What was asked for.
        found: String,
        /// What there is.
        known: String,
    },
    /// Neither an embedded, an installed nor a known model, and no folder.
    #[cfg(feature = "store")]
    #[error(
        "no model `{found}`: embedded are {embedded}; `quietwire models add` knows {known}; a folder with a model.toml works too"
    )]
    NoModel {
        /// What was asked for.
        found: String,
        /// Ids inside the library.
        embedded: String,
        /// Ids that can be installed.
        known: String,
    },
    /// A model that can be installed and is not.
    #[cfg(feature = "store")]
    #[error("model `{id}` is not installed: run `quietwire models add {id}`")]
    NotInstalled {
        /// Its id.
        id: String,
    },
    /// What a model is to be installed from does not hold its files.
    #[cfg(feature = "store")]
    #[error("{from} holds no file {file} of model `{id}`: expected {hint}")]
    NotInPackage {
        /// The model's id.
        id: String,
        /// The first file that is missing.
        file: String,
        /// Where it was looked for.
        from: std::path::PathBuf,
        /// What would hold it.
        hint: String,
    },
    /// An archive that cannot be read to its end.
    #[cfg(feature = "store")]
    #[error("archive {path} is damaged or no archive: {reason}")]
    Archive {
        /// The archive.
        path: std::path::PathBuf,
        /// What its reader says.
        reason: String,
    },
    /// A file or folder of the model store cannot be written.
    #[cfg(feature = "store")]
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or folder.
        path: std::path::PathBuf,
        /// Why, from the operating system.
        source: std::io::Error,
    },
    /// The operating system names no folder for the user's data.
    #[cfg(feature = "store")]
    #[error("no folder for this user's data: HOME is not set")]
    NoDataFolder,
    /// An error of the RTP transform.
    #[cfg(feature = "rtp")]
    #[error(transparent)]
    Rtp(#[from] crate::rtp::RtpError),
    /// An error of the file shell.
    #[cfg(feature = "file")]
    #[error(transparent)]
    File(#[from] crate::file::FileError),
}
