//! Devices that go, come back, change their format or become the default.

use quietwire_live::DeviceRole::{Input, Output};

use crate::sim::{Sim, SimDevice, tone};

fn running() -> Sim {
    let mut sim = Sim::new(SimDevice::default(), SimDevice::default(), &["tiny"]);
    sim.settings.set_bypass(true);
    sim.run(3.0);
    sim
}

/// RMS level of what is played in the next half second.
fn level(sim: &mut Sim) -> f32 {
    sim.world.played.clear();
    sim.world.keep_played = true;
    sim.run(0.5);
    sim.world.keep_played = false;
    let played = &sim.world.played;
    (played.iter().map(|s| s * s).sum::<f32>() / played.len().max(1) as f32).sqrt()
}

fn assert_plays(sim: &mut Sim) {
    let level = level(sim);
    assert!((level - 0.3535).abs() < 0.02, "level {level}");
}

#[test]
fn an_input_that_goes_and_comes_back_plays_again() {
    for reports in [true, false] {
        let mut sim = running();
        assert_plays(&mut sim);
        let queue_ms = sim.status().playout.queue_ms;
        sim.reset_extremes();
        sim.unplug(Input, reports);
        sim.run(4.0);
        assert_eq!(sim.status().input.state, "waiting");
        assert!(level(&mut sim) < 1e-3);
        sim.plug(Input, SimDevice::default());
        sim.run(6.0);
        let status = sim.status();
        assert_eq!((status.input.state, status.input.opened), ("running", 2));
        assert_plays(&mut sim);
        // No delay is left over.
        assert!(
            (sim.status().playout.queue_ms - queue_ms).abs() < 6.0,
            "{:?}",
            sim.status()
        );
        // A full step of the tone would be 0.5.
        assert!(sim.world.max_bend < 0.06, "{}", sim.world.max_bend);
    }
}

#[test]
fn an_output_that_goes_and_comes_back_plays_again() {
    let mut sim = running();
    sim.unplug(Output, true);
    sim.run(20.0);
    assert_eq!(sim.status().output.state, "waiting");
    sim.plug(
        Output,
        SimDevice {
            rate_hz: 44_100,
            ..SimDevice::default()
        },
    );
    sim.run(8.0);
    assert_plays(&mut sim);
    assert!(sim.status().playout.queue_ms < 30.0);
}

#[test]
fn an_input_with_another_rate_is_followed() {
    let mut sim = running();
    for rate_hz in [16_000, 44_100, 48_000] {
        sim.unplug(Input, true);
        sim.plug(
            Input,
            SimDevice {
                rate_hz,
                channels: 2,
                ..SimDevice::default()
            },
        );
        sim.run(4.0);
        assert_eq!(sim.status().input.rate_hz, rate_hz);
        assert_plays(&mut sim);
    }
}

#[test]
fn another_default_device_is_followed() {
    let mut sim = running();
    let names = &mut sim.supervisor.backend_mut().default_name;
    names.insert("input", "second".into());
    sim.run(3.0);
    assert_eq!(sim.status().input.opened, 2);
    assert_plays(&mut sim);
}

#[test]
fn another_device_right_after_the_start_is_followed() {
    let mut sim = Sim::new(SimDevice::default(), SimDevice::default(), &["tiny"]);
    sim.run(0.1);
    let names = &mut sim.supervisor.backend_mut().default_name;
    names.insert("input", "second".into());
    sim.run(2.0);
    assert_eq!(sim.status().input.opened, 2);
}

#[test]
fn a_device_that_stays_away_is_tried_every_five_seconds_at_most() {
    let mut sim = running();
    sim.unplug(Input, true);
    sim.run(20.0);
    let before = sim.supervisor.backend_mut().opens;
    sim.run(600.0);
    let tries = sim.supervisor.backend_mut().opens - before;
    assert!((100..=125).contains(&tries), "{tries}");
}

#[test]
fn the_raw_signal_plays_until_the_model_is_loaded() {
    let mut sim = Sim::new(SimDevice::default(), SimDevice::default(), &[]);
    sim.world.source = Box::new(tone);
    sim.run(1.0);
    assert_eq!(sim.status().model, None);
    assert_plays(&mut sim);
}
