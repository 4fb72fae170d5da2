//! The denoiser as functions for JavaScript. `bindings/web/src/engine.ts` is the only caller.
//!
//! One instance has the models that were added and the streams that were created. Numbers cross the
//! edge as they are; texts, models and samples lie in buffers of this module, whose places it returns.
//! There is no generated glue, no import, and no table that needs `eval`.
//!
//! Results of type `i32`: 0 or a count for success, -1 for a failure, whose text
//! [`quietwire_error`] returns.

mod allocator;
mod stream;

use std::cell::RefCell;
use std::sync::Arc;

use quietwire::{AttenuationLimit, Model};

use allocator::ZeroingAllocator;
use stream::Stream;

#[global_allocator]
static ALLOCATOR: ZeroingAllocator = ZeroingAllocator;

/// What an instance holds besides its streams.
#[derive(Default)]
struct Instance {
    models: Vec<Arc<Model>>,
    /// bytes that JavaScript writes
    bytes: Vec<u8>,
    error: String,
}

thread_local! {
    static INSTANCE: RefCell<Instance> = RefCell::default();
}

/// Runs `work`. A failure leaves its text.
fn with_instance(work: impl FnOnce(&mut Instance) -> Result<i32, String>) -> i32 {
    INSTANCE.with_borrow_mut(|instance| match work(instance) {
        Ok(value) => value,
        Err(error) => {
            instance.error = error;
            -1
        }
    })
}

/// The value of a result. A failure leaves its text.
fn code(result: Result<i32, quietwire::Error>) -> i32 {
    with_instance(|_| result.map_err(text))
}

/// A buffer of `len` bytes for the next [`quietwire_add_model`].
#[unsafe(no_mangle)]
pub extern "C" fn quietwire_reserve(len: usize) -> *mut u8 {
    INSTANCE.with_borrow_mut(|instance| {
        instance.bytes = vec![0; len];
        instance.bytes.as_mut_ptr()
    })
}

/// Adds a model from the buffer: `manifest_len` bytes of its `model.toml`, then those of its graph.
/// Returns its index. The first model is the best one; the others are steps down.
#[unsafe(no_mangle)]
pub extern "C" fn quietwire_add_model(manifest_len: usize) -> i32 {
    with_instance(|instance| {
        let bytes = std::mem::take(&mut instance.bytes);
        let (manifest, onnx) = bytes
            .split_at_checked(manifest_len)
            .ok_or("the manifest is longer than the buffer")?;
        let manifest = std::str::from_utf8(manifest).map_err(|error| error.to_string())?;
        let model = Model::from_memory(manifest, &[onnx]).map_err(text)?;
        instance.models.push(model);
        Ok(instance.models.len() as i32 - 1)
    })
}

/// Creates a stream for 1 or 2 channels with all models. Null for a failure.
#[unsafe(no_mangle)]
pub extern "C" fn quietwire_create(
    rate_hz: u32,
    channels: usize,
    attenuation_db: f32,
) -> *mut Stream {
    INSTANCE.with_borrow_mut(|instance| {
        match Stream::new(&instance.models, rate_hz, channels, attenuation_db) {
            Ok(stream) => Box::into_raw(Box::new(stream)),
            Err(error) => {
                instance.error = text(error);
                std::ptr::null_mut()
            }
        }
    })
}

/// The place of the text of the latest failure. [`quietwire_error_len`] is its length in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn quietwire_error() -> *const u8 {
    INSTANCE.with_borrow(|instance| instance.error.as_ptr())
}

/// Bytes of the text of the latest failure.
#[unsafe(no_mangle)]
pub extern "C" fn quietwire_error_len() -> usize {
    INSTANCE.with_borrow(|instance| instance.error.len())
}

/// A function for a stream.
///
/// # Safety
/// `stream` is a result of [`quietwire_create`] that is not null, and nothing else uses it now.
unsafe fn with_stream<T>(stream: *mut Stream, work: impl FnOnce(&mut Stream) -> T) -> T {
    // SAFETY: as the caller states.
    work(unsafe { &mut *stream })
}

macro_rules! stream_functions {
    ($($(#[$doc:meta])* fn $name:ident($stream:ident $(, $arg:ident: $type:ty)*) -> $result:ty $body:block)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Safety
            /// `stream` is a result of [`quietwire_create`] that is not null.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name(stream: *mut Stream $(, $arg: $type)*) -> $result {
                // SAFETY: as the caller states. JavaScript runs one function of an instance at a time.
                unsafe { with_stream(stream, |$stream| $body) }
            }
        )*
    };
}

stream_functions! {
    /// The place of the samples of a channel, 4096 numbers.
    fn quietwire_block(stream, channel: usize) -> *mut f32 {
        stream.block_mut(channel).as_mut_ptr()
    }
    /// Cleans the first `frames` samples of each channel, in place.
    fn quietwire_process(stream, frames: usize) -> i32 {
        code(stream.process(frames).map(|()| 0))
    }
    /// Latency, frames.
    fn quietwire_latency(stream) -> usize { stream.denoiser().latency() }
    /// The place of 8 numbers: hops so far, probability of speech (-1: the model has none), SNR in dB, gain
    /// in dB, level of the input and of the output in dBFS, steps down, hops on which a model failed.
    fn quietwire_telemetry(stream) -> *const f32 { stream.telemetry().as_ptr() }
    /// Switches suppression off (1) or on (0).
    fn quietwire_set_bypass(stream, bypass: u32) -> i32 {
        stream.denoiser_mut().set_bypass(bypass != 0);
        0
    }
    /// Sets the attenuation limit, dB.
    fn quietwire_set_attenuation(stream, attenuation_db: f32) -> i32 {
        code(stream.denoiser_mut().set_attenuation(AttenuationLimit::Db(attenuation_db)).map(|()| 0))
    }
    /// Changes to the model with this index.
    fn quietwire_set_model(stream, model: usize) -> i32 {
        code(stream.denoiser_mut().set_model(model).map(|()| 0))
    }
    /// Steps down to a cheaper model, or, after the last one, to the delayed input. Larger numbers
    /// are the largest one.
    fn quietwire_set_fallback_level(stream, level: usize) -> i32 {
        let level = level.min(stream.denoiser().max_fallback_level());
        code(stream.denoiser_mut().set_fallback_level(level).map(|()| level as i32))
    }
}

/// Frees a stream. Null is allowed.
///
/// # Safety
/// `stream` is a result of [`quietwire_create`] that is not used any more, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_free(stream: *mut Stream) {
    if !stream.is_null() {
        // SAFETY: it came from `Box::into_raw` in `quietwire_create`, and the caller gives it up.
        drop(unsafe { Box::from_raw(stream) });
    }
}

/// An error with its causes.
fn text(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
