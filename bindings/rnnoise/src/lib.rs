//! The functions of RNNoise 0.2 (`include/rnnoise.h`) with the models of quietwire.
//!
//! A program that links `librnnoise` runs with this library in its place. `docs/c-library.md` lists the
//! differences.

#[cfg(panic = "abort")]
compile_error!("the C functions catch panics: build them with panic = \"unwind\"");

mod model;
mod state;
mod stream;

pub use model::{
    RNNModel, rnnoise_model_free, rnnoise_model_from_buffer, rnnoise_model_from_file,
    rnnoise_model_from_filename,
};
pub use state::{
    DenoiseState, rnnoise_create, rnnoise_destroy, rnnoise_get_frame_size, rnnoise_get_size,
    rnnoise_init, rnnoise_process_frame,
};

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs the body of a C function. A panic becomes `None`: unwinding into C is undefined.
fn guarded<T>(body: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_default()
}
