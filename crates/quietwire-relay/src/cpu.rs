//! Processor time, by what it is spent on.

use std::ops::{Add, AddAssign};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::api::stream_info::CpuStages;

/// Processor time of the calling thread. Zero if the system does not count it.
pub fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Processor time of the process. Zero if the system does not count it.
pub fn process_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Measures consecutive parts of a thread's work.
pub struct Laps(Duration);

impl Laps {
    pub fn start() -> Self {
        Self(thread_time())
    }

    /// Processor time since the start or the latest call.
    pub fn lap(&mut self) -> Duration {
        let now = thread_time();
        now.saturating_sub(std::mem::replace(&mut self.0, now))
    }
}

/// Processor time by stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// receive, decrypt, encrypt, send
    pub socket: Duration,
    /// order and decode
    pub decode: Duration,
    /// models and their filters
    pub denoise: Duration,
    pub encode: Duration,
}

impl StageTimes {
    pub fn sum(&self) -> Duration {
        self.socket + self.codec() + self.denoise
    }

    /// Decode and encode.
    pub fn codec(&self) -> Duration {
        self.decode + self.encode
    }

    pub fn seconds(&self) -> CpuStages {
        CpuStages {
            socket: self.socket.as_secs_f64(),
            decode: self.decode.as_secs_f64(),
            denoise: self.denoise.as_secs_f64(),
            encode: self.encode.as_secs_f64(),
        }
    }
}

impl Add for StageTimes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            socket: self.socket + other.socket,
            decode: self.decode + other.decode,
            denoise: self.denoise + other.denoise,
            encode: self.encode + other.encode,
        }
    }
}

impl AddAssign for StageTimes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_takes_no_processor_time() {
        let mut laps = Laps::start();
        std::thread::sleep(Duration::from_millis(50));
        assert!(laps.lap() < Duration::from_millis(25));
        let mut x = 1u64;
        for n in 0..20_000_000 {
            x = std::hint::black_box(x.wrapping_mul(n));
        }
        assert!(laps.lap() > Duration::from_millis(1));
        assert!(process_time() >= thread_time());
    }
}
