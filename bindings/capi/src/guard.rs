//! Panics end here: unwinding into C is undefined.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Failure;

/// Runs the body of a C function. A panic becomes an error.
///
/// What a body changes stays usable after a panic: streams of the core are unwind safe, and the values of
/// this crate are plain numbers.
pub(crate) fn guarded<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(Err(Failure::Panic))
}
