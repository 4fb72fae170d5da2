//! Redundant audio: packets that repeat earlier ones (RFC 2198).

use std::ops::Range;

use crate::error::RtpError;

/// Largest number of blocks of a packet, with the primary one.
const MAX_BLOCKS: usize = 8;
/// Largest length (bytes) and timestamp offset (ticks) that the header fields of a redundant block
/// hold.
const MAX_LEN: usize = (1 << 10) - 1;
const MAX_OFFSET: u32 = (1 << 14) - 1;

/// One block of a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) payload_type: u8,
    /// ticks before the timestamp of the packet
    pub(crate) timestamp_offset: u32,
    /// its range in the payload of the packet
    pub(crate) bytes: Range<usize>,
}

/// The blocks of a packet.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    blocks: [Block; MAX_BLOCKS],
    /// blocks before the primary one
    redundant: usize,
}

impl Blocks {
    /// Reads the payload of a packet.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, RtpError> {
        let short = RtpError::Malformed("redundant blocks are longer than the packet");
        let mut all = Self::default();
        let (mut at, mut len) = (0, 0);
        let primary = loop {
            let first = *payload.get(at).ok_or(short)?;
            if first & 0x80 == 0 {
                break first;
            }
            if all.redundant == MAX_BLOCKS - 1 {
                return Err(RtpError::Malformed("more than 7 redundant blocks"));
            }
            let rest = payload.get(at + 1..at + 4).ok_or(short)?;
            let start = len;
            len += usize::from(rest[1] & 3) << 8 | usize::from(rest[2]);
            all.blocks[all.redundant] = Block {
                payload_type: first & 0x7F,
                timestamp_offset: u32::from(rest[0]) << 6 | u32::from(rest[1] >> 2),
                bytes: start..len,
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
            timestamp_offset: 0,
            bytes: headers + len..payload.len(),
        };
        Ok(all)
    }

    pub(crate) fn primary(&self) -> &Block {
        &self.blocks[self.redundant]
    }

    /// The blocks of earlier packets, oldest first.
    pub(crate) fn redundant(&self) -> &[Block] {
        &self.blocks[..self.redundant]
    }
}

/// Writes `payload` after a `redundant` block (timestamp offset and payload). Leaves out a redundant
/// block that its header fields cannot describe.
pub(crate) fn write(
    payload_type: u8,
    redundant: Option<(u32, &[u8])>,
    payload: &[u8],
    packet: &mut Vec<u8>,
) {
    let redundant = redundant.filter(|(timestamp_offset, bytes)| {
        *timestamp_offset <= MAX_OFFSET && bytes.len() <= MAX_LEN && !bytes.is_empty()
    });
    if let Some((timestamp_offset, bytes)) = redundant {
        let len = bytes.len();
        packet.extend([
            0x80 | payload_type,
            (timestamp_offset >> 6) as u8,
            (timestamp_offset << 2) as u8 | (len >> 8) as u8,
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
    fn written_blocks_are_read() {
        let (old, new) = ([7u8; 300], [9u8; 40]);
        let mut packet = Vec::new();
        write(111, Some((960, &old)), &new, &mut packet);
        let blocks = Blocks::parse(&packet).unwrap();
        let [redundant] = blocks.redundant() else {
            panic!("{blocks:?}");
        };
        assert_eq!(
            (redundant.payload_type, redundant.timestamp_offset),
            (111, 960)
        );
        assert_eq!(packet[redundant.bytes.clone()], old);
        assert_eq!(blocks.primary().payload_type, 111);
        assert_eq!(packet[blocks.primary().bytes.clone()], new);
    }

    #[test]
    fn a_block_that_exceeds_its_header_fields_is_left_out() {
        for redundant in [(20_000, &[1u8; 10][..]), (960, &[1; 1024]), (960, &[])] {
            let mut packet = Vec::new();
            write(111, Some(redundant), &[5], &mut packet);
            assert_eq!(packet, [111, 5]);
        }
    }

    #[test]
    fn malformed_blocks_are_rejected() {
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
