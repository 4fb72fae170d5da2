//! The functions of the audio thread allocate nothing.

use quietwire_capi::{
    QuietwireError, quietwire_flush, quietwire_latency, quietwire_process_f32,
    quietwire_process_i16, quietwire_process_planar_f32, quietwire_process_planar_i16,
    quietwire_reset, quietwire_set_attenuation_db, quietwire_set_bypass, quietwire_set_model,
};
use quietwire_testing::measure;

use crate::handle::{Handle, OK, options};

const FRAMES: usize = 4800;

/// Runs `call` for each function that processes a block.
fn each_layout(handle: &Handle, mut check: impl FnMut(&mut dyn FnMut() -> QuietwireError)) {
    let mut samples = vec![0.1f32; FRAMES];
    let mut short = vec![100i16; FRAMES];
    let (pointer, short_pointer) = (samples.as_mut_ptr(), short.as_mut_ptr());
    let stream = handle.0;
    // SAFETY: a live handle of one channel, and buffers of as many frames.
    unsafe {
        check(&mut || quietwire_process_f32(stream, pointer, pointer, FRAMES));
        check(&mut || quietwire_process_i16(stream, short_pointer, short_pointer, FRAMES));
        let planes = [pointer];
        let inputs = planes.as_ptr();
        check(&mut || quietwire_process_planar_f32(stream, inputs.cast(), inputs, FRAMES));
        let planes = [short_pointer];
        let inputs = planes.as_ptr();
        check(&mut || quietwire_process_planar_i16(stream, inputs.cast(), inputs, FRAMES));
    }
}

#[test]
fn blocks_do_not_allocate() {
    for bypass in [0, 1] {
        for rate_hz in [48_000, 44_100] {
            let mut options = options();
            options.bypass = bypass;
            options.rate_hz = rate_hz;
            let handle = Handle::new(&options);
            each_layout(&handle, |process| {
                let counted = measure(|| assert_eq!(process(), OK));
                assert_eq!(counted.count_total, 0, "bypass {bypass}, {rate_hz} Hz");
            });
            assert_eq!(handle.stats().hops > 0, bypass == 0);
        }
    }
}

#[test]
fn other_calls_do_not_allocate() {
    let handle = Handle::new(&options());
    let stream = handle.0;
    let mut tail = vec![0.0f32; 960];
    // SAFETY: a live handle; the tail is not written by calls that fail.
    let counted = measure(|| unsafe {
        assert_eq!(quietwire_reset(stream), OK);
        assert_eq!(quietwire_set_bypass(stream, true), OK);
        assert_eq!(quietwire_set_attenuation_db(stream, 12.0), OK);
        assert_eq!(quietwire_set_model(stream, 0), OK);
        assert!(quietwire_latency(stream) <= 960);
        let _ = (handle.telemetry(), handle.stats());
        // A failure of the audio thread writes its text without an allocation.
        assert_ne!(
            quietwire_process_f32(stream, std::ptr::null(), tail.as_mut_ptr(), 1),
            OK
        );
        assert_ne!(quietwire_flush(stream, tail.as_mut_ptr(), 1), OK);
        assert_eq!(quietwire_reset(stream), OK);
    });
    assert_eq!(counted.count_total, 0);
}
