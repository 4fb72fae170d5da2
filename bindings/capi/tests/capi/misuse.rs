//! Null, wrong sizes, handles of another kind, overlapping buffers: an error and an untouched stream.

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use quietwire_capi::QuietwireError::{
    self, QUIETWIRE_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT,
    QUIETWIRE_ERROR_INVALID_BLOCK as INVALID_BLOCK,
    QUIETWIRE_ERROR_INVALID_OPTION as INVALID_OPTION,
    QUIETWIRE_ERROR_UNSUPPORTED_BY_MODEL as UNSUPPORTED,
};
use quietwire_capi::{
    QUIETWIRE_ABI_VERSION, QuietwireModel, QuietwireOptions, QuietwireStats, QuietwireStream,
    QuietwireTelemetry, quietwire_abi_version, quietwire_flush, quietwire_free,
    quietwire_hop_frames, quietwire_latency, quietwire_model_embedded, quietwire_model_free,
    quietwire_new, quietwire_options_init, quietwire_process_f32, quietwire_process_i16,
    quietwire_process_planar_f32, quietwire_process_planar_i16, quietwire_reset,
    quietwire_set_attenuation_db, quietwire_set_bypass, quietwire_set_model, quietwire_stats,
    quietwire_telemetry, quietwire_version,
};

use crate::handle::{Handle, OK, options, text};

/// The code of `quietwire_new` with changed options.
fn new_with(change: impl FnOnce(&mut QuietwireOptions)) -> QuietwireError {
    let mut options = options();
    change(&mut options);
    let mut stream = null_mut();
    // SAFETY: valid options and a place for the handle.
    let code = unsafe { quietwire_new(null(), 0, &raw const options, &raw mut stream) };
    if code == OK {
        // SAFETY: a live handle.
        unsafe { quietwire_free(stream) };
    } else {
        assert!(stream.is_null());
    }
    code
}

#[test]
fn options_are_checked() {
    assert_eq!(new_with(|_| {}), OK);
    assert_eq!(new_with(|options| options.rate_hz = 7_999), INVALID_OPTION);
    assert_eq!(
        text(null()),
        "sample rate 7999 Hz is not supported: expected 8000 to 192000 Hz"
    );
    assert_eq!(new_with(|options| options.channels = 0), INVALID_OPTION);
    assert_eq!(new_with(|options| options.channels = 65), INVALID_OPTION);
    assert_eq!(new_with(|options| options.channel_mode = 2), INVALID_OPTION);
    assert!(text(null()).contains("channel mode 2"));
    assert_eq!(
        new_with(|options| options.attenuation_db = -1.0),
        INVALID_OPTION
    );
    assert_eq!(
        new_with(|options| options.attenuation_db = f32::NAN),
        INVALID_OPTION
    );
    assert_eq!(
        new_with(|options| options.attenuation_db = f32::INFINITY),
        OK
    );
    assert_eq!(new_with(|options| options.snr_gating = 1), UNSUPPORTED);
    let aligned = |options: &mut QuietwireOptions| {
        options.hop_aligned = 7;
        options.rate_hz = 44_100;
    };
    assert_eq!(new_with(aligned), UNSUPPORTED);
    assert_eq!(new_with(|options| options.size = 0), INVALID_ARGUMENT);
    assert!(text(null()).contains("size field of QuietwireOptions is 0"));
    assert_eq!(
        new_with(|options| options.size = usize::MAX),
        INVALID_ARGUMENT
    );
}

/// A program with a newer header runs as long as it leaves the new fields alone.
#[test]
fn options_of_a_newer_header_work_when_the_new_fields_are_zero() {
    #[repr(C)]
    struct Newer {
        known: QuietwireOptions,
        unknown: [u64; 3],
    }
    let mut newer = Newer {
        known: options(),
        unknown: [9; 3],
    };
    let pointer = (&raw mut newer).cast::<QuietwireOptions>();
    let mut stream = null_mut();
    // SAFETY: the struct has the size that is given.
    unsafe {
        assert_eq!(quietwire_options_init(pointer, size_of::<Newer>()), OK);
        assert_eq!(newer.unknown, [0; 3]);
        assert_eq!(newer.known.size, size_of::<Newer>());
        assert_eq!(quietwire_new(null(), 0, pointer, &raw mut stream), OK);
        quietwire_free(stream);
        (&raw mut newer.unknown[2]).write(1);
        assert_eq!(
            quietwire_new(null(), 0, pointer, &raw mut stream),
            INVALID_OPTION
        );
        assert!(stream.is_null());
        assert!(text(null()).contains("newer library"));
        assert_eq!(quietwire_options_init(pointer, 8), INVALID_ARGUMENT);
        assert_eq!(quietwire_options_init(null_mut(), 40), INVALID_ARGUMENT);
    }
}

