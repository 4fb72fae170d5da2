//! Packet counts of a stream. The only file that reads the statistics of `quietwire-rtp`.

use quietwire_rtp::RtpStats;
use serde::Serialize;
use utoipa::ToSchema;

/// Packet counts of a stream since it was created. Every datagram received is accounted for: `received` is
/// the sum of `replaced`, `relayed`, `waiting` and all counts in `dropped`.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub struct PacketStats {
    /// datagrams received
    #[schema(minimum = 0)]
    pub received: u64,
    /// packets sent: those replaced or relayed, and those with concealed audio
    #[schema(minimum = 0)]
    pub sent: u64,
    /// packets received and sent with denoised audio
    #[schema(minimum = 0)]
    pub replaced: u64,
    /// packets received and sent unchanged
    #[schema(minimum = 0)]
    pub relayed: u64,
    /// packets received that wait for their playout, for the delay, or to be sent
    #[schema(minimum = 0)]
    pub waiting: u64,
    /// packets that were not received in time
    #[schema(minimum = 0)]
    pub lost: u64,
    /// part of `lost`: packets whose audio was found in later packets (in-band FEC, RED)
    #[schema(minimum = 0)]
    pub recovered: u64,
    /// part of `lost`: packets whose audio was extrapolated
    #[schema(minimum = 0)]
    pub concealed: u64,
    /// changes of the source, or of its sequence numbers
    #[schema(minimum = 0)]
    pub restarts: u64,
    /// changes of the delay, because the packets have another length
    #[schema(minimum = 0)]
    pub delay_changes: u64,
    /// packets that were not sent, and blocks on which the codec or the model failed
    #[schema(minimum = 0)]
    pub failed: u64,
    /// part of `sent`: packets for which the network reported that the target is unreachable
    #[schema(minimum = 0)]
    pub unreachable: u64,
    /// packets and datagrams that were dropped
    pub dropped: Dropped,
}

/// Packets and datagrams that were dropped, by reason.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub struct Dropped {
    /// packets received after their playout time
    #[schema(minimum = 0)]
    pub late: u64,
    /// packets received twice
    #[schema(minimum = 0)]
    pub duplicate: u64,
    /// SRTP packets received twice
    #[schema(minimum = 0)]
    pub replayed: u64,
    /// SRTP packets that the key does not decrypt
    #[schema(minimum = 0)]
    pub not_authentic: u64,
    /// datagrams that were not an RTP packet, or too long
    #[schema(minimum = 0)]
    pub malformed: u64,
    /// RTCP packets
    #[schema(minimum = 0)]
    pub rtcp: u64,
    /// packets of an unexpected payload type
    #[schema(minimum = 0)]
    pub unexpected_payload_type: u64,
    /// packets of another source or with an unexpected sequence number, dropped on probation
    #[schema(minimum = 0)]
    pub probation: u64,
    /// packets without payload (keep-alives, probes of the bandwidth)
    #[schema(minimum = 0)]
    pub empty: u64,
    /// packets that the codec could not decode, or whose payload is probably encrypted
    #[schema(minimum = 0)]
    pub undecodable: u64,
    /// packets of silence that the encoder left out (DTX)
    #[schema(minimum = 0)]
    pub silent: u64,
    /// packets that the stream had no room for
    #[schema(minimum = 0)]
    pub overflow: u64,
    /// packets whose clean audio could not be encoded
    #[schema(minimum = 0)]
    pub not_encoded: u64,
    /// datagrams from the address that the stream sends to
    #[schema(minimum = 0)]
    pub from_target: u64,
    /// datagrams of senders that `accept_from` does not contain
    #[schema(minimum = 0)]
    pub not_accepted: u64,
}

impl Dropped {
    /// All reasons with their counts.
    pub fn reasons(&self) -> [(&'static str, u64); 15] {
        [
            ("late", self.late),
            ("duplicate", self.duplicate),
            ("replayed", self.replayed),
            ("not_authentic", self.not_authentic),
            ("malformed", self.malformed),
            ("rtcp", self.rtcp),
            ("unexpected_payload_type", self.unexpected_payload_type),
            ("probation", self.probation),
            ("empty", self.empty),
            ("undecodable", self.undecodable),
            ("silent", self.silent),
            ("overflow", self.overflow),
            ("not_encoded", self.not_encoded),
            ("from_target", self.from_target),
            ("not_accepted", self.not_accepted),
        ]
    }
}

/// Counts of the relay itself, in addition to those of the RTP stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct SocketStats {
    pub replayed: u64,
    pub not_authentic: u64,
    pub from_target: u64,
    pub not_accepted: u64,
    pub send_failures: u64,
    pub unreachable: u64,
}

impl PacketStats {
    pub fn new(rtp: &RtpStats, socket: &SocketStats) -> Self {
        let own_drops =
            socket.replayed + socket.not_authentic + socket.from_target + socket.not_accepted;
        Self {
            received: rtp.received + own_drops,
            sent: rtp.sent,
            replaced: rtp.replaced,
            relayed: rtp.passed_through,
            waiting: rtp.waiting,
            lost: rtp.lost,
            recovered: rtp.recovered,
            concealed: rtp.concealed,
            restarts: rtp.restarts,
            delay_changes: rtp.delay_changes,
            failed: rtp.failed + socket.send_failures,
            unreachable: socket.unreachable,
            dropped: Dropped {
                late: rtp.dropped.late,
                duplicate: rtp.dropped.duplicate,
                replayed: socket.replayed,
                not_authentic: socket.not_authentic,
                malformed: rtp.dropped.malformed,
                rtcp: rtp.dropped.rtcp,
                unexpected_payload_type: rtp.dropped.unexpected_payload_type,
                probation: rtp.dropped.probation,
                empty: rtp.dropped.empty,
                undecodable: rtp.dropped.undecodable,
                silent: rtp.dropped.silent,
                overflow: rtp.dropped.overflow,
                not_encoded: rtp.dropped.failed,
                from_target: socket.from_target,
                not_accepted: socket.not_accepted,
            },
        }
    }
}
