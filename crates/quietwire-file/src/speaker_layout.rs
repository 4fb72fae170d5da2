//! Speaker layouts of CAF and QuickTime files (Apple Core Audio Format Specification, "Channel Layout
//! Chunk"; QuickTime File Format, `chan` atom), as the speaker masks of WAV files.

use std::io::{Read, Seek, SeekFrom};

use crate::big_endian::be32;
use crate::caf;

/// Tags: the layout is given by descriptions, or by a bitmap of speakers.
const USE_DESCRIPTIONS: u32 = 0;
const USE_BITMAP: u32 = 1 << 16;
/// Speakers that WAV files have too: bit `n` is label `n + 1`.
const SPEAKERS: u32 = 18;
/// Bytes of a layout before its descriptions, and of a description.
const HEADER: usize = 12;
const DESCRIPTION: usize = 20;
/// Largest number of bytes read of a layout.
const MAX_LAYOUT: u64 = 4096;

/// Masks of the layouts that have a number of their own, as ffmpeg reads and writes them.
const NUMBERED: [(u16, u32); 16] = [
    (108, 0x33),  // quadraphonic
    (113, 0x7),   // L R C
    (115, 0x107), // L R C Cs
    (117, 0x607), // L R C Ls Rs
    (121, 0x60F), // L R C LFE Ls Rs
    (125, 0x70F), // L R C LFE Ls Rs Cs
    (126, 0x6CF), // L R C LFE Ls Rs Lc Rc
    (128, 0x63F), // L R C LFE Ls Rs Rls Rrs
    (131, 0x103), // L R Cs
    (132, 0x603), // L R Ls Rs
    (133, 0xB),   // L R LFE
    (134, 0x10B), // L R LFE Cs
    (135, 0x60B), // L R LFE Ls Rs
    (136, 0xF),   // L R C LFE
    (137, 0x10F), // L R C LFE Cs
    (183, 0x70F), // WAVE 6.1
];

/// [channels - 1] the masks of FLAC (RFC 9639, section 9.1.3), and of Vorbis and Opus in the order of WAV
/// files (Vorbis I, section 4.3.9; RFC 7845, section 5.1.1.2)
const DEFAULTS: [u32; 8] = [0x4, 0x3, 0x7, 0x33, 0x37, 0x3F, 0x70F, 0x63F];

/// The mask that files without a layout have. `None`: more than 8 channels.
pub(crate) fn default_mask(channels: usize) -> Option<u32> {
    DEFAULTS.get(channels.wrapping_sub(1)).copied()
}

/// The mask of a layout for `channels` channels. `None`: a layout without a mask, or of another number of
/// channels.
pub(crate) fn mask(layout: &[u8], channels: usize) -> Option<u32> {
    let tag = be32(layout, 0)?;
    let mask = match tag {
        USE_BITMAP => be32(layout, 4)?,
        USE_DESCRIPTIONS => described(layout)?,
        _ => {
            let number = (tag >> 16) as u16;
            let (_, mask) = NUMBERED.iter().find(|(other, _)| *other == number)?;
            *mask
        }
    };
    (mask >> SPEAKERS == 0 && mask.count_ones() as usize == channels).then_some(mask)
}

/// The mask of described channels, if they are in the order of a mask.
fn described(layout: &[u8]) -> Option<u32> {
    let count = be32(layout, 8)? as usize;
    let mut mask = 0u32;
    for n in 0..count {
        let label = be32(layout, HEADER.checked_add(n.checked_mul(DESCRIPTION)?)?)?;
        let bit = label.checked_sub(1).filter(|bit| *bit < SPEAKERS)?;
        // Ascending: above all before it.
        if mask >> bit != 0 {
            return None;
        }
        mask |= 1 << bit;
    }
    Some(mask)
}

/// The layout in a CAF file. Leaves the source at its start.
pub(crate) fn of_caf<R: Read + Seek + ?Sized>(source: &mut R, head: &[u8]) -> Option<Vec<u8>> {
    if !caf::is_caf(head) {
        return None;
    }
    let layout = caf_chunk(source);
    source.seek(SeekFrom::Start(0)).ok()?;
    layout
}

fn caf_chunk<R: Read + Seek + ?Sized>(source: &mut R) -> Option<Vec<u8>> {
    let mut at = caf::FIRST_CHUNK;
    loop {
        let chunk = caf::chunk(source, at)?;
        if &chunk.name == b"chan" {
            let mut layout = Vec::new();
            let mut part = source.take(chunk.bytes.min(MAX_LAYOUT));
            part.read_to_end(&mut layout).ok()?;
            return Some(layout);
        }
        at = chunk.end;
    }
}

/// The layout in a sample description of QuickTime.
pub(crate) fn of_sample_entry(entry: &[u8]) -> Option<Vec<u8>> {
    let name = entry.windows(4).position(|window| window == b"chan")?;
    // After the name of the atom: version and flags.
    entry.get(name + 8..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(tag: u32, bitmap: u32, labels: &[u32]) -> Vec<u8> {
        let mut bytes: Vec<u8> = [tag, bitmap, labels.len() as u32]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect();
        for label in labels {
            bytes.extend(label.to_be_bytes());
            bytes.extend([0; 16]);
        }
        bytes
    }

    #[test]
    fn layouts_become_masks() {
        for (layout, channels, expected) in [
            (layout(USE_BITMAP, 0x3F, &[]), 6, Some(0x3F)),
            (layout(USE_BITMAP, 0x3F, &[]), 5, None),
            (layout(USE_BITMAP, 1 << 30, &[]), 1, None),
            (layout(121 << 16 | 6, 0, &[]), 6, Some(0x60F)),
            (layout(128 << 16 | 8, 0, &[]), 8, Some(0x63F)),
            (layout(999 << 16 | 8, 0, &[]), 8, None),
            (layout(0, 0, &[1, 2, 3, 4, 10, 11]), 6, Some(0x60F)),
            (layout(0, 0, &[3, 1, 2]), 3, None),
            (layout(0, 0, &[1, 1]), 2, None),
            (layout(0, 0, &[400]), 1, None),
            (layout(0, 0, &[1, 2, 3])[..30].to_vec(), 3, None),
            (Vec::new(), 2, None),
        ] {
            assert_eq!(mask(&layout, channels), expected, "{layout:?}");
        }
    }
}
