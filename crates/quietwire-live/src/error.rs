//! Why a live path cannot start.

use std::io;
use std::path::PathBuf;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// No audio system answers.
    #[error("no audio system is available: {reason}")]
    NoHost {
        /// What the audio systems returned.
        reason: String,
    },
    /// There is no device at all.
    #[error("there is no {direction} device")]
    NoDevice {
        /// "input" or "output".
        direction: &'static str,
    },
    /// No device has this name.
    #[error("no {direction} device has `{name}` in its name: found {found}")]
    UnknownDevice {
        /// "input" or "output".
        direction: &'static str,
        /// The requested name.
        name: String,
        /// The names of the devices.
        found: String,
    },
    /// Several devices have this text in their names.
    #[error("`{name}` matches several {direction} devices: {found}")]
    AmbiguousDevice {
        /// "input" or "output".
        direction: &'static str,
        /// The requested name.
        name: String,
        /// The names that match.
        found: String,
    },
    /// The device refuses to open.
    #[error("the {direction} device `{device}` cannot be opened: {reason}")]
    Open {
        /// "input" or "output".
        direction: &'static str,
        /// Its name.
        device: String,
        /// The kind of the failure.
        failure: OpenFailure,
        /// The reason of the audio system.
        reason: String,
    },
    /// The denoiser cannot be created.
    #[error("the denoiser cannot be created")]
    Denoiser(#[from] quietwire::Error),
    /// The sound server did not create the virtual device.
    #[error("the virtual device `{name}` cannot be created: {reason}")]
    VirtualDevice {
        /// Its name.
        name: String,
        /// The reason of the sound server.
        reason: String,
    },
    /// The output of a path is the virtual loudspeaker that it reads.
    #[error(
        "the default output `{device}` is the virtual loudspeaker of this path: its sound would come back to it"
    )]
    Feedback {
        /// Its name.
        device: String,
    },
    /// The recording cannot be written.
    #[error("cannot write the recording {path}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The operating system refused a thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Why a device does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OpenFailure {
    /// Another program uses it.
    Busy,
    /// It is not there any more.
    Absent,
    /// The user may not use it.
    PermissionDenied,
    /// It has no format that can be used.
    Format,
    /// The sound server does not answer.
    NoServer,
    /// Anything else.
    Other,
}
