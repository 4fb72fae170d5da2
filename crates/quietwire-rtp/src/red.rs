//! Redundant audio: a packet that brings earlier ones again (RFC 2198).

use std::ops::Range;

use super::RtpError;

/// Most blocks that are read of a packet, the primary one among them.
const MAX_BLOCKS: usize = 8;
/// Longest redundant block, and most ticks that it may be behind: what their fields can say.
const MAX_LEN: usize = (1 << 10) - 1;
const MAX_BEHIND: u32 = (1 << 14) - 1;

/// One of the blocks of a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) payload_type: u8,
    /// ticks before the packet's timestamp
    pub(super) behind: u32,
    /// where it lies in the packet's payload
    pub(super) bytes: Range<usize>,
}

/// The blocks of a packet.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: [Block; MAX_BLOCKS],
    /// of them, those in front of the primary one
    redundant: usize,
}

impl Blocks {
    /// Reads the payload of a packet.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, RtpError> {
        let short = RtpError::Malformed("redundant blocks are longer than their packet");
        let mut all = Self::default();
        let (mut at, mut len) = (0, 0);
        let primary = loop {
            let first = *payload.get(at).ok_or(short)?;
            if first & 0x80 == 0 {
                break first;
            }
            if all.redundant == MAX_BLOCKS - 1 {
                return Err(RtpError::Malformed(
                    "more redundant blocks than anybody sends",
                ));
            }
            let rest = payload.get(at + 1..at + 4).ok_or(short)?;
            let begin = len;
            len += usize::from(rest[1] & 3) << 8 | usize::from(rest[2]);
            all.blocks[all.redundant] = Block {
                payload_type: first & 0x7F,
                behind: u32::from(rest[0]) << 6 | u32::from(rest[1] >> 2),
                bytes: begin..len,
            };
            all.redundant += 1;
            at += 4;
        };
        let headers = at + 1;
        if headers + len > payload.len() {
            return Err(short);
        }
        for block in &mut all.blocks[..all.redundant] {
            block.bytes.start += headers;
            block.bytes.end += headers;
        }
        all.blocks[all.redundant] = Block {
            payload_type: primary,
            behind: 0,
            bytes: headers + len..payload.len(),
        };
        Ok(all)
    }

    pub(super) fn primary(&self) -> &Block {
        &self.blocks[self.redundant]
    }

    /// Those of earlier packets, oldest first.
    pub(super) fn redundant(&self) -> &[Block] {
        &self.blocks[..self.redundant]
    }
}

/// Writes `payload` after a `redundant` one, if that fits what the fields can say.
pub(super) fn write(
    payload_type: u8,
    redundant: Option<(u32, &[u8])>,
    payload: &[u8],
    packet: &mut Vec<u8>,
) {
    let redundant = redundant.filter(|(behind, bytes)| {
        *behind <= MAX_BEHIND && bytes.len() <= MAX_LEN && !bytes.is_empty()
    });
    if let Some((behind, bytes)) = redundant {
        let len = bytes.len();
        packet.extend([
            0x80 | payload_type,
            (behind >> 6) as u8,
            (behind << 2) as u8 | (len >> 8) as u8,
            len as u8,
        ]);
    }
    packet.push(payload_type);
    packet.extend_from_slice(redundant.map_or(&[], |(_, bytes)| bytes));
    packet.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (old, new) = ([7u8; 300], [9u8; 40]);
        let mut packet = Vec::new();
        write(111, Some((960, &old)), &new, &mut packet);
        let blocks = Blocks::parse(&packet).unwrap();
        let [again] = blocks.redundant() else {
            panic!("{blocks:?}");
        };
        assert_eq!((again.payload_type, again.behind), (111, 960));
        assert_eq!(packet[again.bytes.clone()], old);
        assert_eq!(blocks.primary().payload_type, 111);
        assert_eq!(packet[blocks.primary().bytes.clone()], new);
    }

    #[test]
    fn a_block_that_the_fields_cannot_say_is_left_out() {
        for redundant in [(20_000, &[1u8; 10][..]), (960, &[1; 1024]), (960, &[])] {
            let mut packet = Vec::new();
            write(111, Some(redundant), &[5], &mut packet);
            assert_eq!(packet, [111, 5]);
        }
    }

    #[test]
    fn lies_are_refused() {
        for bytes in [
            &[][..],
            &[0x80],
            &[0x80, 0, 0],
            &[0xEF, 0, 1, 0, 111],
            &[0x80; 64],
        ] {
            assert!(Blocks::parse(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(Blocks::parse(&[111]).unwrap().primary().bytes, 1..1);
    }
}
