//! Decides when streams step down and up.

use std::time::Duration;

/// Load above which streams step down.
const HIGH_LOAD: f32 = 0.85;
/// Load below which streams step up.
const LOW_LOAD: f32 = 0.55;
/// Time below [`LOW_LOAD`] before the first step up. Much longer than the 120 ms that a step takes, so
/// that streams do not step down and up in turn.
const STEP_UP_AFTER: Duration = Duration::from_secs(2);
/// Time from one step up to the next.
const STEP_UP_EVERY: Duration = Duration::from_millis(500);
/// Weight of a new call in the smoothed load: an average over about ten calls.
const SMOOTHING: f32 = 0.1;
/// Calls after a step down without another one: a stream costs more while two of its models run.
const SETTLING_CALLS: u32 = 20;

/// The load controller of one batch.
#[derive(Debug, Default)]
pub(super) struct LoadController {
    /// part of the budget that calls take, smoothed
    load: f32,
    /// calls until the next step down is possible
    settling: u32,
    /// budgets since the load was last above [`LOW_LOAD`], minus the steps up since
    low_for: Duration,
    /// whether the latest call missed a deadline
    missed: bool,
}

impl LoadController {
    /// Updates the load with a call that took `took` of `budget`. Returns how many of `streams` to step
    /// up, or down if negative.
    pub(super) fn update(
        &mut self,
        took: Duration,
        budget: Duration,
        missed: bool,
        streams: usize,
    ) -> isize {
        let load = took.as_secs_f32() / budget.as_secs_f32().max(1e-6);
        // Limited: a call without any budget must not dominate the average.
        self.load += (load.min(4.0) - self.load) * SMOOTHING;
        // Another process can cause one miss, but hardly two in a row.
        let misses = missed && self.missed;
        self.missed = missed;
        self.settling = self.settling.saturating_sub(1);
        if self.load > HIGH_LOAD || missed {
            self.low_for = Duration::ZERO;
            if self.settling > 0 || !(misses || self.load > HIGH_LOAD) {
                return 0;
            }
            self.settling = SETTLING_CALLS;
            // As many as reduce the load to HIGH_LOAD, at least one.
            let over = (self.load - HIGH_LOAD).max(0.0) / self.load.max(HIGH_LOAD);
            return -((over * streams as f32).ceil().max(1.0) as isize);
        }
        if self.load < LOW_LOAD {
            self.low_for += budget;
        } else {
            self.low_for = Duration::ZERO;
        }
        if self.low_for < STEP_UP_AFTER {
            return 0;
        }
        self.low_for = STEP_UP_AFTER - STEP_UP_EVERY;
        1 + (streams / 32) as isize
    }

    pub(super) fn load(&self) -> f32 {
        self.load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(10);

    fn calls(load: &mut LoadController, count: usize, part: f32, missed: bool) -> Vec<isize> {
        let took = BUDGET.mul_f32(part);
        let update = |_| load.update(took, BUDGET, missed, 100);
        (0..count)
            .map(update)
            .filter(|change| *change != 0)
            .collect()
    }

    #[test]
    fn steps_down_when_overloaded_and_up_after_2_s_of_low_load() {
        let mut load = LoadController::default();
        assert!(calls(&mut load, 1000, 0.7, false).is_empty());
        let down = calls(&mut load, 100, 1.5, true);
        assert!(
            down.iter().all(|change| *change < 0) && down.len() >= 4,
            "{down:?}"
        );
        calls(&mut load, 20, 0.3, false); // the load is smoothed
        assert!(calls(&mut load, 150, 0.3, false).is_empty(), "too early");
        let up = calls(&mut load, 1000, 0.3, false);
        assert!(
            up.iter().all(|change| *change > 0) && up.len() >= 4,
            "{up:?}"
        );
        assert!(
            calls(&mut load, 1000, 0.7, false).is_empty(),
            "between the two"
        );
    }

    #[test]
    fn a_single_miss_changes_nothing() {
        let mut load = LoadController::default();
        calls(&mut load, 100, 0.5, false);
        assert!(calls(&mut load, 1, 1.2, true).is_empty());
        assert!(calls(&mut load, 100, 0.5, false).is_empty());
        assert!(!calls(&mut load, 2, 1.2, true).is_empty());
    }
}
