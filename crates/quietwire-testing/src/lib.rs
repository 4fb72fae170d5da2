//! Signals, files, golden vectors and an allocation counter for the tests of the quietwire crates.
//!
//! Nothing here depends on the denoiser, so every crate of the workspace can use it.

pub mod files;
pub mod golden;
pub mod network;
mod panics;
mod processes;
pub mod random;
pub mod signal;

pub use allocation_counter::{AllocationInfo, measure};
pub use panics::panic_after;
pub use processes::failing_test;
pub use random::Random;
