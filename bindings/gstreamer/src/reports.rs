//! What the element publishes for other threads: properties and queries read it without a wait for the
//! block that is being processed.

use gst::ClockTime;
use quietwire::{DenoiserStats, Telemetry};

/// Speech probability of a model without such an output.
pub(crate) const NO_SPEECH: f32 = -1.0;
/// SNR before the first hop, dB: the lowest value of the core.
pub(crate) const NO_SNR_DB: f32 = -30.0;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Reports {
    /// 0 before the first caps
    pub(crate) latency: ClockTime,
    /// whether the latest LATENCY query found a live source
    pub(crate) is_live: bool,
    pub(crate) speech: f32,
    pub(crate) snr_db: f32,
    pub(crate) counts: Counts,
}

/// Counts since the element left the state READY.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) frames: u64,
    /// frames that came while the element was stepped down
    pub(crate) bypassed_frames: u64,
    pub(crate) hops: u64,
    pub(crate) failed_hops: u64,
    pub(crate) repaired_samples: u64,
    /// ends of a piece of audio: a discontinuity, other caps, another model, a new segment, EOS
    pub(crate) drains: u64,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            latency: ClockTime::ZERO,
            is_live: false,
            speech: NO_SPEECH,
            snr_db: NO_SNR_DB,
            counts: Counts::default(),
        }
    }
}

impl Reports {
    pub(crate) fn set_telemetry(&mut self, telemetry: Telemetry) {
        self.speech = telemetry.speech_probability.unwrap_or(NO_SPEECH);
        self.snr_db = telemetry.snr_db;
    }
}

impl Counts {
    /// Adds the counts of a stream that are lost with its next reset.
    pub(crate) fn plus(self, stats: DenoiserStats) -> Self {
        Self {
            hops: self.hops + stats.hops,
            failed_hops: self.failed_hops + stats.failed_hops,
            repaired_samples: self.repaired_samples + stats.repaired_samples,
            ..self
        }
    }

    pub(crate) fn to_structure(self, overloads: u64) -> gst::Structure {
        gst::Structure::builder("application/x-quietwire-stats")
            .field("frames", self.frames)
            .field("bypassed-frames", self.bypassed_frames)
            .field("hops", self.hops)
            .field("failed-hops", self.failed_hops)
            .field("repaired-samples", self.repaired_samples)
            .field("drains", self.drains)
            .field("overloads", overloads)
            .build()
    }
}
