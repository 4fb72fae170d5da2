//! The C interface of quietwire: `include/quietwire.h`, generated from this crate.
//!
//! `docs/c-library.md` is the guide for C programs. Here is how the crate is built:
//!
//! - Each function of C is in the module of what it works on: [`QuietwireModel`], [`QuietwireOptions`],
//!   [`QuietwireStream`]. It checks its pointers, runs under a guard that stops panics, and returns a
//!   [`QuietwireError`].
//! - `audio.rs` processes blocks of every layout hop by hop. The crate `quietwire-guarded` has the delayed
//!   input for the case that a panic was caught.
//! - `handle.rs` distinguishes live handles from other pointers.
//! - `settings.rs` and `reports.rs` are the ways between the audio thread and all other threads: atomic
//!   values, without locks.

#[cfg(panic = "abort")]
compile_error!("the C functions catch panics: build them with panic = \"unwind\"");

mod audio;
mod block;
mod error;
mod guard;
mod handle;
mod model;
mod options;
mod process;
mod reports;
mod settings;
mod stream;
mod version;

pub use error::{QuietwireError, quietwire_error_text};
pub use model::{
    QuietwireModel, quietwire_model_embedded, quietwire_model_free, quietwire_model_from_folder,
    quietwire_model_from_memory,
};
pub use options::{
    QUIETWIRE_HIGH_DB, QUIETWIRE_LOW_DB, QUIETWIRE_MEDIUM_DB, QuietwireChannelMode,
    QuietwireOptions, quietwire_options_init,
};
pub use process::{
    quietwire_flush, quietwire_process_f32, quietwire_process_i16, quietwire_process_planar_f32,
    quietwire_process_planar_i16, quietwire_reset,
};
pub use reports::{QuietwireStats, QuietwireTelemetry, quietwire_stats, quietwire_telemetry};
pub use settings::{quietwire_set_attenuation_db, quietwire_set_bypass, quietwire_set_model};
pub use stream::{
    QuietwireStream, quietwire_free, quietwire_hop_frames, quietwire_latency, quietwire_new,
};
pub use version::{QUIETWIRE_ABI_VERSION, quietwire_abi_version, quietwire_version};
