//! The calls of the audio thread.

use crate::block::{Block, Interleaved, Planar, Sample, SilenceInto};
use crate::error::{Failure, QuietwireError, report};
use crate::guard::guarded;
use crate::stream::{QuietwireStream, stream_ref};

/// Finds the stream and processes the block that `make` makes of its number of channels.
///
/// # Safety
/// `stream` is null or a handle.
unsafe fn process<B: Block>(
    stream: *mut QuietwireStream,
    make: impl FnOnce(usize) -> Result<B, Failure>,
) -> QuietwireError {
    // SAFETY: as the caller states.
    let stream = match guarded(|| unsafe { stream_ref(stream) }) {
        Ok(stream) => stream,
        Err(failure) => return report(Err(failure)),
    };
    stream.with_audio(|audio| {
        let mut block = make(stream.channels())?;
        audio.process(&mut block, stream.settings(), stream.reports())
    })
}

/// # Safety
/// As [`Interleaved::new`].
unsafe fn process_interleaved<S: Sample>(
    stream: *mut QuietwireStream,
    input: *const S,
    output: *mut S,
    frames: usize,
) -> QuietwireError {
    // SAFETY: as the caller states.
    unsafe {
        process(stream, |channels| {
            Interleaved::new(input, output, frames, channels)
        })
    }
}

/// # Safety
/// As [`Planar::new`].
unsafe fn process_planar<S: Sample>(
    stream: *mut QuietwireStream,
    input: *const *const S,
    output: *const *mut S,
    frames: usize,
) -> QuietwireError {
    // SAFETY: as the caller states.
    unsafe {
        process(stream, |channels| {
            Planar::new(input, output, frames, channels)
        })
    }
}

/// Processes one block of interleaved samples in [-1, 1]: `frames * channels` samples at `input` to as
/// many at `output`, which may be the same buffer. Any number of frames; how a signal is split into
/// blocks does not change the output. The output is `quietwire_latency` frames late.
///
/// The process, flush and reset calls of a stream belong to one thread at a time. They neither allocate,
/// lock nor wait, except that a model of your own that runs in tract allocates small tensors in each hop.
///
/// After `QUIETWIRE_ERROR_INFERENCE` and `QUIETWIRE_ERROR_PANIC` the output is complete. After all other
/// errors nothing was processed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_process_f32(
    stream: *mut QuietwireStream,
    input: *const f32,
    output: *mut f32,
    frames: usize,
) -> QuietwireError {
    // SAFETY: the caller passes buffers of this size.
    unsafe { process_interleaved(stream, input, output, frames) }
}

/// As `quietwire_process_f32`, for 16-bit samples. The output is rounded and saturates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_process_i16(
    stream: *mut QuietwireStream,
    input: *const i16,
    output: *mut i16,
    frames: usize,
) -> QuietwireError {
    // SAFETY: the caller passes buffers of this size.
    unsafe { process_interleaved(stream, input, output, frames) }
}

/// As `quietwire_process_f32`, for one buffer of `frames` samples for each channel. Each output may be the
/// input of the same channel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_process_planar_f32(
    stream: *mut QuietwireStream,
    input: *const *const f32,
    output: *const *mut f32,
    frames: usize,
) -> QuietwireError {
    // SAFETY: the caller passes as many buffers of this size as the stream has channels.
    unsafe { process_planar(stream, input, output, frames) }
}

/// As `quietwire_process_planar_f32`, for 16-bit samples. The output is rounded and saturates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_process_planar_i16(
    stream: *mut QuietwireStream,
    input: *const *const i16,
    output: *const *mut i16,
    frames: usize,
) -> QuietwireError {
    // SAFETY: the caller passes as many buffers of this size as the stream has channels.
    unsafe { process_planar(stream, input, output, frames) }
}

/// Writes the end of the signal to `tail`: `frames` must be `quietwire_latency`, interleaved. For other
/// sample layouts process as many frames of silence instead; the result is the same. The stream continues
/// as after silence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_flush(
    stream: *mut QuietwireStream,
    tail: *mut f32,
    frames: usize,
) -> QuietwireError {
    let make = |channels: usize| {
        // SAFETY: the caller passes a buffer of this size.
        let block = unsafe { Interleaved::new(tail.cast_const(), tail, frames, channels) }?;
        Ok(SilenceInto(block))
    };
    // SAFETY: the caller passes null or a handle.
    unsafe {
        if let Ok(stream) = stream_ref(stream)
            && frames != stream.latency()
        {
            return stream.with_audio(|_| {
                Err(quietwire::Error::BlockLength {
                    expected: stream.latency() * stream.channels(),
                    found: frames.saturating_mul(stream.channels()),
                }
                .into())
            });
        }
        process(stream, make)
    }
}

/// Empties the stream: it then equals a new one with the present settings. Ends the passthrough after
/// `QUIETWIRE_ERROR_PANIC`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_reset(stream: *mut QuietwireStream) -> QuietwireError {
    // SAFETY: the caller passes null or a handle.
    match unsafe { stream_ref(stream) } {
        Ok(stream) => stream.with_audio(|audio| audio.reset(stream.settings(), stream.reports())),
        Err(failure) => report(Err(failure)),
    }
}
