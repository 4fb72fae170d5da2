//! `run` under the real-time sanitizer of LLVM, which ends the process at an allocation, a lock or a
//! blocking system call.
//!
//! The runtime of the sanitizer is part of the toolchain:
//!
//! ```sh
//! RTSAN_ENABLE=1 RTSAN_LIB_PATH=$(rustc --print target-libdir)/librustc-stable_rt.rtsan.a \
//!   cargo test -p quietwire-ladspa --test realtime
//! ```

#[path = "shared/host.rs"]
mod host;

use std::hint::black_box;

use quietwire_testing::{failing_test, signal::voice};
use rtsan_standalone::ScopedSanitizeRealtime;

use crate::host::{DEFAULTS, Host, planes};

#[test]
fn blocks_pass_the_realtime_sanitizer() {
    if option_env!("RTSAN_ENABLE").is_none() {
        eprintln!("built without RTSAN_ENABLE: not checked");
        return;
    }
    // The sanitizer must find an allocation in a process of its own.
    let report = failing_test("an_allocation_ends_the_process");
    assert!(report.contains("RealtimeSanitizer"), "{report}");
    for (channels, rate_hz) in [(1, 48_000), (2, 44_100)] {
        let mut host = Host::new(channels, rate_hz);
        let mut block = planes(&voice(rate_hz, channels, 0.3, 1), channels);
        let guard = ScopedSanitizeRealtime::default();
        for controls in [
            DEFAULTS,
            [12.0, 0.0, 1.0, 1.0],
            [12.0, 2.0, 0.0, 1.0],
            DEFAULTS,
        ] {
            *host.controls = controls;
            host.run(&mut block);
        }
        host.activate();
        host.run(&mut block);
        drop(guard);
        assert!(host.latency() > 0);
    }
}

#[test]
#[ignore = "ends its process; blocks_pass_the_realtime_sanitizer runs it"]
fn an_allocation_ends_the_process() {
    let guard = ScopedSanitizeRealtime::default();
    black_box(vec![1u8; black_box(100)]);
    drop(guard);
}