/// Reports of an older header: nothing beyond its size is written.
#[test]
fn reports_respect_the_size_of_the_caller() {
    let handle = Handle::new(&options());
    let mut words = [u64::MAX; 16];
    // SAFETY: the memory is larger than every size that is given.
    unsafe {
        words[0] = 16;
        assert_eq!(
            quietwire_stats(handle.0, words.as_mut_ptr().cast::<QuietwireStats>()),
            OK
        );
        assert_eq!(words[..3], [16, 0, u64::MAX]);
        words = [u64::MAX; 16];
        words[0] = 120;
        assert_eq!(
            quietwire_telemetry(handle.0, words.as_mut_ptr().cast::<QuietwireTelemetry>()),
            OK
        );
        assert_eq!(words[15], u64::MAX);
        assert_eq!(words[14], 0, "fields of a newer header are 0");
        for size in [0, 7, u64::MAX] {
            words[0] = size;
            let code = quietwire_stats(handle.0, words.as_mut_ptr().cast::<QuietwireStats>());
            assert_eq!(code, INVALID_ARGUMENT);
        }
        assert_eq!(quietwire_stats(handle.0, null_mut()), INVALID_ARGUMENT);
    }
}

/// All functions with this stream.
unsafe fn all_fail(stream: *mut QuietwireStream) {
    let mut samples = [0.5f32; 64];
    let mut short = [7i16; 64];
    let (pointer, short_pointer) = (samples.as_mut_ptr(), short.as_mut_ptr());
    let mut stats = [size_of::<QuietwireStats>() as u64; 16];
    // SAFETY: the caller passes null or memory that can be read as a handle.
    unsafe {
        let codes = [
            quietwire_process_f32(stream, pointer, pointer, 1),
            quietwire_process_i16(stream, short_pointer, short_pointer, 1),
            quietwire_process_planar_f32(
                stream,
                [pointer.cast_const()].as_ptr(),
                [pointer].as_ptr(),
                1,
            ),
            quietwire_process_planar_i16(
                stream,
                [short_pointer.cast_const()].as_ptr(),
                [short_pointer].as_ptr(),
                1,
            ),
            quietwire_flush(stream, pointer, 1),
            quietwire_reset(stream),
            quietwire_set_bypass(stream, true),
            quietwire_set_attenuation_db(stream, 1.0),
            quietwire_set_model(stream, 0),
            quietwire_stats(stream, stats.as_mut_ptr().cast()),
            quietwire_telemetry(stream, stats.as_mut_ptr().cast()),
        ];
        assert_eq!(codes, [INVALID_ARGUMENT; 11]);
        assert!(text(stream).contains("not a stream of this library"));
        assert_eq!(
            (quietwire_latency(stream), quietwire_hop_frames(stream)),
            (0, 0)
        );
        quietwire_free(stream);
    }
    assert_eq!((samples, short), ([0.5; 64], [7; 64]));
}

#[test]
fn other_pointers_than_streams_are_rejected() {
    let mut model = null_mut::<QuietwireModel>();
    let mut memory = [0u64; 512];
    // SAFETY: null, a handle of another kind, readable memory, and a pointer that is not aligned.
    unsafe {
        all_fail(null_mut());
        assert_eq!(
            quietwire_model_embedded(c"tiny".as_ptr(), &raw mut model),
            OK
        );
        all_fail(model.cast());
        all_fail(memory.as_mut_ptr().cast());
        all_fail(memory.as_mut_ptr().cast::<u8>().add(1).cast());

        let handle = Handle::new(&options());
        quietwire_model_free(handle.0.cast());
        let mut stream = null_mut();
        let wrong = [model.cast_const(), handle.0.cast_const().cast()];
        assert_eq!(
            quietwire_new(wrong.as_ptr(), 2, null(), &raw mut stream),
            INVALID_ARGUMENT
        );
        assert_eq!(
            quietwire_new(null(), 1, null(), &raw mut stream),
            INVALID_ARGUMENT
        );
        assert_eq!(
            quietwire_new(wrong.as_ptr(), 1, null(), null_mut()),
            INVALID_ARGUMENT
        );
        quietwire_model_free(model);
        quietwire_model_free(null_mut());
        quietwire_free(null_mut());
    }
}

