//! A stream after `reset` equals a new one.

use crate::signal::{linked, stream, voice};

#[test]
fn reset_equals_new() {
    for (id, rate_hz, channels) in [
        ("base", 48_000, 1),
        ("base", 44_100, 2),
        ("tiny", 16_000, 1),
        ("lookahead", 11_025, 1),
        ("recurrent", 48_000, 1),
        ("time_frequency", 48_000, 2),
    ] {
        for make in [stream, linked] {
            let mut used = make(id, rate_hz, channels);
            let mut noise = voice(rate_hz, channels, 0.7, 9);
            used.process_in_place(&mut noise).unwrap();
            used.set_bypass(true);
            used.process_in_place(&mut noise).unwrap();
            used.set_bypass(false);
            // Stepped down, too.
            used.set_fallback_level(used.max_fallback_level()).unwrap();
            used.process_in_place(&mut noise).unwrap();
            used.reset();

            let input = voice(rate_hz, channels, 0.7, 1);
            let (mut a, mut b) = (input.clone(), input.clone());
            used.process_in_place(&mut a).unwrap();
            let mut fresh = make(id, rate_hz, channels);
            fresh.process_in_place(&mut b).unwrap();
            assert!(a == b, "{id} {rate_hz} Hz");
            assert_eq!(used.telemetry(), fresh.telemetry());
            assert_eq!(used.stats(), fresh.stats());
            assert_eq!(used.fallback_level(), 0);
        }
    }
}
