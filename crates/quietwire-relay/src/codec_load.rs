//! Decides how many streams go without decoding and encoding when the codecs are what overloads.

use std::time::Duration;

use crate::cpu::StageTimes;

/// Time over which the load is measured.
const WINDOW: Duration = Duration::from_millis(500);
/// Part of the time that a worker is busy above which streams are shed, and the part that remains
/// after it.
const HIGH_LOAD: f32 = 0.9;
const TARGET_LOAD: f32 = 0.75;
/// Part below which streams are restored.
const LOW_LOAD: f32 = 0.6;
/// Windows in a row with a high load before streams are shed: one alone may be another process.
const HIGH_WINDOWS: u32 = 2;
/// Windows in a row with a low load before the first stream is restored.
const LOW_WINDOWS: u32 = 4;
/// The same after restored streams had to be shed again. It doubles each time.
const MAX_LOW_WINDOWS: u32 = 120;
/// Windows after a restored stream in which shedding counts as its consequence.
const TRIAL_WINDOWS: u32 = 10;

/// What a worker does with its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    None,
    /// shed so many streams, the last ones first
    Shed(usize),
    /// restore so many streams, the first ones first
    Restore(usize),
}

/// The codec load of one worker.
#[derive(Debug)]
pub struct CodecLoad {
    window_start: Duration,
    busy: Duration,
    times: StageTimes,
    high: u32,
    low: u32,
    low_needed: u32,
    since_restore: u32,
}

impl CodecLoad {
    pub fn new(now: Duration) -> Self {
        Self {
            window_start: now,
            busy: Duration::ZERO,
            times: StageTimes::default(),
            high: 0,
            low: 0,
            low_needed: LOW_WINDOWS,
            since_restore: u32::MAX,
        }
    }

    /// Adds a turn that ended at `now`. `busy`: its duration. `times`: its processor times.
    pub fn add(&mut self, busy: Duration, times: StageTimes) {
        self.busy += busy;
        self.times += times;
    }

    /// At the end of a window: what to do. `active`: counts the streams that decode and encode.
    pub fn step(&mut self, now: Duration, active: impl FnOnce() -> usize) -> Step {
        let elapsed = now.saturating_sub(self.window_start);
        if elapsed < WINDOW {
            return Step::None;
        }
        let active = active();
        let load = self.busy.as_secs_f32() / elapsed.as_secs_f32();
        // If the models are most of it, the batch steps them down.
        let is_codec = self.times.codec() >= self.times.denoise;
        self.window_start = now;
        self.busy = Duration::ZERO;
        self.times = StageTimes::default();
        self.since_restore = self.since_restore.saturating_add(1);
        if load > HIGH_LOAD {
            self.low = 0;
            self.high += 1;
            if self.high < HIGH_WINDOWS || !is_codec || active == 0 {
                return Step::None;
            }
            self.high = 0;
            if self.since_restore < TRIAL_WINDOWS {
                self.low_needed = (2 * self.low_needed).min(MAX_LOW_WINDOWS);
            }
            let part = (load - TARGET_LOAD) / load;
            return Step::Shed((part * active as f32).ceil() as usize);
        }
        self.high = 0;
        if load >= LOW_LOAD {
            self.low = 0;
            return Step::None;
        }
        self.low += 1;
        if self.low < self.low_needed {
            return Step::None;
        }
        // The next one after another window.
        self.low = self.low_needed - 1;
        if self.since_restore > 2 * MAX_LOW_WINDOWS {
            self.low_needed = LOW_WINDOWS;
        }
        self.since_restore = 0;
        Step::Restore(1 + active / 32)
    }

    /// No stream was left to restore.
    pub fn nothing_to_restore(&mut self) {
        self.since_restore = u32::MAX;
        self.low_needed = LOW_WINDOWS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Streams of which each takes `cost` of the time; of the codecs, or of the models.
    struct Worker {
        load: CodecLoad,
        now: Duration,
        streams: usize,
        shed: usize,
        cost: f32,
        model_part: f32,
        /// after each change
        shed_counts: Vec<usize>,
    }

    impl Worker {
        fn new(streams: usize, cost: f32, model_part: f32) -> Self {
            Self {
                load: CodecLoad::new(Duration::ZERO),
                now: Duration::ZERO,
                streams,
                shed: 0,
                cost,
                model_part,
                shed_counts: Vec::new(),
            }
        }

        /// Turns of 20 ms for so many seconds.
        fn run(&mut self, seconds: u32) {
            for _ in 0..50 * seconds {
                let active = self.streams - self.shed;
                let busy = (20 * MS).mul_f32((active as f32 * self.cost).min(1.0));
                self.now += 20 * MS;
                let denoise = busy.mul_f32(self.model_part);
                let times = StageTimes {
                    decode: (busy - denoise) / 3,
                    encode: (busy - denoise) * 2 / 3,
                    denoise,
                    ..StageTimes::default()
                };
                self.load.add(busy, times);
                match self.load.step(self.now, || active) {
                    Step::None => continue,
                    Step::Shed(count) => self.shed = (self.shed + count).min(self.streams),
                    Step::Restore(_) if self.shed == 0 => {
                        self.load.nothing_to_restore();
                        continue;
                    }
                    Step::Restore(count) => self.shed = self.shed.saturating_sub(count),
                }
                self.shed_counts.push(self.shed);
            }
        }
    }

    #[test]
    fn an_overload_of_the_codecs_sheds_streams_until_the_worker_keeps_up() {
        let mut worker = Worker::new(100, 0.02, 0.2);
        worker.run(10);
        let load = (worker.streams - worker.shed) as f32 * worker.cost;
        assert!(
            (0.5..=0.9).contains(&load),
            "{load} {:?}",
            worker.shed_counts
        );
    }

    #[test]
    fn an_overload_of_the_models_is_left_to_the_batch() {
        let mut worker = Worker::new(100, 0.02, 0.8);
        worker.run(10);
        assert_eq!(worker.shed, 0);
    }

    #[test]
    fn all_streams_are_restored_when_the_load_ends() {
        let mut worker = Worker::new(100, 0.02, 0.2);
        worker.run(10);
        assert!(worker.shed > 30);
        worker.cost = 0.005;
        worker.run(60);
        assert_eq!(worker.shed, 0, "{:?}", worker.shed_counts);
    }

    #[test]
    fn a_load_at_the_limit_changes_rarely() {
        let mut worker = Worker::new(100, 0.0095, 0.2);
        worker.run(600);
        assert!(
            worker.shed_counts.len() < 40,
            "{:?}",
            worker.shed_counts.len()
        );
    }

    #[test]
    fn one_busy_window_changes_nothing() {
        let mut worker = Worker::new(100, 0.006, 0.2);
        worker.run(5);
        worker.cost = 0.02;
        worker.load.add(WINDOW, StageTimes::default());
        worker.now += WINDOW;
        assert_eq!(worker.load.step(worker.now, || 100), Step::None);
        worker.cost = 0.006;
        worker.run(5);
        assert_eq!(worker.shed, 0);
    }
}
