//! Settings and reports from other threads while a stream runs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use quietwire_capi::QuietwireError::QUIETWIRE_ERROR_BUSY as BUSY;
use quietwire_capi::{
    quietwire_process_f32, quietwire_set_attenuation_db, quietwire_set_bypass, quietwire_set_model,
};
use quietwire_testing::signal::voice;

use crate::handle::{Handle, OK, options};

#[test]
fn other_threads_set_and_read_while_a_stream_runs() {
    let handle = Handle::new(&options());
    let done = AtomicBool::new(false);
    let reads = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let handle = &handle;
        scope.spawn(|| {
            let mut n = 0u32;
            while !done.load(Ordering::Relaxed) {
                // SAFETY: a live handle.
                unsafe {
                    assert_eq!(quietwire_set_bypass(handle.0, n.is_multiple_of(5)), OK);
                    assert_eq!(quietwire_set_attenuation_db(handle.0, (n % 50) as f32), OK);
                    assert_eq!(quietwire_set_model(handle.0, 0), OK);
                }
                n += 1;
                std::thread::yield_now();
            }
        });
        let handle = &handle;
        scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let (stats, telemetry) = (handle.stats(), handle.telemetry());
                assert!(stats.hops >= last, "counts do not go back");
                last = stats.hops;
                // A report is one of those that were published, never a mixture.
                assert!(telemetry.hop <= handle.stats().hops);
                assert!((-140.0..=60.0).contains(&telemetry.input_dbfs));
                assert!([-1, 0].contains(&telemetry.active_model));
                reads.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        let mut block = voice(48_000, 1, 2.0, 1);
        for block in block.chunks_exact_mut(480) {
            // SAFETY: 480 frames in place.
            let code = unsafe {
                quietwire_process_f32(handle.0, block.as_ptr(), block.as_mut_ptr(), block.len())
            };
            assert_eq!(code, OK);
            assert!(block.iter().all(|x| x.is_finite() && x.abs() < 2.0));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(reads.into_inner() > 0);
}

/// A second audio thread gets an error and waits for nothing; the samples of both stay whole.
#[test]
fn two_threads_cannot_process_one_stream_at_once() {
    let handle = Handle::new(&options());
    let busy = AtomicUsize::new(0);
    let handle = &handle;
    let busy_calls = &busy;
    let run = move || {
        for _ in 0..300 {
            let mut block = [0.25f32; 480];
            // SAFETY: a live handle, and 480 frames in place.
            let code =
                unsafe { quietwire_process_f32(handle.0, block.as_ptr(), block.as_mut_ptr(), 480) };
            if code == BUSY {
                busy_calls.fetch_add(1, Ordering::Relaxed);
                assert!(block == [0.25; 480], "nothing was processed");
            } else {
                assert_eq!(code, OK);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(run);
        scope.spawn(run);
    });
    assert!(busy.load(Ordering::Relaxed) > 0, "the threads met");
    assert_eq!(handle.stats().panics, 0);
}

#[test]
fn a_stream_may_change_its_thread() {
    let (one, other) = (Handle::new(&options()), Handle::new(&options()));
    let input = voice(48_000, 1, 0.5, 6);
    let process = |handle: &Handle, block: &mut [f32]| {
        // SAFETY: a live handle, and the block in place.
        let code = unsafe {
            quietwire_process_f32(handle.0, block.as_ptr(), block.as_mut_ptr(), block.len())
        };
        assert_eq!(code, OK);
    };
    let mut expected = input.clone();
    process(&one, &mut expected);
    let mut output = input;
    for block in output.chunks_mut(1000) {
        let other = &other;
        std::thread::scope(|scope| scope.spawn(move || process(other, block)).join().unwrap());
    }
    assert!(output == expected);
}
