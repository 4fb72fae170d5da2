//! Decoders that panic on damaged data.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::FileError;

/// Runs a decoder. Some decoders panic on damaged data: the caller gets the error of a damaged file,
/// and the decoder is not used again.
pub(crate) fn catch_panic<T>(
    path: &Path,
    at_s: f64,
    decode: impl FnOnce() -> Result<T, FileError>,
) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        let reason = "the decoder panicked".into();
        Err(FileError::Corrupt {
            path: path.into(),
            at_s,
            reason,
        })
    })
}
