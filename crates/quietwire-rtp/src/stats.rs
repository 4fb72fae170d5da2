//! What a stream of packets has been through.

use std::time::Duration;

/// Counts of packets since the stream was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "relay", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct RtpStats {
    /// Packets taken in, of the stream's payload types.
    pub received: u64,
    /// Packets sent, clean or as they came.
    pub sent: u64,
    /// Of those, sent as they came.
    pub relayed: u64,
    /// Packets that did not come in time.
    pub lost: u64,
    /// Of those, found again in later packets (in-band FEC, RED).
    pub recovered: u64,
    /// Packets' worth of sound that was made up; none while the stream is off.
    pub concealed: u64,
    /// Packets that came after their turn.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Datagrams that were no RTP packet, or too long.
    pub malformed: u64,
    /// Packets of a payload type that the stream was not told of, and RTCP.
    pub foreign: u64,
    /// Packets of another source or far from the others, while no second one followed.
    pub strange: u64,
    /// Payloads that the codec could not read.
    pub undecodable: u64,
    /// Times that the source or its numbers began anew.
    pub restarts: u64,
    /// Packets that were dropped because nobody took them, and blocks that the codec or the model
    /// failed on.
    pub failed: u64,
}

/// Variation of arrival (RFC 3550 section 6.4.1 and appendix A.8).
#[derive(Debug, Default)]
pub(super) struct Jitter {
    transit: Option<f64>,
    pub(super) seconds: f64,
}

impl Jitter {
    pub(super) fn note(&mut self, arrival: Duration, ticks: i64, rate_hz: u32) {
        let transit = arrival.as_secs_f64() - ticks as f64 / f64::from(rate_hz);
        if let Some(before) = self.transit.replace(transit) {
            self.seconds += ((transit - before).abs() - self.seconds) / 16.0;
        }
    }

    /// What comes next is of another source.
    pub(super) fn begin_anew(&mut self) {
        self.transit = None;
    }
}
