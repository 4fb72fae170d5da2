//! Two clocks, any blocks and rates: the queue is bounded and the output continuous.

use crate::sim::{Sim, SimDevice, TONE_BEND};

fn pair(input: SimDevice, output: SimDevice) -> Sim {
    let sim = Sim::new(input, output, &["tiny"]);
    sim.settings.set_bypass(true);
    sim
}

/// Nothing was missing or dropped, the queue moved by less than `range_ms`, and the tone has no click.
fn assert_even(sim: &Sim, range_ms: f64) {
    let playout = sim.status().playout;
    assert_eq!((playout.underruns, playout.dropped_frames), (0, 0));
    let (min_ms, max_ms) = sim.queue_ms;
    assert!(
        max_ms - min_ms < range_ms,
        "queue between {min_ms} and {max_ms} ms"
    );
    let bend = sim.world.max_bend;
    assert!(bend < 1.1 * TONE_BEND, "{bend}");
}

#[test]
fn ten_minutes_of_drift_keep_the_queue_and_the_signal() {
    for ppm in [300.0, -300.0] {
        let input = SimDevice {
            ppm,
            ..SimDevice::default()
        };
        let mut sim = pair(input, SimDevice::default());
        sim.run(20.0);
        sim.reset_extremes();
        sim.run(600.0);
        let status = sim.status();
        assert!((status.playout.drift_ppm - ppm).abs() < 20.0, "{status:?}");
        assert_even(&sim, 0.5);
    }
}

#[test]
fn an_hour_stays_as_it_is() {
    let input = SimDevice {
        ppm: 80.0,
        block_frames: &[441, 512, 320],
        ..SimDevice::default()
    };
    let output = SimDevice {
        ppm: -40.0,
        block_frames: &[1024],
        ..SimDevice::default()
    };
    let mut sim = pair(input, output);
    sim.run(30.0);
    sim.reset_extremes();
    let inserted = sim.status().playout.inserted_frames;
    sim.run(3600.0);
    let status = sim.status();
    assert_eq!(status.playout.inserted_frames, inserted);
    assert_even(&sim, 3.0);
}

#[test]
fn every_pair_of_rates_channels_and_blocks_plays_without_a_gap() {
    let mut failures = Vec::new();
    for (rate_in, rate_out) in [
        (48_000, 44_100),
        (44_100, 48_000),
        (16_000, 48_000),
        (48_000, 96_000),
        (8_000, 8_000),
    ] {
        for (channels, blocks_in, blocks_out) in [
            (1, &[64][..], &[256][..]),
            (2, &[320], &[480]),
            (6, &[1024], &[128, 129]),
        ] {
            let input = SimDevice {
                rate_hz: rate_in,
                channels,
                block_frames: blocks_in,
                ..SimDevice::default()
            };
            let output = SimDevice {
                rate_hz: rate_out,
                channels: 2,
                block_frames: blocks_out,
                ..SimDevice::default()
            };
            let mut sim = pair(input, output);
            sim.run(3.0);
            sim.reset_extremes();
            sim.world.keep_played = true;
            sim.run(5.0);
            let playout = sim.status().playout;
            let peak = sim.world.played.iter().fold(0.0f32, |m, s| m.max(s.abs()));
            if playout.underruns > 0 || playout.dropped_frames > 0 || (peak - 0.5).abs() > 0.02 {
                failures.push((rate_in, rate_out, channels, peak, playout));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_stated_latency_is_that_of_an_impulse() {
    for block_frames in [&[480][..], &[240], &[320], &[1000]] {
        let device = SimDevice {
            block_frames,
            ..SimDevice::default()
        };
        let mut sim = pair(device, device);
        let impulse_s = 10.0;
        let width_s = 0.0005;
        sim.world.source =
            Box::new(move |t| (-0.5 * ((t - impulse_s) / width_s).powi(2)).exp() as f32);
        sim.run(9.5);
        sim.world.keep_played = true;
        sim.run(1.0);
        let stated_ms = sim.status().latency.total_ms;
        let peak = sim
            .world
            .played
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .unwrap();
        assert!(*peak.1 > 0.9, "{peak:?}");
        let at_s = sim.world.played_from_s.unwrap() + peak.0 as f64 / 48_000.0;
        let measured_ms = 1e3 * (at_s - impulse_s);
        assert!(
            (measured_ms - stated_ms).abs() < 1.0,
            "{block_frames:?}: measured {measured_ms}, stated {stated_ms}"
        );
    }
}
