//! Streams: opaque handles whose audio part belongs to one thread at a time.

use std::cell::UnsafeCell;
use std::ffi::c_char;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quietwire::{Denoiser, Model};

use crate::audio::Audio;
use crate::error::{ErrorText, Failure, QuietwireError, report};
use crate::guard::guarded;
use crate::handle::{self, Kind};
use crate::model::{QuietwireModel, slice};
use crate::options::{QuietwireOptions, read_options};
use crate::reports::Reports;
use crate::settings::Settings;

/// A stream: one signal of 1 to 64 channels. See `quietwire_new`.
#[derive(Debug)]
pub struct QuietwireStream {
    _opaque: [u8; 0],
}

pub(crate) struct Stream {
    latency: usize,
    hop_frames: usize,
    channels: usize,
    settings: Settings,
    reports: Reports,
    /// a thread is inside of a call that uses `audio` and `text`
    busy: AtomicBool,
    audio: UnsafeCell<Audio>,
    text: UnsafeCell<ErrorText>,
}

impl Kind for Stream {
    type Opaque = QuietwireStream;
    const MAGIC: u64 = 0x5157_7374_7265_6101;
    const NOT_A_HANDLE: &'static str =
        "the stream is null, was freed, or is not a stream of this library";
}

// SAFETY: `audio` and `text` are changed only by the thread that has set `busy`; everything else is
// atomic or constant.
unsafe impl Sync for Stream {}

impl Stream {
    fn new(models: Vec<Arc<Model>>, options: &quietwire::DenoiserOptions) -> Result<Self, Failure> {
        let denoiser = Denoiser::new(&models, options)?;
        let settings = Settings::new(&denoiser.options(), models.len());
        let (latency, hop_frames) = (denoiser.latency(), denoiser.hop_frames());
        let channels = denoiser.channels();
        let audio = Audio::new(denoiser, models, settings.load());
        Ok(Self {
            latency,
            hop_frames,
            channels,
            settings,
            reports: Reports::new(audio.report()),
            busy: AtomicBool::new(false),
            audio: UnsafeCell::new(audio),
            text: UnsafeCell::new(ErrorText::new()),
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    pub(crate) fn latency(&self) -> usize {
        self.latency
    }

    /// The text of the latest failure of the audio thread.
    pub(crate) fn text(&self) -> *const c_char {
        // SAFETY: the text lives as long as the stream.
        unsafe { ErrorText::as_ptr(self.text.get()) }
    }

    /// Runs a call of the audio thread. A text of a failure goes to the stream, without an allocation.
    pub(crate) fn with_audio(
        &self,
        call: impl FnOnce(&mut Audio) -> Result<(), Failure>,
    ) -> QuietwireError {
        if self.busy.swap(true, Ordering::Acquire) {
            // The texts belong to the other thread.
            return Failure::Busy.code();
        }
        // SAFETY: `busy` was not set, so no other thread has a reference.
        let (audio, text) = unsafe { (&mut *self.audio.get(), &mut *self.text.get()) };
        let code = match guarded(|| call(audio)) {
            Ok(()) => QuietwireError::QUIETWIRE_OK,
            Err(failure) => {
                text.set(&failure);
                failure.code()
            }
        };
        self.busy.store(false, Ordering::Release);
        code
    }
}

/// The stream of a handle.
///
/// # Safety
/// As [`handle::get`].
pub(crate) unsafe fn stream_ref<'a>(stream: *const QuietwireStream) -> Result<&'a Stream, Failure> {
    // SAFETY: as the caller states.
    unsafe { handle::get(stream) }
}

/// Creates a stream and allocates all its memory. Not for the audio thread: takes milliseconds.
///
/// `models` has `model_count` models, between which `quietwire_set_model` switches; the stream starts
/// with the first. NULL and 0: the embedded model "base". The handles of models may be freed
/// afterwards. `options` NULL: the defaults.
///
/// `*stream` receives the handle, or null after a failure. Free it with `quietwire_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_new(
    models: *const *const QuietwireModel,
    model_count: usize,
    options: *const QuietwireOptions,
    stream: *mut *mut QuietwireStream,
) -> QuietwireError {
    report(guarded(|| {
        if stream.is_null() {
            return Err(Failure::Argument("the pointer for the new stream is null"));
        }
        // SAFETY: not null; the caller passes a place for the handle.
        unsafe { stream.write(std::ptr::null_mut()) };
        // SAFETY: the caller passes an array with this count.
        let handles = unsafe { slice(models, model_count) }?;
        let models = if handles.is_empty() {
            vec![Model::embedded("base")?]
        } else {
            // SAFETY: the caller passes handles of models.
            let models = handles
                .iter()
                .map(|model| unsafe { handle::get::<Arc<Model>>(*model) });
            models
                .map(|model| model.cloned())
                .collect::<Result<_, Failure>>()?
        };
        // SAFETY: the caller passes null or options with their size.
        let options = unsafe { read_options(options) }?;
        let new = handle::new(Stream::new(models, &options)?);
        // SAFETY: as above.
        unsafe { stream.write(new) };
        Ok(())
    }))
}

/// Frees a stream. No other call may use the stream during or after this one. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_free(stream: *mut QuietwireStream) {
    if stream.is_null() {
        return;
    }
    // SAFETY: the caller passes a handle that was not freed and that no other call uses.
    report(guarded(|| unsafe { handle::free::<Stream>(stream) }));
}

/// Delay from the input to the output, frames at the rate of the stream. Constant for the life of the
/// stream. 0 for a pointer that is not a stream. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_latency(stream: *const QuietwireStream) -> usize {
    // SAFETY: the caller passes null or a handle.
    unsafe { stream_ref(stream) }.map_or(0, |stream| stream.latency)
}

