//! RTP packets, read in place and written (RFC 3550 section 5.1), with header extensions
//! (RFC 8285) and the audio level among them (RFC 6464).

use super::RtpError;

/// Bytes of a header without contributing sources and extension.
const FIXED: usize = 12;
const VERSION: u8 = 2;
/// Profiles of an extension whose elements have headers of one byte, and of two (RFC 8285).
const ONE_BYTE: u16 = 0xBEDE;
const TWO_BYTE: u16 = 0x1000;

/// A packet, where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    /// bytes of the header with contributing sources and extension
    header: usize,
    /// where the payload ends and padding begins
    end: usize,
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`RtpError::Malformed`] for what cannot be RTP, [`RtpError::Rtcp`] for RTCP on the same
    /// port (RFC 5761 section 4).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let short = RtpError::Malformed("shorter than its header says");
        if bytes.len() < FIXED {
            return Err(short);
        }
        if bytes[0] >> 6 != VERSION {
            return Err(RtpError::Malformed("not version 2 of RTP"));
        }
        if (192..=223).contains(&bytes[1]) {
            return Err(RtpError::Rtcp);
        }
        let mut header = FIXED + 4 * usize::from(bytes[0] & 0x0F);
        if bytes[0] & 0x10 != 0 {
            let length = bytes.get(header + 2..header + 4).ok_or(short)?;
            header += 4 + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        let mut end = bytes.len();
        if bytes[0] & 0x20 != 0 {
            let padding = usize::from(bytes[end - 1]);
            if padding == 0 || padding > end {
                return Err(RtpError::Malformed("impossible padding"));
            }
            end -= padding;
        }
        if header > end {
            return Err(short);
        }
        Ok(Self { bytes, header, end })
    }

    /// First packet after a silence, in most audio profiles.
    pub fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// What the payload is, 0 to 127.
    pub fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7F
    }

    /// Counts packets, modulo 2^16.
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// Sampling instant of the first sample, in ticks of the codec's clock, modulo 2^32.
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes(self.word(4))
    }

    /// The source.
    pub fn ssrc(&self) -> u32 {
        u32::from_be_bytes(self.word(8))
    }

    /// What is carried.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header..self.end]
    }

    /// The header as it came, with contributing sources and extension.
    pub(super) fn header(&self) -> &'a [u8] {
        &self.bytes[..self.header]
    }

    fn word(&self, at: usize) -> [u8; 4] {
        [0, 1, 2, 3].map(|byte| self.bytes[at + byte])
    }

    /// The audio level (RFC 6464) in the extension element `id`: whether there is a voice, and how
    /// far below full scale it is, 0 to 127 dB.
    pub fn audio_level(&self, id: u8) -> Option<(bool, u8)> {
        let at = element(self.header(), id)?;
        let byte = self.bytes[at];
        Some((byte & 0x80 != 0, byte & 0x7F))
    }
}

/// Where the first byte of an extension element is in a header that was checked.
fn element(header: &[u8], id: u8) -> Option<usize> {
    if header[0] & 0x10 == 0 {
        return None;
    }
    let extension = FIXED + 4 * usize::from(header[0] & 0x0F);
    let profile = u16::from_be_bytes([header[extension], header[extension + 1]]);
    let mut at = extension + 4;
    while at < header.len() {
        let first = header[at];
        let (found, len, data) = match profile {
            _ if first == 0 => {
                at += 1; // padding
                continue;
            }
            // 15 ends the elements.
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

/// What changes in a header on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rewrite {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// extension element, voice, dB below full scale
    pub(super) audio_level: Option<(u8, bool, u8)>,
}

impl Rewrite {
    /// Writes `header` with the changes, its contributing sources and its extension; the payload
    /// comes after it, without padding.
    pub(super) fn write(&self, header: &[u8], packet: &mut Vec<u8>) {
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

/// A header without extension, for a packet that stands for none that came.
pub(super) const PLAIN_HEADER: [u8; FIXED] = [VERSION << 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_everything_is_read_and_rewritten() {
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

        let rewrite = Rewrite {
            marker: false,
            payload_type: 96,
            sequence: 5,
            timestamp: 6,
            ssrc: 7,
            audio_level: Some((1, false, 127)),
        };
        let mut out = Vec::new();
        rewrite.write(packet.header(), &mut out);
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
    fn levels_in_two_byte_elements_are_found() {
        let mut bytes = vec![0x90, 111, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([0x10, 0, 0, 2, 20, 0, 21, 1, 0x80 | 5, 0, 0, 0]);
        assert_eq!(
            Packet::parse(&bytes).unwrap().audio_level(21),
            Some((true, 5))
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
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
