//! When each stream of a worker needs its next turn.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Times by slot. Setting a later time than the present one costs nothing: the earlier one passes
/// first, and its owner sets the next.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Duration, usize)>>,
    /// [slots] earliest time in the heap
    scheduled: Vec<Option<Duration>>,
}

impl Timers {
    /// Makes `slot` due at `at` at the latest.
    pub fn set(&mut self, slot: usize, at: Duration) {
        if slot >= self.scheduled.len() {
            self.scheduled.resize(slot + 1, None);
        }
        if self.scheduled[slot].is_none_or(|scheduled| at < scheduled) {
            self.scheduled[slot] = Some(at);
            self.heap.push(Reverse((at, slot)));
        }
    }

    /// Forgets the time of `slot`.
    pub fn clear(&mut self, slot: usize) {
        if let Some(scheduled) = self.scheduled.get_mut(slot) {
            *scheduled = None;
        }
    }

    /// The next slot that is due at `now`.
    pub fn pop(&mut self, now: Duration) -> Option<usize> {
        loop {
            let Reverse((at, slot)) = *self.heap.peek()?;
            if at > now {
                return None;
            }
            self.heap.pop();
            // Otherwise an earlier time replaced this one.
            if self.scheduled[slot] == Some(at) {
                self.scheduled[slot] = None;
                return Some(slot);
            }
        }
    }

    /// The earliest time.
    pub fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn slots_are_due_at_their_earliest_time() {
        let mut timers = Timers::default();
        assert_eq!((timers.next(), timers.pop(ms(9))), (None, None));
        timers.set(2, ms(30));
        timers.set(0, ms(20));
        timers.set(2, ms(10));
        timers.set(2, ms(50));
        timers.set(1, ms(15));
        timers.clear(1);
        assert_eq!(timers.next(), Some(ms(10)));
        assert_eq!(timers.pop(ms(9)), None);
        assert_eq!(timers.pop(ms(10)), Some(2));
        assert_eq!(timers.pop(ms(20)), Some(0));
        assert_eq!(timers.pop(ms(100)), None, "replaced and cleared times");
        timers.set(2, ms(120));
        assert_eq!(timers.pop(ms(120)), Some(2));
    }

    #[test]
    fn postponed_times_do_not_accumulate() {
        let mut timers = Timers::default();
        for packet in 0..10_000 {
            // Each packet moves the time of its stream to a second later.
            let now = ms(20 * packet);
            while let Some(slot) = timers.pop(now) {
                timers.set(slot, now + ms(500));
            }
            timers.set(0, now + ms(1000));
        }
        assert!(timers.heap.len() <= 2, "{}", timers.heap.len());
    }
}