/// Frames of one step of the model at the rate of the stream, rounded down. 0 for a pointer that is not a
/// stream. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_hop_frames(stream: *const QuietwireStream) -> usize {
    // SAFETY: the caller passes null or a handle.
    unsafe { stream_ref(stream) }.map_or(0, |stream| stream.hop_frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{quietwire_process_f32, quietwire_reset};

    fn input(frame: usize) -> f32 {
        ((frame * 7919) % 1000) as f32 / 1000.0 - 0.5
    }

    /// Whenever it happens, in blocks of any length: the input comes out aligned, and the caller gets the
    /// error until it resets the stream.
    #[test]
    fn a_caught_panic_leaves_the_delayed_input() {
        for (hop, block_frames, rate_hz) in [(0, 480, 48_000), (3, 1000, 48_000), (5, 441, 44_100)]
        {
            let mut options = quietwire::DenoiserOptions::default();
            options.rate_hz = Some(rate_hz);
            let model = Model::embedded("tiny").unwrap();
            let mut new = Stream::new(vec![model.clone()], &options).unwrap();
            new.audio.get_mut().hops_until_panic = Some(hop);
            let handle = handle::new(new);
            // SAFETY: the handle lives.
            let stream = unsafe { stream_ref(handle) }.unwrap();
            let mut reference = Denoiser::new(&[model], &options).unwrap();
            let latency = stream.latency;
            let (mut failed, mut at) = (false, 0);
            for _ in 0..20 {
                let mut block: Vec<f32> = (at..at + block_frames).map(input).collect();
                let mut expected = block.clone();
                reference.process_in_place(&mut expected).unwrap();
                // SAFETY: the handle lives, and the block has this length.
                let code = unsafe {
                    quietwire_process_f32(handle, block.as_ptr(), block.as_mut_ptr(), block_frames)
                };
                if code == QuietwireError::QUIETWIRE_ERROR_PANIC {
                    let is_dry = |n: usize| {
                        (at + n).checked_sub(latency).map_or(0.0, input).to_bits()
                            == block[n].to_bits()
                    };
                    let hops_in_block = block_frames.div_ceil(stream.hop_frames);
                    let first = if failed {
                        0
                    } else {
                        hop % hops_in_block * stream.hop_frames
                    };
                    assert!((first..block_frames).all(is_dry), "{hop} {block_frames}");
                    failed = true;
                } else {
                    assert!(!failed, "the error stays");
                    assert!(block == expected);
                }
                at += block_frames;
            }
            assert!(failed);
            // SAFETY: no other thread uses the stream. The text lives and ends with NUL.
            let (report, text) = unsafe {
                let report = (*stream.audio.get()).report();
                (report, std::ffi::CStr::from_ptr(stream.text()))
            };
            assert_eq!((report.panics, report.active_model), (1, -1));
            assert!(text.to_str().unwrap().contains("until the stream is reset"));

            // SAFETY: the handle lives.
            let code = unsafe { quietwire_reset(handle) };
            assert_eq!(code, QuietwireError::QUIETWIRE_OK);
            reference.reset();
            let mut block: Vec<f32> = (0..9600).map(input).collect();
            let mut expected = block.clone();
            reference.process_in_place(&mut expected).unwrap();
            // SAFETY: as above.
            let code =
                unsafe { quietwire_process_f32(handle, block.as_ptr(), block.as_mut_ptr(), 9600) };
            assert_eq!(code, QuietwireError::QUIETWIRE_OK);
            assert!(block == expected, "a reset stream equals a new one");
            // SAFETY: the handle is freed once.
            unsafe { quietwire_free(handle) };
        }
    }
}
