//! When to step streams down, and when up again.

use std::time::Duration;

/// Above this share of its time a batch has too much to do.
const HIGH: f32 = 0.85;
/// Below this it has room for more.
const LOW: f32 = 0.55;
/// Time of calling without overload before a stream is stepped up: far longer than the 120 ms that
/// a step takes, so that streams do not go to and fro.
const PATIENCE: Duration = Duration::from_secs(2);
/// And from one step up to the next, while the calm lasts.
const PACE: Duration = Duration::from_millis(500);
/// Share of a new call in the smoothed load: about ten calls.
const SMOOTHING: f32 = 0.1;
/// Calls before the load is judged again after a step, for a stream that changes its model
/// costs more while both run.
const SETTLING_CALLS: u32 = 20;

/// The controller of one batch.
#[derive(Debug, Default)]
pub(super) struct Load {
    share: f32,
    /// calls until it is judged again
    settling: u32,
    /// time given since the last overload, less after a step up
    calm: Duration,
    missed: bool,
}

impl Load {
    /// Notes a call that took `took` of `budget`; gives how many of `streams` to step up, or down
    /// if it is negative.
    pub(super) fn note(
        &mut self,
        took: Duration,
        budget: Duration,
        missed: bool,
        streams: usize,
    ) -> isize {
        let share = took.as_secs_f32() / budget.as_secs_f32().max(1e-6);
        // A call that found no time at all says so, not how much too late it was.
        self.share += (share.min(4.0) - self.share) * SMOOTHING;
        // One miss can be another program's doing; the next one is not.
        let misses = missed && self.missed;
        self.missed = missed;
        self.settling = self.settling.saturating_sub(1);
        if self.share > HIGH || missed {
            self.calm = Duration::ZERO;
            if self.settling > 0 || !(misses || self.share > HIGH) {
                return 0;
            }
            self.settling = SETTLING_CALLS;
            // As many as would bring the load to where it is high no more, one at least.
            let over = (self.share - HIGH).max(0.0) / self.share.max(HIGH);
            return -((over * streams as f32).ceil().max(1.0) as isize);
        }
        if self.share < LOW {
            self.calm += budget;
        } else {
            self.calm = Duration::ZERO;
        }
        if self.calm < PATIENCE {
            return 0;
        }
        self.calm = PATIENCE - PACE;
        1 + (streams / 32) as isize
    }

    pub(super) fn share(&self) -> f32 {
        self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(10);

    fn calls(load: &mut Load, count: usize, share: f32, missed: bool) -> Vec<isize> {
        let took = BUDGET.mul_f32(share);
        let note = |_| load.note(took, BUDGET, missed, 100);
        (0..count).map(note).filter(|change| *change != 0).collect()
    }

    #[test]
    fn steps_down_when_overloaded_and_up_after_a_while_of_calm() {
        let mut load = Load::default();
        assert!(calls(&mut load, 1000, 0.7, false).is_empty());
        let down = calls(&mut load, 100, 1.5, true);
        assert!(
            down.iter().all(|change| *change < 0) && down.len() >= 4,
            "{down:?}"
        );
        calls(&mut load, 20, 0.3, false); // the load is smoothed
        assert!(calls(&mut load, 150, 0.3, false).is_empty(), "patience");
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
    fn one_miss_alone_changes_nothing() {
        let mut load = Load::default();
        calls(&mut load, 100, 0.5, false);
        assert!(calls(&mut load, 1, 1.2, true).is_empty());
        assert!(calls(&mut load, 100, 0.5, false).is_empty());
        assert!(!calls(&mut load, 2, 1.2, true).is_empty());
    }
}
