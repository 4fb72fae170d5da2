//! States: small structs in memory that C owns, each with a stream of ours.
//!
//! RNNoise lets a program put a state into memory of its own (`rnnoise_init`), make it anew there, and free
//! the memory without a call. So this library keeps the streams in a list by the address of their state.

use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use quietwire::Model;

use crate::guarded;
use crate::model::RNNModel;
use crate::stream::{FRAME, Stream};

/// Marks a live state.
const MAGIC: u64 = 0x5157_726e_6e6f_6973;

/// A state of RNNoise: one channel at 48 kHz.
#[repr(C)]
#[derive(Debug)]
pub struct DenoiseState {
    magic: u64,
    /// in [`STREAMS`]
    stream: *mut Stream,
}

/// The stream of each state, by the address of the state.
struct Streams(HashMap<usize, Box<Stream>>);

static STREAMS: LazyLock<Mutex<Streams>> = LazyLock::new(|| Mutex::new(Streams(HashMap::new())));

fn streams() -> MutexGuard<'static, Streams> {
    // A panic leaves the list complete: each change is one call.
    STREAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of a [`DenoiseState`].
#[unsafe(no_mangle)]
pub extern "C" fn rnnoise_get_size() -> c_int {
    size_of::<DenoiseState>() as c_int
}

/// Samples of a frame: 480.
#[unsafe(no_mangle)]
pub extern "C" fn rnnoise_get_frame_size() -> c_int {
    FRAME as c_int
}

/// Makes a state in memory of `rnnoise_get_size` bytes. A state that was there before ends. Returns 0, or
/// -1 after a failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rnnoise_init(st: *mut DenoiseState, model: *mut RNNModel) -> c_int {
    let made = guarded(|| {
        if st.is_null() || !st.is_aligned() {
            return None;
        }
        let model = if model.is_null() {
            Model::embedded("base").ok()?
        } else {
            // SAFETY: not null; the caller passes a model that was not freed.
            unsafe { &*model }.0.clone()
        };
        let mut stream = Box::new(Stream::new(&model).ok()?);
        let state = DenoiseState {
            magic: MAGIC,
            stream: &raw mut *stream,
        };
        streams().0.insert(st.addr(), stream);
        // SAFETY: not null and aligned; the caller passes memory of the size of a state.
        unsafe { st.write(state) };
        Some(0)
    });
    made.unwrap_or(-1)
}

/// Makes a state. Returns null after a failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rnnoise_create(model: *mut RNNModel) -> *mut DenoiseState {
    // SAFETY: `malloc` may be called with any size. Its memory is aligned for every type.
    let st = unsafe { libc::malloc(size_of::<DenoiseState>()) }.cast::<DenoiseState>();
    // SAFETY: null or memory of the size of a state.
    if !st.is_null() && unsafe { rnnoise_init(st, model) } != 0 {
        // SAFETY: from `malloc`.
        unsafe { libc::free(st.cast()) };
        return std::ptr::null_mut();
    }
    st
}

/// Ends a state and frees its memory, which is from `rnnoise_create` or `malloc`. Null, and memory that
/// holds no state, are left as they are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rnnoise_destroy(st: *mut DenoiseState) {
    guarded(|| {
        // Not dropped while the list is locked.
        let stream = streams().0.remove(&st.addr())?;
        drop(stream);
        // SAFETY: the list had a state at this address, in memory from `malloc`.
        unsafe {
            (*st).magic = 0;
            libc::free(st.cast());
        }
        Some(())
    });
}

/// Denoises 480 samples in the range of 16-bit numbers, from `input` to `out`, which may be one buffer.
/// Returns the probability of speech, 0 to 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rnnoise_process_frame(
    st: *mut DenoiseState,
    out: *mut f32,
    input: *const f32,
) -> f32 {
    if out.is_null() || input.is_null() {
        return 0.0;
    }
    // SAFETY: not null; the caller passes 480 samples.
    let mut frame: [f32; FRAME] = unsafe { input.cast::<[f32; FRAME]>().read_unaligned() };
    let speech = guarded(|| {
        if st.is_null() || !st.is_aligned() {
            return None;
        }
        // SAFETY: not null and aligned; the caller passes memory of the size of a state.
        let state = unsafe { &*st };
        if state.magic != MAGIC {
            return None;
        }
        // SAFETY: the mark shows that the list holds the stream, and one thread at a time uses a state.
        Some(unsafe { &mut *state.stream }.process(&mut frame))
    });
    // SAFETY: not null; the caller passes room for 480 samples.
    unsafe { out.cast::<[f32; FRAME]>().write_unaligned(frame) };
    speech.unwrap_or(0.0)
}
