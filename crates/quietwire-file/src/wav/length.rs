//! Finds the true length of the audio in a WAV file. A recorder that lost power leaves the length that
//! it wrote at the start: zero, a placeholder, or the length at its last save.

use std::io::{self, Read, Seek, SeekFrom};

use crate::wav::chunk::{Chunks, is_chunk, is_tag};
use crate::wav::header::Header;

/// Zeros at the end of a file up to this number are padding, bytes.
const MAX_PADDING: u64 = 4096;

/// The audio and the rest of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes of samples.
    pub data_bytes: u64,
    /// The metadata after the audio.
    pub chunks: Chunks,
    /// Bytes after the audio that are no metadata.
    pub trailing_bytes: u64,
}

/// Finds the length of the audio in a seekable file. Leaves the source at the first sample.
pub(crate) fn layout<R: Read + Seek>(source: &mut R, header: &Header) -> io::Result<Layout> {
    let end = source.seek(SeekFrom::End(0))?;
    let available = end.saturating_sub(header.start);
    let mut layout = Layout {
        data_bytes: available,
        ..Layout::default()
    };
    let stated = header.data_bytes.filter(|&stated| stated < available);
    match stated {
        // The chunks after the audio of a W64 file are its own: levels and markers.
        Some(stated) if header.container == "W64" && stated > 0 => layout.data_bytes = stated,
        Some(stated) => {
            let start = stated + stated % 2;
            source.seek(SeekFrom::Start(header.start + start))?;
            let rest = available.saturating_sub(start);
            if read_rest(source, rest, &mut layout)? {
                layout.data_bytes = stated;
            }
        }
        None => {}
    }
    source.seek(SeekFrom::Start(header.start))?;
    Ok(layout)
}

/// Reads the `rest` bytes after the stated length. Returns false if they are samples.
fn read_rest<R: Read>(source: &mut R, mut rest: u64, layout: &mut Layout) -> io::Result<bool> {
    let mut is_first = true;
    while rest > 0 {
        let mut head = [0; 8];
        let found = rest.min(8);
        source.read_exact(&mut head[..found as usize])?;
        rest -= found;
        if found == 8 && is_chunk(&head, Some(rest + 8)) {
            let [id @ .., a, b, c, d] = head;
            let size = u64::from(u32::from_le_bytes([a, b, c, d]));
            let read = layout.chunks.read(source, id, size, size % 2)?;
            rest -= read.min(rest);
            is_first = false;
            continue;
        }
        let is_padding = is_zero(source, &head, rest)?;
        if is_first && !is_tag(&head) && !is_padding {
            return Ok(false);
        }
        layout.trailing_bytes = if is_padding { 0 } else { rest + found };
        break;
    }
    Ok(true)
}

/// Whether the last bytes of a file are zeros that fill it up.
fn is_zero<R: Read>(source: &mut R, head: &[u8; 8], rest: u64) -> io::Result<bool> {
    if rest > MAX_PADDING || *head != [0; 8] {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    source.take(rest).read_to_end(&mut bytes)?;
    Ok(bytes.iter().all(|&byte| byte == 0))
}
