//! Reads RTP packets in place and writes headers (RFC 3550 section 5.1), with header extensions
//! (RFC 8285) and the audio level (RFC 6464).

use crate::error::RtpError;

/// Bytes of a header without contributing sources and extension (RFC 3550 section 5.1).
const FIXED_HEADER: usize = 12;
const VERSION: u8 = 2;
/// Extension profiles with element headers of one byte and of two bytes (RFC 8285 section 4).
const ONE_BYTE: u16 = 0xBEDE;
const TWO_BYTE: u16 = 0x1000;

/// An RTP packet, borrowed from its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    /// bytes of the header with contributing sources and extension
    header: usize,
    /// end of the payload, start of the padding
    payload_end: usize,
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`RtpError::Malformed`] for bytes that are not RTP, [`RtpError::Rtcp`] for RTCP on the
    /// same port (RFC 5761 section 4).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let short = RtpError::Malformed("shorter than its header fields require");
        if bytes.len() < FIXED_HEADER {
            return Err(short);
        }
        if bytes[0] >> 6 != VERSION {
            return Err(RtpError::Malformed("version is not 2"));
        }
        if (192..=223).contains(&bytes[1]) {
            return Err(RtpError::Rtcp);
        }
        let mut header = FIXED_HEADER + 4 * usize::from(bytes[0] & 0x0F);
        if bytes[0] & 0x10 != 0 {
            let length = bytes.get(header + 2..header + 4).ok_or(short)?;
            header += 4 + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        let mut payload_end = bytes.len();
        if bytes[0] & 0x20 != 0 {
            let padding = usize::from(bytes[payload_end - 1]);
            if padding == 0 || padding > payload_end {
                return Err(RtpError::Malformed("padding is longer than the packet"));
            }
            payload_end -= padding;
        }
        if header > payload_end {
            return Err(short);
        }
        Ok(Self {
            bytes,
            header,
            payload_end,
        })
    }

    /// The marker bit. In audio profiles it marks the first packet after a silence.
    pub fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// Payload type, 0 to 127.
    pub fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7F
    }

    /// Sequence number: counts packets modulo 2^16.
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// Timestamp: sampling instant of the first frame, ticks of the codec's clock modulo 2^32.
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes(self.word(4))
    }

    /// Synchronization source.
    pub fn ssrc(&self) -> u32 {
        u32::from_be_bytes(self.word(8))
    }

    /// The payload, without padding.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header..self.payload_end]
    }

    /// The header as received, with contributing sources and extension.
    pub(crate) fn header(&self) -> &'a [u8] {
        &self.bytes[..self.header]
    }

    fn word(&self, at: usize) -> [u8; 4] {
        [0, 1, 2, 3].map(|byte| self.bytes[at + byte])
    }

    /// The audio level (RFC 6464) in the extension element `id`: whether it is voice activity, and
    /// the level, 0 to 127 dB below full scale. `None`: the packet has no such element.
    pub fn audio_level(&self, id: u8) -> Option<(bool, u8)> {
        let at = element(self.header(), id)?;
        let byte = self.bytes[at];
        Some((byte & 0x80 != 0, byte & 0x7F))
    }
}

/// Index of the first data byte of an extension element in a header that was checked.
fn element(header: &[u8], id: u8) -> Option<usize> {
    if header[0] & 0x10 == 0 {
        return None;
    }
    let extension = FIXED_HEADER + 4 * usize::from(header[0] & 0x0F);
    let profile = u16::from_be_bytes([header[extension], header[extension + 1]]);
    let mut at = extension + 4;
    while at < header.len() {
        let first = header[at];
        let (found, len, data) = match profile {
            _ if first == 0 => {
                at += 1; // padding
                continue;
            }
            // Id 15 ends the elements (RFC 8285 section 4.2).
            ONE_BYTE if first >> 4 == 15 => return None,
            ONE_BYTE => (first >> 4, usize::from(first & 0x0F) + 1, at + 1),
            _ if profile & 0xFFF0 == TWO_BYTE => (first, usize::from(*header.get(at + 1)?), at + 2),
            _ => return None,
        };
        if found == id && len >= 1 && data + len <= header.len() {
            return Some(data);
        }
        at = data + len;
    }
    None
}

