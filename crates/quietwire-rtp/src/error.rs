//! What can be wrong with a packet or with a stream's options.

/// Every error of the RTP transform. Those of a packet concern that packet alone: it is counted
/// and left out, and the stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtpError {
    /// The bytes are no RTP packet.
    #[error("not an RTP packet: {0}")]
    Malformed(&'static str),
    /// RTCP on the port of RTP: it belongs to whoever ends the session.
    #[error("an RTCP packet: not for the audio path")]
    Rtcp,
    /// A payload type that the stream was not told of.
    #[error("payload type {found}: the stream carries {expected}")]
    PayloadType {
        /// Of the packet.
        found: u8,
        /// Of the stream.
        expected: u8,
    },
    /// A datagram longer than any audio packet.
    #[error("a packet of {found} bytes: audio packets have at most {most}")]
    TooLong {
        /// Bytes of the packet.
        found: usize,
        /// The most.
        most: usize,
    },
    /// A packet whose place in the stream was over, or that came before.
    #[error("packet {sequence} came too late or twice")]
    Late {
        /// Its sequence number.
        sequence: u16,
    },
    /// A packet far from where the stream is, or of another source: taken once a second follows.
    #[error("packet {sequence} of source {ssrc:08x} does not follow: waiting for another")]
    Strange {
        /// Its sequence number.
        sequence: u16,
        /// Its source.
        ssrc: u32,
    },
    /// An option that cannot be.
    #[error("{option}: expected {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What would be right.
        expected: &'static str,
    },
}
