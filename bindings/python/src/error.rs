//! Errors of the Rust crates as the exceptions of `quietwire.errors`.

use std::io;
use std::path::Path;

use pyo3::prelude::*;
use quietwire::ErrorKind;
use quietwire_file::FileError;

/// An exception of `quietwire.errors`.
pub(crate) fn exception(py: Python<'_>, class: &str, message: impl Into<String>) -> PyErr {
    let message = message.into();
    let created = py
        .import("quietwire.errors")
        .and_then(|errors| errors.getattr(class))
        .and_then(|class| class.call1((message,)));
    match created {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// An option out of range.
pub(crate) fn invalid_option(py: Python<'_>, message: impl Into<String>) -> PyErr {
    exception(py, "InvalidOptionError", message)
}

/// A block that does not fit the stream.
pub(crate) fn invalid_block(py: Python<'_>, message: impl Into<String>) -> PyErr {
    exception(py, "InvalidBlockError", message)
}

/// An error of a stream, with the engine's reason if its model failed.
#[derive(Debug)]
pub(crate) struct StreamError {
    error: quietwire::Error,
    reason: Option<String>,
}

impl StreamError {
    pub(crate) fn new(error: quietwire::Error, stream: &quietwire::Denoiser) -> Self {
        let reason = match error.kind() {
            ErrorKind::Inference => stream.last_failure(),
            _ => None,
        };
        Self { error, reason }
    }

    /// Whether the output is complete.
    pub(crate) fn is_inference(&self) -> bool {
        self.error.kind() == ErrorKind::Inference
    }

    pub(crate) fn exception(&self, py: Python<'_>) -> PyErr {
        let mut message = with_causes(&self.error);
        if let Some(reason) = &self.reason {
            message = format!("{message}: {reason}");
        }
        exception(py, class_of(self.error.kind()), message)
    }
}

/// An error of the core as the exception of its kind.
pub(crate) fn from_core(py: Python<'_>, error: &quietwire::Error) -> PyErr {
    exception(py, class_of(error.kind()), with_causes(error))
}

/// An error of a file.
pub(crate) fn from_file(py: Python<'_>, error: &FileError) -> PyErr {
    let message = with_causes(error);
    match error {
        FileError::Denoiser(error) => from_core(py, error),
        FileError::Open { path, source }
        | FileError::Read { path, source }
        | FileError::Write { path, source } => access(py, path, source, &message),
        FileError::Program { .. } => exception(py, "FileError", message),
        FileError::Exists { .. } => exception(py, "OutputExistsError", message),
        FileError::InUse { .. }
        | FileError::SameFile { .. }
        | FileError::DuplicateOutput { .. }
        | FileError::TooLongForFlac { .. }
        | FileError::UnsupportedByFlac { .. }
        | FileError::Video { .. }
        | FileError::Encode { .. } => exception(py, "OutputError", message),
        // What is left describes the contents of the input.
        _ => exception(py, "InvalidAudioError", message),
    }
}

/// `FileAccessError(errno, text, path)`, an `OSError`. A missing file is a `FileMissingError`.
fn access(py: Python<'_>, path: &Path, source: &io::Error, message: &str) -> PyErr {
    let class = match source.kind() {
        io::ErrorKind::NotFound => "FileMissingError",
        _ => "FileAccessError",
    };
    let created = py
        .import("quietwire.errors")
        .and_then(|errors| errors.getattr(class))
        .and_then(|class| class.call1((source.raw_os_error(), message, path)));
    match created {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

fn class_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidOption => "InvalidOptionError",
        ErrorKind::UnsupportedByModel => "UnsupportedByModelError",
        ErrorKind::InvalidBlock => "InvalidBlockError",
        ErrorKind::Io => "ModelReadError",
        ErrorKind::InvalidManifest => "InvalidManifestError",
        ErrorKind::ModelMismatch => "ModelMismatchError",
        ErrorKind::Engine => "EngineError",
        ErrorKind::Inference => "InferenceError",
        ErrorKind::UnknownModel => "UnknownModelError",
        _ => "QuietwireError",
    }
}

/// The text of an error and of its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