/// The fields of a header that change between the received and the sent packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderFields {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// id of the extension element, voice activity, dB below full scale
    pub(crate) audio_level: Option<(u8, bool, u8)>,
}

impl HeaderFields {
    /// Writes `header` with the changes, with its contributing sources and its extension. The
    /// caller appends the payload, without padding.
    pub(crate) fn write(&self, header: &[u8], packet: &mut Vec<u8>) {
        packet.clear();
        packet.extend_from_slice(header);
        packet[0] &= !0x20;
        packet[1] = u8::from(self.marker) << 7 | self.payload_type;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        if let Some((id, voice, level)) = self.audio_level
            && let Some(at) = element(packet, id)
        {
            packet[at] = u8::from(voice) << 7 | level.min(127);
        }
    }
}

/// A header without extension, for packets that replace no received packet.
pub(crate) const PLAIN_HEADER: [u8; FIXED_HEADER] = [VERSION << 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_all_fields_is_read_and_rewritten() {
        let mut bytes = vec![0xB1, 0xEF, 0xFF, 0xFE, 0, 0, 0, 9, 1, 2, 3, 4, 9, 9, 9, 9];
        // Extension of two words: element 3 with one byte, padding, element 1 with the level.
        bytes.extend([0xBE, 0xDE, 0, 2, 0x30, 0x55, 0, 0x10, 0x80 | 37, 0, 0, 0]);
        bytes.extend([7, 8, 9, 0, 0, 3]);
        let packet = Packet::parse(&bytes).unwrap();
        assert!(packet.marker());
        assert_eq!(packet.payload_type(), 111);
        assert_eq!((packet.sequence(), packet.timestamp()), (0xFFFE, 9));
        assert_eq!(
            (packet.ssrc(), packet.payload()),
            (0x0102_0304, &[7, 8, 9][..])
        );
        assert_eq!(packet.audio_level(1), Some((true, 37)));
        assert_eq!(packet.audio_level(2), None);

        let fields = HeaderFields {
            marker: false,
            payload_type: 96,
            sequence: 5,
            timestamp: 6,
            ssrc: 7,
            audio_level: Some((1, false, 127)),
        };
        let mut out = Vec::new();
        fields.write(packet.header(), &mut out);
        out.extend([1, 2]);
        let written = Packet::parse(&out).unwrap();
        assert_eq!((written.marker(), written.payload_type()), (false, 96));
        assert_eq!(
            (written.sequence(), written.timestamp(), written.ssrc()),
            (5, 6, 7)
        );
        assert_eq!(
            (written.audio_level(1), written.payload()),
            (Some((false, 127)), &[1, 2][..])
        );
        assert_eq!(out[12..16], [9; 4], "contributing sources stay");
    }

    #[test]
    fn levels_with_two_byte_headers_are_found() {
        let mut bytes = vec![0x90, 111, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([0x10, 0, 0, 2, 20, 0, 21, 1, 0x80 | 5, 0, 0, 0]);
        assert_eq!(
            Packet::parse(&bytes).unwrap().audio_level(21),
            Some((true, 5))
        );
    }

    #[test]
    fn malformed_packets_are_rejected() {
        for bytes in [
            &[][..],
            &[0x80; 11],
            &[0x40; 12],
            &[0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xBE, 0xDE, 0, 1],
            &[0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13],
            &[0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        ] {
            assert!(
                matches!(Packet::parse(bytes), Err(RtpError::Malformed(_))),
                "{bytes:?}"
            );
        }
        let rtcp = [0x80, 200, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(matches!(Packet::parse(&rtcp), Err(RtpError::Rtcp)));
    }
}
