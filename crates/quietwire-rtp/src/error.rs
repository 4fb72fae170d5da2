//! The errors of packets and of the options of a stream.

/// Why a packet was dropped. It concerns this packet only: it is counted, and the stream continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtpError {
    /// The bytes are not an RTP packet.
    #[error("not an RTP packet: {0}")]
    Malformed(&'static str),
    /// RTCP on the RTP port (RFC 5761): pass it to the code that handles the session.
    #[error("RTCP packet on the RTP port: expected RTP")]
    Rtcp,
    /// A payload type that the stream was not configured for.
    #[error("payload type {found} is not configured: this stream carries {expected}")]
    PayloadType {
        /// Payload type of the packet.
        found: u8,
        /// Payload type of the stream's codec.
        expected: u8,
    },
    /// A datagram longer than any audio packet.
    #[error("packet of {found} bytes is too long: expected at most {max}")]
    TooLong {
        /// Bytes of the packet.
        found: usize,
        /// Largest number of bytes.
        max: usize,
    },
    /// The packet was received after its playout time.
    #[error("packet {sequence} was received after its playout time")]
    Late {
        /// Its sequence number.
        sequence: u16,
    },
    /// The packet was received before.
    #[error("packet {sequence} was received twice")]
    Duplicate {
        /// Its sequence number.
        sequence: u16,
    },
    /// The packet has no payload: a keep-alive, or a probe of the bandwidth. No time passes with it.
    #[error("packet {sequence} has no payload")]
    Empty {
        /// Its sequence number.
        sequence: u16,
    },
    /// Too many packets wait: the stream was not driven, or its packets were not taken.
    #[error("packet {sequence} is dropped: the jitter buffer is full")]
    Overflow {
        /// Its sequence number.
        sequence: u16,
    },
    /// The latest payloads are not of the stream's codec. They are not decoded.
    #[error(
        "the payloads are not {codec} packets: they are probably encrypted (SRTP or end-to-end), or of another codec. Check the keys and the payload type"
    )]
    OtherCodec {
        /// Name of the stream's codec.
        codec: &'static str,
    },
    /// The packet is of another source, or its sequence number is far from the expected one. The
    /// stream switches to it when its successor is received too (RFC 3550, appendix A.1).
    #[error(
        "packet {sequence} of source {ssrc:08x} does not continue the stream: on probation until its successor is received"
    )]
    Probation {
        /// Its sequence number.
        sequence: u16,
        /// Its source.
        ssrc: u32,
    },
}

/// Why a stream cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RtpBuildError {
    /// An option is out of range or contradicts another one.
    #[error("option {option} is not valid: expected {expected}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Valid values.
        expected: &'static str,
    },
    /// The options of the denoiser are not valid, or a model does not support them.
    #[error(transparent)]
    Denoiser(#[from] quietwire::Error),
    /// The codec library cannot create a coder with these options, usually for lack of memory.
    #[error("the codec cannot be created: {reason}")]
    Codec {
        /// Reason given by the codec library.
        reason: &'static str,
    },
}
