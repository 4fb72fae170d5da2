//! Packet counts and interarrival jitter of a stream.

use std::time::Duration;

/// Counts of packets since the stream was created.
///
/// Every packet received is accounted for: `received` = `replaced` + `passed_through` +
/// `dropped.total()` + `waiting`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RtpStats {
    /// Datagrams received.
    pub received: u64,
    /// Packets received and sent with denoised audio.
    pub replaced: u64,
    /// Packets received and sent with their own payload.
    pub passed_through: u64,
    /// Packets received and not sent, by reason.
    pub dropped: DropStats,
    /// Packets received that wait: in the jitter buffer, for the delay, or for the caller.
    pub waiting: u64,
    /// Packets sent: those replaced or passed through, and those with concealed audio.
    pub sent: u64,
    /// Packets that were not received in time.
    pub lost: u64,
    /// Lost packets whose audio was found in later packets (in-band FEC, RED). Part of `lost`.
    pub recovered: u64,
    /// Lost packets whose audio was extrapolated. Part of `lost`. Does not grow while the stream is
    /// off.
    pub concealed: u64,
    /// Changes of the source, or of its sequence numbers.
    pub restarts: u64,
    /// Changes of the delay, because the packets have another length.
    pub delay_changes: u64,
    /// Blocks on which the model or the encoder failed.
    pub failed: u64,
}

/// Packets received and not sent, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DropStats {
    /// Datagrams that are not an RTP packet, or too long.
    pub malformed: u64,
    /// RTCP packets.
    pub rtcp: u64,
    /// Packets of a payload type that the stream was not configured for.
    pub unexpected_payload_type: u64,
    /// Packets of another source, or with a sequence number far from the expected one, that were
    /// dropped on probation.
    pub probation: u64,
    /// Packets received after their playout time.
    pub late: u64,
    /// Packets received twice.
    pub duplicate: u64,
    /// Packets without payload (keep-alives, probes of the bandwidth).
    pub empty: u64,
    /// Packets that the codec could not decode, or whose payload is probably encrypted. Concealed
    /// audio was sent in their place.
    pub undecodable: u64,
    /// Packets of silence that the encoder left out (DTX).
    pub silent: u64,
    /// Packets that the stream had no room for, because the caller did not drive it or did not take
    /// its packets.
    pub overflow: u64,
    /// Packets whose clean audio could not be encoded.
    pub failed: u64,
}

impl DropStats {
    /// All packets received and not sent.
    pub fn total(&self) -> u64 {
        let Self {
            malformed,
            rtcp,
            unexpected_payload_type,
            probation,
            late,
            duplicate,
            empty,
            undecodable,
            silent,
            overflow,
            failed,
        } = *self;
        malformed
            + rtcp
            + unexpected_payload_type
            + probation
            + late
            + duplicate
            + empty
            + undecodable
            + silent
            + overflow
            + failed
    }
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
