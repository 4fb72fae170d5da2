//! Redundant audio: a packet that brings earlier ones again (RFC 2198).

use super::RtpError;

/// Most blocks that are read of a packet, the primary one among them.
const MOST_BLOCKS: usize = 8;
/// Longest redundant block, and most ticks that it may be behind: what their fields can say.
const MOST_LEN: usize = (1 << 10) - 1;
const MOST_BEHIND: u32 = (1 << 14) - 1;

/// One of the payloads in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub(super) payload_type: u8,
    /// ticks before the packet's timestamp
    pub(super) behind: u32,
    pub(super) payload: &'a [u8],
}

/// The payloads of a packet, oldest first, the primary one last.
pub(super) fn parse(payload: &[u8]) -> Result<impl Iterator<Item = Block<'_>>, RtpError> {
    let short = RtpError::Malformed("redundant blocks are longer than their packet");
    let mut headers = [(0u8, 0u32, 0usize); MOST_BLOCKS];
    let (mut count, mut at) = (0, 0);
    loop {
        let first = *payload.get(at).ok_or(short)?;
        if count == MOST_BLOCKS {
            return Err(RtpError::Malformed(
                "more redundant blocks than anybody sends",
            ));
        }
        if first & 0x80 == 0 {
            headers[count] = (first, 0, usize::MAX);
            count += 1;
            at += 1;
            break;
        }
        let rest = payload.get(at + 1..at + 4).ok_or(short)?;
        let behind = u32::from(rest[0]) << 6 | u32::from(rest[1] >> 2);
        let len = usize::from(rest[1] & 3) << 8 | usize::from(rest[2]);
        headers[count] = (first & 0x7F, behind, len);
        count += 1;
        at += 4;
    }
    let redundant: usize = headers[..count - 1].iter().map(|header| header.2).sum();
    if at + redundant > payload.len() {
        return Err(short);
    }
    Ok((0..count).map(move |block| {
        let (payload_type, behind, len) = headers[block];
        let begin = at;
        at = if len == usize::MAX {
            payload.len()
        } else {
            at + len
        };
        Block {
            payload_type,
            behind,
            payload: &payload[begin..at],
        }
    }))
}

/// Writes `payload` after a `redundant` one, if that fits what the fields can say.
pub(super) fn write(
    payload_type: u8,
    redundant: Option<(u32, &[u8])>,
    payload: &[u8],
    packet: &mut Vec<u8>,
) {
    let redundant = redundant.filter(|(behind, bytes)| {
        *behind <= MOST_BEHIND && bytes.len() <= MOST_LEN && !bytes.is_empty()
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
        let blocks: Vec<Block> = parse(&packet).unwrap().collect();
        assert_eq!((blocks[0].payload_type, blocks[0].behind), (111, 960));
        assert_eq!((blocks[0].payload, blocks[1].payload), (&old[..], &new[..]));
        assert_eq!((blocks.len(), blocks[1].behind), (2, 0));
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
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(parse(&[111]).unwrap().next().unwrap().payload, &[] as &[u8]);
    }
}
