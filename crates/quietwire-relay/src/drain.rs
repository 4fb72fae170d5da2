//! When a relay that received a signal ends.

use std::time::Duration;

/// A drain: ends when no stream receives packets, or at its deadline. Times are on any clock that
/// counts forward.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    deadline: Duration,
}

impl Drain {
    pub fn new(now: Duration, limit: Duration) -> Self {
        Self {
            deadline: now.saturating_add(limit),
        }
    }

    /// Whether the relay may end. `has_active`: some stream receives packets.
    pub fn is_over(&self, now: Duration, has_active: bool) -> bool {
        !has_active || now >= self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn after_ms(ms: u64) -> Duration {
        START + Duration::from_millis(ms)
    }

    #[test]
    fn without_active_streams_a_drain_ends_at_once() {
        let drain = Drain::new(START, Duration::from_secs(30));
        assert!(drain.is_over(START, false));
    }

    #[test]
    fn active_streams_hold_a_drain_until_its_deadline() {
        let drain = Drain::new(START, Duration::from_millis(500));
        assert!(!drain.is_over(START, true));
        assert!(!drain.is_over(after_ms(499), true));
        assert!(drain.is_over(after_ms(300), false));
        assert!(drain.is_over(after_ms(500), true));
    }

    #[test]
    fn a_drain_without_time_ends_at_once() {
        assert!(Drain::new(START, Duration::ZERO).is_over(START, true));
        assert!(!Drain::new(START, Duration::MAX).is_over(after_ms(1), true));
    }
}
