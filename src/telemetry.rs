//! What a stream reports about its hops.

use crate::hop_powers::HopPowers;

/// Level of digital silence, dBFS.
const SILENCE_DBFS: f32 = -140.0;
const SNR_RANGE_DB: (f32, f32) = (-30.0, 60.0);

/// Measurements of one hop of a stream. Copied, never allocated.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Telemetry {
    /// Number of the hop, counted from 0 at the start or the last reset.
    pub hop: u64,
    /// Probability of speech, 0 to 1. `None` when the model has no such output. With independent
    /// channels, the largest of them.
    pub speech_probability: Option<f32>,
    /// Power that the model keeps over the power that it removes, dB, -30 to 60.
    pub snr_db: f32,
    /// Power of the output over the power of the input, dB. 0 or less, except for a model that
    /// amplifies.
    pub gain_db: f32,
    /// Mean square of the windowed input over all channels, dBFS, -140 or more.
    pub input_dbfs: f32,
    /// Mean square of the output, dBFS, -140 or more.
    pub output_dbfs: f32,
}

/// Counts of a stream since it was created or reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct DenoiserStats {
    /// Hops, of whatever kind.
    pub hops: u64,
    /// Hops on which a model failed. The output is the delayed input.
    pub failed_hops: u64,
    /// Hops without time for a model, in a [`Batch`](crate::Batch) with a time budget. The output
    /// is the delayed input.
    pub deadline_misses: u64,
    /// Input samples that were NaN, infinite or beyond ±64, and were replaced: NaN and infinity by
    /// 0, others by ±64.
    pub repaired_samples: u64,
    /// Blocks that a caught panic cut short. The stream was reset before the next block.
    pub interrupted_blocks: u64,
}

impl Telemetry {
    pub(crate) const SILENCE: Self = Self {
        hop: 0,
        speech_probability: None,
        snr_db: SNR_RANGE_DB.0,
        gain_db: 0.0,
        input_dbfs: SILENCE_DBFS,
        output_dbfs: SILENCE_DBFS,
    };

    /// From the sums of a hop over all channels. `scale` turns the sums into mean squares.
    pub(crate) fn new(hop: u64, powers: HopPowers, scale: f32, speech: Option<f32>) -> Self {
        let dbfs = |sum: f32| (10.0 * (sum * scale).log10()).max(SILENCE_DBFS);
        let ratio_db = |over: f32, under: f32| 10.0 * ((over + 1e-20) / (under + 1e-20)).log10();
        Self {
            hop,
            speech_probability: speech,
            snr_db: ratio_db(powers.speech, powers.noise).clamp(SNR_RANGE_DB.0, SNR_RANGE_DB.1),
            gain_db: ratio_db(powers.output, powers.input),
            input_dbfs: dbfs(powers.input),
            output_dbfs: dbfs(powers.output),
        }
    }
}

/// The latest hops of a stream, oldest first. A full ring drops its oldest hop.
#[derive(Debug)]
pub(crate) struct TelemetryRing {
    /// [capacity]
    hops: Vec<Telemetry>,
    oldest: usize,
    len: usize,
}

impl TelemetryRing {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            hops: vec![Telemetry::SILENCE; capacity],
            oldest: 0,
            len: 0,
        }
    }

    pub(crate) fn push(&mut self, hop: Telemetry) {
        let capacity = self.hops.len();
        if capacity == 0 {
            return;
        }
        if self.len == capacity {
            self.oldest = (self.oldest + 1) % capacity;
            self.len -= 1;
        }
        self.hops[(self.oldest + self.len) % capacity] = hop;
        self.len += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<Telemetry> {
        if self.len == 0 {
            return None;
        }
        let hop = self.hops[self.oldest];
        self.oldest = (self.oldest + 1) % self.hops.len();
        self.len -= 1;
        Some(hop)
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_drops_its_oldest_hop() {
        let mut ring = TelemetryRing::new(2);
        for hop in 0..5 {
            ring.push(Telemetry {
                hop,
                ..Telemetry::SILENCE
            });
        }
        let hops: Vec<u64> = std::iter::from_fn(|| ring.pop()).map(|t| t.hop).collect();
        assert_eq!(hops, [3, 4]);
        let mut none = TelemetryRing::new(0);
        none.push(Telemetry::SILENCE);
        assert!(none.pop().is_none());
    }
}
