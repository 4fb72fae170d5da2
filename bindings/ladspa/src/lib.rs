//! LADSPA plugins with the models of quietwire: `libquietwire_ladspa.so`.
//!
//! `docs/ladspa.md` is the guide for users. Here is how the crate is built:
//!
//! - `abi.rs` has the structures of LADSPA 1.1, `ports.rs` the ports and their ranges, and `descriptor.rs`
//!   the two plugins, mono and stereo.
//! - `instance.rs` has the functions that a host calls. Each runs under a guard that stops panics.
//! - `controls.rs` reads the settings from the control ports.
//! - `audio.rs` processes a block hop by hop. The crate `quietwire-guarded` has the delayed input for the
//!   case that a panic was caught.

#[cfg(panic = "abort")]
compile_error!("the plugin functions catch panics: build them with panic = \"unwind\"");

pub mod abi;
mod audio;
mod controls;
mod descriptor;
mod instance;
mod ports;

pub use descriptor::ladspa_descriptor;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs the body of a function that a host calls. A panic becomes `None`: unwinding into C is undefined.
fn guarded<T>(body: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_default()
}
