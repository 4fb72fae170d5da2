//! The timestamps of the sender: what the next packet's is expected to be, and what a difference means.
//!
//! Senders round their timestamps, stamp them with the clock of the capture device, or use another
//! clock rate than that of the codec. Differences below one packet are rounding: the audio of
//! consecutive packets is contiguous.

use std::time::Duration;

/// After this many packets in a row with the same wrong step, the step is that of the sender's clock.
const WRONG_STEPS: u32 = 4;

/// Timestamps and lengths of the played packets of a source.
#[derive(Debug)]
pub(crate) struct SenderClock {
    rate_hz: f64,
    latest: Option<Latest>,
    /// ticks of the sender's clock per tick of the codec's clock
    ratio: f64,
    /// another ratio, and the number of packets with it in a row
    candidate: (f64, u32),
}

/// The latest packet of audio.
#[derive(Debug, Clone, Copy)]
struct Latest {
    sequence: u64,
    /// timestamp, ticks
    ticks: i64,
    frames: usize,
    arrival: Duration,
    /// timestamp that is expected next
    expected: i64,
}

impl SenderClock {
    pub(crate) fn new(rate_hz: u32) -> Self {
        Self {
            rate_hz: f64::from(rate_hz),
            latest: None,
            ratio: 1.0,
            candidate: (1.0, 0),
        }
    }

    /// Timestamp of the latest packet of audio.
    pub(crate) fn latest_ticks(&self) -> Option<i64> {
        self.latest.map(|latest| latest.ticks)
    }

    /// Ticks from the latest packet to the packet `sequence`, if no number lies between them.
    pub(crate) fn ticks_since(&self, sequence: u64, ticks: i64) -> Option<i64> {
        let latest = self.latest?;
        (sequence == latest.sequence + 1).then_some(ticks - latest.ticks)
    }

    /// Ticks of a packet of `frames`.
    pub(crate) fn step(&self, frames: usize) -> i64 {
        (frames as f64 * self.ratio).round() as i64
    }

    /// Whether the sender sent nothing for at least one packet before the packet with timestamp
    /// `ticks`.
    pub(crate) fn is_pause(&self, ticks: i64) -> bool {
        self.latest.is_some_and(|latest| {
            let packet = self.step(latest.frames).max(latest.frames as i64);
            ticks - latest.expected >= packet
        })
    }

    /// How many of `missing` packets before the one with timestamp `ticks` were audio: as many as fit
    /// between the timestamps.
    pub(crate) fn missing_audio(&self, missing: u64, ticks: i64) -> u64 {
        let Some(latest) = self.latest else {
            return 0;
        };
        let step = self.step(latest.frames).max(1);
        let fitting = (ticks - latest.expected + step / 2).div_euclid(step);
        u64::try_from(fitting).unwrap_or(0).min(missing)
    }

    /// A packet of audio is lost. Returns its timestamp.
    pub(crate) fn lost(&mut self) -> Option<i64> {
        let step = self.latest.map(|latest| self.step(latest.frames))?;
        let latest = self.latest.as_mut()?;
        let ticks = latest.expected;
        latest.expected += step;
        Some(ticks)
    }

    /// A packet of audio was played.
    pub(crate) fn played(&mut self, sequence: u64, ticks: i64, frames: usize, arrival: Duration) {
        if let Some(before) = self.latest
            && sequence == before.sequence + 1
        {
            self.compare(&before, ticks, arrival);
        }
        self.latest = Some(Latest {
            sequence,
            ticks,
            frames,
            arrival,
            expected: ticks + self.step(frames),
        });
    }

    /// Detects a clock with another rate: the packets arrive at their pace, and the timestamps do not
    /// advance by it.
    fn compare(&mut self, before: &Latest, ticks: i64, arrival: Duration) {
        let frames = before.frames as f64;
        let ratio = (ticks - before.ticks) as f64 / frames;
        if (ratio - 1.0).abs() < 0.5 {
            self.ratio = 1.0;
            self.candidate = (1.0, 0);
            return;
        }
        let paced = arrival.saturating_sub(before.arrival).as_secs_f64() * self.rate_hz / frames;
        if !(0.5..2.0).contains(&paced) || ratio <= 0.0 {
            return;
        }
        let (candidate, count) = self.candidate;
        let is_same = (ratio - candidate).abs() < 0.125;
        self.candidate = (ratio, if is_same { count + 1 } else { 1 });
        if self.candidate.1 >= WRONG_STEPS {
            self.ratio = ratio;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock after packets of 20 ms whose timestamps advance by `step` ticks.
    fn after(step: i64) -> SenderClock {
        let mut clock = SenderClock::new(48_000);
        for n in 0..20 {
            let arrival = Duration::from_millis(20 * n);
            clock.played(n, n as i64 * step, 960, arrival);
        }
        clock
    }

    #[test]
    fn differences_below_one_packet_are_rounding() {
        for step in [160, 320, 480, 882, 959, 960, 961, 1800, 1920] {
            let clock = after(step);
            let next = 20 * step;
            assert!(!clock.is_pause(next), "{step}");
            assert!(!clock.is_pause(next + 900), "{step}");
            assert!(clock.is_pause(next + 2 * 1920), "{step}");
            assert!(!clock.is_pause(next - 5000), "{step}");
        }
    }

    #[test]
    fn lost_audio_is_counted_by_the_timestamps() {
        // Step, missing numbers, ticks to the next packet: packets of audio.
        for (step, missing, ticks, audio) in [
            (960, 1, 2 * 960, 1),
            (960, 3, 4 * 960, 3),
            (960, 3, 960, 0),
            (960, 3, 3 * 960, 2),
            (960, 2, 50 * 960, 2),
            (960, 2, -5000, 0),
            (960, 1, 2 * 960 + 479, 1),
            (160, 3, 4 * 160, 3),
            (1920, 2, 3 * 1920, 2),
        ] {
            let clock = after(step);
            let found = clock.missing_audio(missing, 19 * step + ticks);
            assert_eq!(found, audio, "{step}, {missing}, {ticks}");
        }
    }

    #[test]
    fn silence_without_packets_is_no_clock_of_another_rate() {
        let mut clock = SenderClock::new(48_000);
        // One packet every 400 ms, as an encoder sends in silence.
        for n in 0..20 {
            let arrival = Duration::from_millis(400 * n);
            clock.played(n, n as i64 * 19_200, 960, arrival);
        }
        assert!(clock.is_pause(20 * 19_200));
    }
}