#[test]
fn wrong_blocks_change_nothing() {
    let mut options = options();
    options.channels = 2;
    options.hop_aligned = 1;
    let handle = Handle::new(&options);
    let mut samples = vec![0.25f32; 4 * 480];
    let all = samples.as_mut_ptr();
    let mut tail = [0.0f32; 8];
    // SAFETY: every pointer is null or has as many samples as the call may touch.
    unsafe {
        let process = |input: *const f32, output: *mut f32, frames| {
            quietwire_process_f32(handle.0, input, output, frames)
        };
        assert_eq!(process(null(), all, 480), INVALID_ARGUMENT);
        assert_eq!(process(all, null_mut(), 480), INVALID_ARGUMENT);
        assert_eq!(process(all, all.add(1), 480), INVALID_ARGUMENT);
        assert!(text(handle.0).contains("overlap"), "{}", text(handle.0));
        assert_eq!(process(all.add(959), all, 480), INVALID_ARGUMENT);
        assert_eq!(
            process(all.cast::<u8>().add(1).cast(), all.add(960), 10),
            INVALID_ARGUMENT
        );
        assert_eq!(process(all, all, 100), INVALID_BLOCK);
        assert_eq!(
            text(handle.0),
            "block of 200 samples is not valid: expected 960"
        );
        assert_eq!(process(all, all, usize::MAX), INVALID_BLOCK);
        assert_eq!(process(all, all, usize::MAX / 4), INVALID_BLOCK);
        assert_eq!(process(null(), null_mut(), 0), OK);

        let (left, right) = (all, all.add(480));
        let planar = |input: [*const f32; 2], output: [*mut f32; 2]| {
            quietwire_process_planar_f32(handle.0, input.as_ptr(), output.as_ptr(), 480)
        };
        let swapped = planar([left, right], [right, left]);
        assert_eq!(swapped, INVALID_ARGUMENT);
        assert_eq!(planar([left, left], [right, right]), INVALID_ARGUMENT);
        assert_eq!(planar([null(), right], [left, right]), INVALID_ARGUMENT);
        assert_eq!(planar([left, right], [left, null_mut()]), INVALID_ARGUMENT);
        assert_eq!(
            quietwire_process_planar_f32(handle.0, null(), [left, right].as_ptr(), 480),
            INVALID_ARGUMENT
        );
        assert_eq!(
            quietwire_process_planar_f32(handle.0, null(), null(), 0),
            OK
        );

        assert_eq!(
            quietwire_flush(handle.0, tail.as_mut_ptr(), 4),
            INVALID_BLOCK
        );
        let latency = quietwire_latency(handle.0);
        assert_eq!(
            quietwire_flush(handle.0, null_mut(), latency),
            INVALID_ARGUMENT
        );

        assert_eq!(quietwire_set_attenuation_db(handle.0, -3.0), INVALID_OPTION);
        assert_eq!(
            quietwire_set_attenuation_db(handle.0, f32::NAN),
            INVALID_OPTION
        );
        assert_eq!(quietwire_set_model(handle.0, 1), INVALID_OPTION);
        assert_eq!(quietwire_set_model(handle.0, usize::MAX), INVALID_OPTION);
        assert_eq!(
            text(null()),
            format!(
                "model index {} is out of range: the stream has 1 models, counted from 0",
                usize::MAX
            )
        );
    }
    assert!(samples.iter().all(|x| *x == 0.25));
    assert_eq!(handle.stats().hops, 0);
}

#[test]
fn samples_that_are_not_numbers_are_replaced_and_counted() {
    let handle = Handle::new(&options());
    let mut block = [f32::NAN; 960];
    block[0] = f32::INFINITY;
    // SAFETY: 960 frames in place.
    let code = unsafe { quietwire_process_f32(handle.0, block.as_ptr(), block.as_mut_ptr(), 960) };
    assert_eq!(code, OK);
    assert!(block.iter().all(|x| x.is_finite()));
    assert_eq!(handle.stats().repaired_samples, 960);
}

#[test]
fn versions_are_those_of_the_package() {
    assert_eq!(quietwire_abi_version(), QUIETWIRE_ABI_VERSION);
    // SAFETY: a static text.
    let version = unsafe { CStr::from_ptr(quietwire_version()) };
    assert_eq!(version.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
}
