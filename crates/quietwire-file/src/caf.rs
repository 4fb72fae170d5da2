//! The chunks of a CAF file (Apple Core Audio Format Specification, "CAF File Structure").

use std::io::{Read, Seek, SeekFrom};

use crate::big_endian::be64;

/// Position of the first chunk.
pub(crate) const FIRST_CHUNK: u64 = 8;
/// Bytes of the header of a chunk.
pub(crate) const CHUNK_HEADER: u64 = 12;

/// A chunk.
pub(crate) struct Chunk {
    pub name: [u8; 4],
    /// bytes of its body
    pub bytes: u64,
    /// position after it
    pub end: u64,
}

/// Whether the first bytes are those of a CAF file.
pub(crate) fn is_caf(head: &[u8]) -> bool {
    head.starts_with(b"caff")
}

/// The chunk at a position. The source is then at its body. `None`: no whole header is there, or the
/// chunk has no length.
pub(crate) fn chunk<R: Read + Seek + ?Sized>(source: &mut R, at: u64) -> Option<Chunk> {
    source.seek(SeekFrom::Start(at)).ok()?;
    let mut head = [0; CHUNK_HEADER as usize];
    source.read_exact(&mut head).ok()?;
    // The length is signed: -1 stands for none.
    let bytes = u64::try_from(be64(&head, 4)? as i64).ok()?;
    Some(Chunk {
        name: *head.first_chunk()?,
        bytes,
        end: at.checked_add(CHUNK_HEADER)?.checked_add(bytes)?,
    })
}
