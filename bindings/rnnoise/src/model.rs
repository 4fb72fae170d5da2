//! Models: quietwire's own, behind the functions that load weights of RNNoise.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use quietwire::Model;

use crate::guarded;
use crate::stream::{FRAME, RATE_HZ};

/// A model. Any number of states may use it.
#[derive(Debug)]
pub struct RNNModel(pub(crate) Arc<Model>);

/// Weights of RNNoise are not supported: returns null.
#[unsafe(no_mangle)]
pub extern "C" fn rnnoise_model_from_buffer(_ptr: *const c_void, _len: c_int) -> *mut RNNModel {
    std::ptr::null_mut()
}

/// Weights of RNNoise are not supported: returns null. The type of `f` is `FILE *`.
#[unsafe(no_mangle)]
pub extern "C" fn rnnoise_model_from_file(_f: *mut c_void) -> *mut RNNModel {
    std::ptr::null_mut()
}

/// A model by its id, "base" or "tiny", or by its folder. Null when it cannot be loaded, or has another
/// rate than 48 kHz or other hops than 480 samples.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rnnoise_model_from_filename(filename: *const c_char) -> *mut RNNModel {
    let model = guarded(|| {
        if filename.is_null() {
            return None;
        }
        // SAFETY: not null; the caller passes a text that ends with NUL.
        let name = unsafe { CStr::from_ptr(filename) }.to_str().ok()?;
        let model = Model::embedded(name)
            .or_else(|_| Model::from_folder(name))
            .ok()?;
        let fits = model.manifest().rate_hz() == RATE_HZ && model.manifest().hop() == FRAME;
        fits.then(|| Box::into_raw(Box::new(RNNModel(model))))
    });
    model.unwrap_or(std::ptr::null_mut())
}

/// Frees a model. States keep what they use. Null does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rnnoise_model_free(model: *mut RNNModel) {
    guarded(|| {
        if !model.is_null() {
            // SAFETY: the caller passes a model that was not freed.
            drop(unsafe { Box::from_raw(model) });
        }
        Some(())
    });
}
