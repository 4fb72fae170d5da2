//! A processor that is too slow for a while.

use crate::sim::{Sim, SimDevice, TONE_STEP};

#[test]
fn an_overload_steps_down_and_recovers() {
    let mut sim = Sim::new(
        SimDevice::default(),
        SimDevice::default(),
        &["base", "tiny"],
    );
    sim.run(3.0);
    assert_eq!(sim.status().model.as_deref(), Some("base"));
    sim.reset_extremes();
    // Each look at the clock takes 1.9 ms, and a hop looks several times: it misses its budget.
    sim.world.cost_s = 0.0019;
    sim.run(3.0);
    let status = sim.status();
    assert!(status.step_downs >= 1, "{status:?}");
    assert_ne!(status.model.as_deref(), Some("base"));
    assert!(status.deadline_misses > 0);
    // Hardly above the steps of the signal itself, with its cross-fades.
    assert!(
        sim.world.max_step < 1.1 * TONE_STEP,
        "{}",
        sim.world.max_step
    );

    sim.world.cost_s = 0.0;
    sim.run(8.0);
    let status = sim.status();
    assert_eq!(status.model.as_deref(), Some("base"), "{status:?}");
    assert_eq!(status.step_ups, status.step_downs);
    // The delay of the overload does not stay.
    assert!(
        status.playout.queue_ms < status.playout.target_ms + 3.0,
        "{status:?}"
    );
}

#[test]
fn a_worker_that_stops_for_a_while_leaves_no_delay() {
    let mut sim = Sim::new(SimDevice::default(), SimDevice::default(), &["tiny"]);
    sim.settings.set_bypass(true);
    sim.run(3.0);
    for pause_s in [0.03, 0.1, 0.3, 0.8] {
        sim.world.advance(pause_s);
        sim.run(10.0);
        let playout = sim.status().playout;
        assert!(
            (playout.queue_ms - playout.target_ms).abs() < 3.0,
            "{pause_s} s: {playout:?}"
        );
        assert!(playout.target_ms < 80.0, "{playout:?}");
    }
}
