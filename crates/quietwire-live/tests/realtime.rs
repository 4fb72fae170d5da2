//! The callbacks under the real-time sanitizer of LLVM, which ends the process at an allocation, a lock
//! or a blocking system call.
//!
//! The runtime of the sanitizer is part of the toolchain:
//!
//! ```sh
//! RTSAN_ENABLE=1 RTSAN_LIB_PATH=$(rustc --print target-libdir)/librustc-stable_rt.rtsan.a \
//!   cargo test -p quietwire-live --test realtime
//! ```

use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use quietwire_live::{StreamFormat, capture_link, playout_link};
use rtsan_standalone::ScopedSanitizeRealtime;

const FORMAT: StreamFormat = StreamFormat {
    rate_hz: 48_000,
    channels: 2,
    block_frames: 480,
};

/// Blocks in two sample formats, with rings that are full, empty and in between.
fn run_callbacks() {
    let (mut capture, mut reader) = capture_link(FORMAT, 0.1);
    let (mut playout, writer) = playout_link(FORMAT, 0.1);
    let input = vec![0.25f32; 960];
    let input_i16 = vec![8192i16; 960];
    let (mut output, mut output_i16) = (vec![0.0f32; 960], vec![0i16; 960]);
    let mut read = vec![0.0; 960];
    for n in 0..200u64 {
        let at = Duration::from_millis(10 * n);
        let guard = ScopedSanitizeRealtime::default();
        capture.on_block(&input, |s| s, at, Duration::ZERO);
        capture.on_block(&input_i16, |s| f32::from(s) / 32768.0, at, Duration::ZERO);
        playout.on_block(&mut output, |s| s, at, Duration::ZERO);
        playout.on_block(
            &mut output_i16,
            |s| (s * 32767.0) as i16,
            at,
            Duration::ZERO,
        );
        drop(guard);
        if n > 50 {
            assert!(reader.read(&mut read));
        }
    }
    drop(writer);
}

#[test]
fn callbacks_pass_the_realtime_sanitizer() {
    if option_env!("RTSAN_ENABLE").is_none() {
        eprintln!("built without RTSAN_ENABLE: not checked");
        return;
    }
    // The sanitizer must find an allocation in a process of its own.
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this)
        .args(["--ignored", "--exact", "an_allocation_ends_the_process"])
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success(), "the sanitizer is not active");
    assert!(report.contains("RealtimeSanitizer"), "{report}");
    run_callbacks();
}

#[test]
#[ignore = "ends its process; callbacks_pass_the_realtime_sanitizer runs it"]
fn an_allocation_ends_the_process() {
    let guard = ScopedSanitizeRealtime::default();
    black_box(vec![1u8; black_box(100)]);
    drop(guard);
}
