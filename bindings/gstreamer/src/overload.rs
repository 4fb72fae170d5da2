//! When the element steps down to the delayed input because its output comes too late.
//!
//! Sinks with `qos=true` report how late buffers are. Until the running time at which buffers are in time
//! again, as GStreamer's video filters compute it, the element passes the delayed input and needs almost no
//! time. It returns to the model when it was in time for [`RECOVERY`].

use gst::ClockTime;

/// Running time without a late buffer after which the model runs again.
const RECOVERY: ClockTime = ClockTime::from_seconds(1);

#[derive(Debug, Default)]
pub(crate) struct Overload {
    /// running time up to which buffers come too late
    late_until: Option<ClockTime>,
    is_stepped_down: bool,
    step_downs: u64,
    jitter_ns: i64,
    proportion: f64,
}

/// A change that the application is informed of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) is_down: bool,
    pub(crate) jitter_ns: i64,
    pub(crate) proportion: f64,
}

impl Overload {
    /// A QoS event of the sink: `timestamp` is the running time of its buffer, `jitter_ns` how late it was;
    /// negative if it was early.
    pub(crate) fn report(&mut self, timestamp: ClockTime, jitter_ns: i64, proportion: f64) {
        self.jitter_ns = jitter_ns;
        self.proportion = proportion;
        if jitter_ns > 0 {
            // Twice the delay: time to catch up.
            let late = ClockTime::from_nseconds(jitter_ns.unsigned_abs());
            let until = timestamp.saturating_add(late).saturating_add(late);
            self.late_until = Some(self.late_until.map_or(until, |before| before.max(until)));
        }
    }

    /// A buffer with this running time is processed next. Returns a change.
    pub(crate) fn advance(&mut self, running_time: ClockTime) -> Option<Step> {
        let late_until = self.late_until?;
        let is_down = if running_time < late_until {
            true
        } else if running_time >= late_until.saturating_add(RECOVERY) {
            self.late_until = None;
            false
        } else {
            self.is_stepped_down
        };
        (is_down != self.is_stepped_down).then(|| {
            self.is_stepped_down = is_down;
            self.step_downs += u64::from(is_down);
            Step {
                is_down,
                jitter_ns: self.jitter_ns,
                proportion: self.proportion,
            }
        })
    }

    /// Whether the output is the delayed input.
    pub(crate) fn is_stepped_down(&self) -> bool {
        self.is_stepped_down
    }

    /// Steps down since the element started.
    pub(crate) fn step_downs(&self) -> u64 {
        self.step_downs
    }

    /// Another running time: after a flush, or without `qos`.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            step_downs: self.step_downs,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> ClockTime {
        ClockTime::from_mseconds(ms)
    }

    #[test]
    fn a_late_buffer_steps_down_and_a_second_in_time_up() {
        let mut overload = Overload::default();
        overload.report(ms(100), -5, 0.5);
        assert_eq!(overload.advance(ms(110)), None);
        overload.report(ms(110), 20_000_000, 1.5);
        let down = overload.advance(ms(120)).unwrap();
        assert!(down.is_down && overload.is_stepped_down());
        assert_eq!((down.jitter_ns, down.proportion), (20_000_000, 1.5));
        // In time from 150 ms on.
        assert_eq!(overload.advance(ms(1_149)), None);
        assert!(overload.is_stepped_down());
        assert!(!overload.advance(ms(1_150)).unwrap().is_down);
        assert_eq!(overload.step_downs(), 1);
    }

    #[test]
    fn a_report_about_the_past_changes_nothing() {
        let mut overload = Overload::default();
        overload.report(ms(100), 1_000_000, 1.0);
        assert_eq!(overload.advance(ms(500)), None);
        assert!(!overload.is_stepped_down());
    }
}
