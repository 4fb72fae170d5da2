//! The functions of the audio thread allocate nothing.

use quietwire_testing::measure;
use quietwire_testing::signal::voice;

use crate::host::{Host, planes};

#[test]
fn blocks_allocate_nothing_whatever_the_controls_do() {
    for rate_hz in [8_000, 44_100, 48_000] {
        for channels in [1, 2] {
            let mut host = Host::new(channels, rate_hz);
            let mut block = planes(&voice(rate_hz, channels, 0.3, 1), channels);
            let mut input = block.clone();
            let counted = measure(|| {
                for controls in [
                    [40.0, 0.0, 1.0, 0.0],
                    [12.0, 0.0, 1.0, 1.0],
                    [12.0, 3.0, 0.0, 1.0],
                    [12.0, 4.0, 1.0, 0.0],
                    [f32::NAN; 4],
                ] {
                    *host.controls = controls;
                    host.run(&mut block);
                    host.run(&mut input);
                }
                host.activate();
                host.run(&mut block);
            });
            assert_eq!(counted.count_total, 0, "{channels} x {rate_hz} Hz");
        }
    }
}
