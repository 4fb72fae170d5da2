//! The C functions in any order with any arguments that C can pass without undefined behavior: no panic, no
//! access outside of a buffer, and finite output after success.

#![no_main]

use std::ffi::CString;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use quietwire_capi::*;

/// Streams and models that live at once.
const SLOTS: usize = 3;
/// Samples of the buffer that all blocks lie in.
const SAMPLES: usize = 1 << 14;
/// Rates of streams: that of the models more often, because it needs no filter tables, and some that are
/// not supported.
const RATES_HZ: [u32; 8] = [16_000, 16_000, 0, 48_000, 8_000, 44_100, 7_999, 192_001];
/// Channels that planar blocks have pointers for.
const MAX_CHANNELS: usize = 64;

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn word(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }
}

/// Two models that need no tract, loaded once: that is slow under a sanitizer. And null.
struct Models([*mut QuietwireModel; SLOTS]);

// SAFETY: models are immutable.
unsafe impl Send for Models {}
// SAFETY: as above.
unsafe impl Sync for Models {}

fn models() -> [*mut QuietwireModel; SLOTS] {
    static MODELS: OnceLock<Models> = OnceLock::new();
    let load = || {
        let mut models = [null_mut(); SLOTS];
        for (model, name) in models.iter_mut().zip(["time_frequency", "recurrent"]) {
            let path = format!("{}/../tests/models/{name}", env!("CARGO_MANIFEST_DIR"));
            let path = CString::new(path).expect("no NUL");
            // SAFETY: a text and a place.
            assert!(check(unsafe { quietwire_model_from_folder(path.as_ptr(), model) }));
        }
        Models(models)
    };
    MODELS.get_or_init(load).0
}

struct Handles {
    models: [*mut QuietwireModel; SLOTS],
    streams: [*mut QuietwireStream; SLOTS],
    /// frames of the buffer are in use by blocks of this many channels at most
    channels: [usize; SLOTS],
    buffer: Vec<u64>,
}

impl Drop for Handles {
    fn drop(&mut self) {
        // SAFETY: null or live, each once.
        unsafe {
            for stream in self.streams {
                quietwire_free(stream);
            }
        }
    }
}

fn check(code: QuietwireError) -> bool {
    assert_ne!(code, QuietwireError::QUIETWIRE_ERROR_PANIC);
    assert_ne!(code, QuietwireError::QUIETWIRE_ERROR_OTHER);
    code == QuietwireError::QUIETWIRE_OK
}

impl Handles {
    fn stream(&self, pick: u8) -> *mut QuietwireStream {
        match pick % 16 {
            // A handle of another kind, and null.
            14 => self.models[0].cast(),
            15 => null_mut(),
            pick => self.streams[usize::from(pick) % SLOTS],
        }
    }

    fn model_from_memory(&mut self, input: &mut Input) -> Option<()> {
        let size = usize::from(input.byte()?).min(input.0.len());
        let (text, _) = input.0.split_at(size);
        let graphs = [text.as_ptr().cast()];
        let count = usize::from(input.byte()? % 2);
        let mut model = null_mut();
        // SAFETY: memory of these sizes.
        let is_ok = unsafe {
            let (text, graphs, sizes) = (text.as_ptr().cast(), graphs.as_ptr(), &raw const size);
            check(quietwire_model_from_memory(text, size, graphs, sizes, count, &raw mut model))
        };
        assert_eq!(is_ok, !model.is_null());
        // SAFETY: live or null.
        unsafe { quietwire_model_free(model) };
        Some(())
    }

    fn new_stream(&mut self, input: &mut Input) -> Option<()> {
        let at = usize::from(input.byte()?) % SLOTS;
        // More than the struct, as a newer header has.
        let mut memory = [0u64; 8];
        let options = memory.as_mut_ptr().cast::<QuietwireOptions>();
        let size = usize::from(input.byte()? % 65);
        let models = self.models.map(<*mut _>::cast_const);
        // Zero models are the embedded one, which loads slowly under a sanitizer. Three have a null.
        let count = usize::from(input.byte()?) % SLOTS + 1;
        // SAFETY: the memory has at least `size` bytes; handles are live or null.
        unsafe {
            check(quietwire_options_init(options, size));
            (*options).rate_hz = RATES_HZ[usize::from(input.byte()?) % RATES_HZ.len()];
            (*options).channels = u32::from(input.byte()? % 5);
            (*options).channel_mode = u32::from(input.byte()? % 3);
            (*options).attenuation_db = f32::from_bits(input.word()?);
            (*options).bypass = u32::from(input.byte()? % 2);
            (*options).hop_aligned = u32::from(input.byte()? % 4 == 0);
            quietwire_free(self.streams[at]);
            self.channels[at] = (*options).channels as usize;
            let stream = &raw mut self.streams[at];
            let is_ok = check(quietwire_new(models.as_ptr(), count, options, stream));
            assert_eq!(is_ok, !(*stream).is_null());
        }
        Some(())
    }

