//! Switches in mid-stream.

use quietwire_testing::Random;
use quietwire_testing::signal::white;

use crate::sim::{Sim, SimDevice};

#[test]
fn a_toggle_every_100_ms_for_a_minute_does_not_click() {
    let mut sim = Sim::new(
        SimDevice::default(),
        SimDevice::default(),
        &["base", "tiny"],
    );
    // A low tone that the models remove and a switch would cut.
    sim.world.source = Box::new(|t| 0.5 * (std::f64::consts::TAU * 150.0 * t).sin() as f32);
    sim.run(2.0);
    sim.reset_extremes();
    let mut random = Random::new(3);
    for _ in 0..600 {
        match random.bits() % 4 {
            0 => sim.settings.set_bypass(!sim.settings.bypass()),
            1 => sim.settings.set_muted(!sim.settings.muted()),
            2 => sim
                .settings
                .set_attenuation_db(20.0 + 20.0 * white(&mut random)),
            _ => sim.settings.set_model(1 - sim.settings.model()),
        }
        sim.run(0.1);
    }
    let playout = sim.status().playout;
    assert_eq!((playout.underruns, playout.dropped_frames), (0, 0));
    // The tone itself bends by 0.0002. A cut at its peak would bend by 0.5.
    assert!(sim.world.max_bend < 0.003, "{}", sim.world.max_bend);
}
