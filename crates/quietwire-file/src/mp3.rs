//! Reads the header of an MP3 that states its number of frames (Xing or Info tag, VBRI tag). symphonia
//! reads it too, but does not tell a stated number from its own estimate.

use std::io::{Read, Seek, SeekFrom};

use crate::big_endian::be32;

/// Bytes in which the first MPEG frame is searched after the ID3v2 tag.
const SEARCHED_BYTES: u64 = 1 << 14;
/// Bytes of a tag at the end, and of rounding, by which a file may be longer than stated.
const MAX_TAG_BYTES: u64 = 2048;
/// Largest ID3v2 tag that is kept in memory, bytes.
const MAX_ID3_BYTES: u64 = 64 << 20;
/// Position of a VBRI tag after the start of the MPEG frame.
const VBRI_AT: usize = 36;

/// Whether a file with these first bytes may be an MP3.
pub(crate) fn may_be_mp3(head: &[u8]) -> bool {
    head.starts_with(b"ID3") || matches!(head, [0xFF, second, ..] if second & 0xE0 == 0xE0)
}

/// The header of an MP3 that states its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mp3Header {
    /// Frames of audio, delay and padding included.
    pub frames: u64,
    /// Whether the stated number of bytes is that of the file: its parts were encoded together.
    pub is_complete: bool,
}

/// The header of a seekable MP3, if it has one. Leaves the source at its start.
pub(crate) fn header<R: Read + Seek + ?Sized>(source: &mut R) -> Option<Mp3Header> {
    let header = read(source);
    source.seek(SeekFrom::Start(0)).ok()?;
    header
}

fn read<R: Read + Seek + ?Sized>(source: &mut R) -> Option<Mp3Header> {
    let end = source.seek(SeekFrom::End(0)).ok()?;
    let mut start = 0;
    let mut head = [0; 10];
    source.seek(SeekFrom::Start(0)).ok()?;
    source.read_exact(&mut head).ok()?;
    while let Some(bytes) = id3v2_bytes(&head) {
        start += bytes;
        source.seek(SeekFrom::Start(start)).ok()?;
        source.read_exact(&mut head).ok()?;
    }
    source.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    source.take(SEARCHED_BYTES).read_to_end(&mut bytes).ok()?;
    let at = bytes
        .windows(2)
        .position(|pair| pair[0] == 0xFF && pair[1] & 0xE6 == 0xE2)?;
    let frame = &bytes[at..];
    let (packets, stated_bytes) = stated(frame)?;
    // MPEG-1, or MPEG-2 and MPEG-2.5 with half the frames.
    let frames_per_packet = if is_mpeg1(frame) { 1152 } else { 576 };
    let file_bytes = end.saturating_sub(start + at as u64);
    let is_complete =
        stated_bytes.is_some_and(|bytes| file_bytes.abs_diff(bytes.into()) <= MAX_TAG_BYTES);
    Some(Mp3Header {
        frames: u64::from(packets) * frames_per_packet,
        is_complete,
    })
}

/// The ID3v2 tag at the start of a seekable file, unchanged. Leaves the source at its start.
pub(crate) fn id3_tag<R: Read + Seek + ?Sized>(source: &mut R) -> Option<Vec<u8>> {
    let mut head = [0; 10];
    source.seek(SeekFrom::Start(0)).ok()?;
    let found = source.read_exact(&mut head).ok();
    source.seek(SeekFrom::Start(0)).ok()?;
    found?;
    let bytes = id3v2_bytes(&head).filter(|&bytes| bytes <= MAX_ID3_BYTES)?;
    let mut tag = Vec::new();
    source.take(bytes).read_to_end(&mut tag).ok()?;
    source.seek(SeekFrom::Start(0)).ok()?;
    Some(tag)
}

/// The rate, Hz, and the channels of a packet of MPEG audio (ISO/IEC 11172-3, section 2.4.2.3; ISO/IEC
/// 13818-3, section 2.4.2.3).
pub(crate) fn packet_spec(packet: &[u8]) -> Option<(u32, usize)> {
    let &[0xFF, second, third, fourth, ..] = packet else {
        return None;
    };
    let rate_hz = *[44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))?;
    let rate_hz = match second >> 3 & 3 {
        3 => rate_hz,
        2 => rate_hz / 2,
        0 => rate_hz / 4,
        _ => return None,
    };
    Some((rate_hz, if fourth >> 6 == 3 { 1 } else { 2 }))
}

fn is_mpeg1(frame: &[u8]) -> bool {
    frame.get(1).is_some_and(|byte| byte >> 3 & 3 == 3)
}

/// Packets and bytes that the first packet of an MP3 states.
fn stated(frame: &[u8]) -> Option<(u32, Option<u32>)> {
    let is_mono = frame.get(3)? >> 6 == 3;
    let side_bytes = match (is_mpeg1(frame), is_mono) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    let tag = frame.get(4 + side_bytes..)?;
    if tag.starts_with(b"Xing") || tag.starts_with(b"Info") {
        let flags = tag.get(7)?;
        let packets = be32(tag, 8).filter(|_| flags & 1 == 1)?;
        return Some((packets, be32(tag, 12).filter(|_| flags & 2 == 2)));
    }
    if frame.get(VBRI_AT..VBRI_AT + 4)? == b"VBRI" {
        return Some((be32(frame, VBRI_AT + 14)?, be32(frame, VBRI_AT + 10)));
    }
    None
}

/// Bytes of the ID3v2 tag that starts with `head` (ID3v2.4.0, section 3.1).
pub(crate) fn id3v2_bytes(head: &[u8; 10]) -> Option<u64> {
    if !head.starts_with(b"ID3") || head[6..].iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    let size = head[6..]
        .iter()
        .fold(0, |size, &byte| size << 7 | u64::from(byte));
    let footer = if head[5] & 0x10 != 0 { 10 } else { 0 };
    Some(10 + size + footer)
}