    fn process(&mut self, input: &mut Input) -> Option<()> {
        let stream = self.stream(input.byte()?);
        // Anything may be in the buffer. A byte becomes a run, so that short inputs reach many hops.
        let pattern = input.word()?;
        self.buffer.fill(u64::from(pattern) << 32 | u64::from(pattern));
        let base = self.buffer.as_mut_ptr().cast::<u8>();
        // SAFETY: within the buffer of `4 * SAMPLES` f32 and a margin.
        let pointer = |input: &mut Input| {
            let offset = usize::from(input.byte()?) * usize::from(input.byte()?) % (2 * SAMPLES);
            (offset != 1).then(|| unsafe { base.add(offset) }).or(Some(null_mut()))
        };
        let (from, to) = (pointer(input)?, pointer(input)?);
        let to = if input.byte()? % 2 == 0 { from } else { to };
        let frames = match input.byte()? {
            255 => usize::MAX,
            frames => usize::from(frames) * 9,
        };
        // SAFETY: from every offset there are enough samples for 4 channels of 2286 frames, and the
        // pointers of planar blocks are as many as a stream can have channels.
        unsafe {
            let (from_i16, to_i16) = (from.cast::<i16>(), to.cast::<i16>());
            let (from, to) = (from.cast::<f32>(), to.cast::<f32>());
            let plane = |start: *mut f32, n: usize| start.wrapping_add(n % 4 * 2300);
            let mut froms: Vec<*mut f32> = (0..MAX_CHANNELS).map(|n| plane(from, n)).collect();
            let tos: Vec<*mut f32> = (0..MAX_CHANNELS).map(|n| plane(to, n)).collect();
            if frames % 5 == 4 {
                froms[1] = null_mut();
            }
            let is_ok = match input.byte()? % 5 {
                0 => check(quietwire_process_f32(stream, from, to, frames)),
                1 => check(quietwire_process_i16(stream, from_i16, to_i16, frames)),
                2 => check(quietwire_process_planar_f32(stream, froms.as_ptr().cast(), tos.as_ptr(), frames)),
                3 => check(quietwire_process_planar_i16(
                    stream,
                    froms.as_ptr().cast(),
                    tos.as_ptr().cast(),
                    frames,
                )),
                _ => {
                    let frames = if frames % 2 == 0 { quietwire_latency(stream).min(2286) } else { frames };
                    check(quietwire_flush(stream, to, frames));
                    false
                }
            };
            let channels = self.streams.iter().position(|live| *live == stream).map(|at| self.channels[at]);
            if let (true, Some(channels)) = (is_ok && input.byte()? % 2 == 0, channels) {
                // Success means that the stream continues to give finite samples.
                let mut clean = vec![0.1f32; channels * 480];
                let frames = quietwire_hop_frames(stream).min(480);
                if check(quietwire_process_f32(stream, clean.as_ptr(), clean.as_mut_ptr(), frames)) {
                    assert!(clean.iter().all(|x| x.is_finite()));
                }
            }
        }
        Some(())
    }

    fn set(&mut self, input: &mut Input) -> Option<()> {
        let stream = self.stream(input.byte()?);
        let mut report = [0u64; 16];
        report[0] = u64::from(input.byte()? % 129);
        // SAFETY: null or a live handle of some kind, and memory of the size that is stated.
        unsafe {
            check(match input.byte()? % 7 {
                0 => quietwire_set_bypass(stream, input.byte()? % 2 == 0),
                1 => quietwire_set_attenuation_db(stream, f32::from_bits(input.word()?)),
                2 => quietwire_set_attenuation_db(stream, f32::from(input.byte()?)),
                3 => quietwire_set_model(stream, usize::from(input.byte()? % 4)),
                4 => quietwire_telemetry(stream, report.as_mut_ptr().cast()),
                5 => quietwire_stats(stream, report.as_mut_ptr().cast()),
                _ => quietwire_reset(stream),
            });
            let text = std::ffi::CStr::from_ptr(quietwire_error_text(stream));
            assert!(text.to_str().is_ok(), "UTF-8");
        }
        Some(())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut handles = Handles {
        models: models(),
        streams: [null_mut(); SLOTS],
        channels: [0; SLOTS],
        // Room for the largest offset, then 4 planes of 2300 f32 samples.
        buffer: vec![0; 3 * SAMPLES],
    };
    let mut input = Input(data);
    let mut step = || match input.byte()? % 8 {
        0 | 1 => handles.new_stream(&mut input),
        2 => handles.model_from_memory(&mut input),
        3 | 4 => handles.set(&mut input),
        _ => handles.process(&mut input),
    };
    for _ in 0..200 {
        if step().is_none() {
            break;
        }
    }
    // SAFETY: null is allowed.
    unsafe { quietwire_free(null::<QuietwireStream>().cast_mut()) };
});
