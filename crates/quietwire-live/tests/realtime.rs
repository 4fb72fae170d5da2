//! The callbacks under the real-time sanitizer of LLVM, which ends the process at an allocation, a lock
//! or a blocking system call.
//!
//! The runtime of the sanitizer is part of the toolchain:
//!
//! ```sh
//! RTSAN_ENABLE=1 RTSAN_LIB_PATH=$(rustc --print target-libdir)/librustc-stable_rt.rtsan.a \
//!   cargo test -p quietwire-live --test realtime
//! ```

#[path = "shared/callbacks.rs"]
mod shared;

use std::hint::black_box;

use quietwire_testing::failing_test;
use rtsan_standalone::ScopedSanitizeRealtime;

#[test]
fn callbacks_pass_the_realtime_sanitizer() {
    if option_env!("RTSAN_ENABLE").is_none() {
        eprintln!("built without RTSAN_ENABLE: not checked");
        return;
    }
    // The sanitizer must find an allocation in a process of its own.
    let report = failing_test("an_allocation_ends_the_process");
    assert!(report.contains("RealtimeSanitizer"), "{report}");
    shared::run_callbacks(|callbacks| {
        let guard = ScopedSanitizeRealtime::default();
        callbacks();
        drop(guard);
    });
}

#[test]
#[ignore = "ends its process; callbacks_pass_the_realtime_sanitizer runs it"]
fn an_allocation_ends_the_process() {
    let guard = ScopedSanitizeRealtime::default();
    black_box(vec![1u8; black_box(100)]);
    drop(guard);
}
