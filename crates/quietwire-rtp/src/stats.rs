//! Packet counts and interarrival jitter of a stream.

use std::time::Duration;

/// Counts of packets since the stream was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RtpStats {
    /// Packets received and accepted.
    pub received: u64,
    /// Packets sent, clean or unchanged.
    pub sent: u64,
    /// Packets sent unchanged. Part of `sent`.
    pub passed_through: u64,
    /// Packets that were not received in time.
    pub lost: u64,
    /// Lost packets whose audio was found in later packets (in-band FEC, RED). Part of `lost`.
    pub recovered: u64,
    /// Packets of audio that were concealed. Does not grow while the stream is off.
    pub concealed: u64,
    /// Packets received after their playout time.
    pub late: u64,
    /// Packets received twice.
    pub duplicate: u64,
    /// Datagrams that were not an RTP packet, or too long.
    pub malformed: u64,
    /// Packets of a payload type that the stream was not configured for, and RTCP.
    pub unexpected_payload_type: u64,
    /// Packets of another source, or with a sequence number far from the expected one, that were
    /// dropped on probation.
    pub probation: u64,
    /// Payloads that the codec could not decode.
    pub undecodable: u64,
    /// Restarts: the source, its sequence numbers or its timestamps changed.
    pub restarts: u64,
    /// Packets dropped because the caller did not take them, and blocks on which the codec or the
    /// model failed.
    pub failed: u64,
}

/// Interarrival jitter (RFC 3550 section 6.4.1 and appendix A.8).
#[derive(Debug, Default)]
pub(crate) struct InterarrivalJitter {
    /// arrival time minus timestamp of the latest packet, seconds
    transit_s: Option<f64>,
    pub(crate) jitter_s: f64,
}

impl InterarrivalJitter {
    pub(crate) fn update(&mut self, arrival: Duration, ticks: i64, rate_hz: u32) {
        let transit_s = arrival.as_secs_f64() - ticks as f64 / f64::from(rate_hz);
        if let Some(previous_s) = self.transit_s.replace(transit_s) {
            self.jitter_s += ((transit_s - previous_s).abs() - self.jitter_s) / 16.0;
        }
    }

    /// The next packet belongs to another source. The estimate stays.
    pub(crate) fn restart(&mut self) {
        self.transit_s = None;
    }
}
