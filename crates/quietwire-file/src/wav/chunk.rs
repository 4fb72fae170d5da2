//! The chunks of a WAV file beside its audio: metadata that is copied unchanged.

use std::io::{self, Read};

/// Largest number of bytes of metadata that is kept in memory.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// Chunks that describe the layout or the samples of their own file. The output has its own.
const NOT_COPIED: [&[u8; 4]; 12] = [
    b"fmt ", b"data", b"ds64", b"fact", b"JUNK", b"junk", b"PAD ", b"FLLR", b"PEAK", b"levl",
    b"MD5 ", b"fake",
];

/// Chunks that follow the audio in practice. Bytes after the audio that start with another name are
/// a chunk only if its size fits.
const KNOWN: [&[u8; 4]; 26] = [
    b"LIST", b"bext", b"iXML", b"cue ", b"id3 ", b"ID3 ", b"smpl", b"inst", b"PEAK", b"fact",
    b"JUNK", b"junk", b"PAD ", b"FLLR", b"_PMX", b"axml", b"chna", b"afsp", b"DISP", b"levl",
    b"umid", b"cart", b"MD5 ", b"plst", b"aXML", b"SNDM",
];

/// One chunk of metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub id: [u8; 4],
    pub body: Vec<u8>,
}

impl Chunk {
    /// The chunk with its header and its padding.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.id);
        out.extend((self.body.len() as u32).to_le_bytes());
        out.extend(&self.body);
        out.extend(&[0][..self.body.len() % 2]);
    }

    /// The name in messages: `bext`, or `LIST/INFO` for a list.
    pub(crate) fn name(&self) -> String {
        let id = |id: &[u8]| String::from_utf8_lossy(id).trim().to_string();
        match self.body.get(..4) {
            Some(kind) if &self.id == b"LIST" => format!("LIST/{}", id(kind)),
            _ => id(&self.id),
        }
    }
}

/// The metadata before or after the audio.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chunks {
    pub kept: Vec<Chunk>,
    /// names of chunks that are too large to keep
    pub left: Vec<String>,
    bytes: u64,
}

impl Chunks {
    /// Reads the body of a chunk and its padding. Keeps metadata. Returns the bytes read.
    pub(crate) fn read(
        &mut self,
        source: &mut dyn Read,
        id: [u8; 4],
        size: u64,
        padding: u64,
    ) -> io::Result<u64> {
        let copied = !NOT_COPIED.contains(&&id);
        let name = || String::from_utf8_lossy(&id).trim().to_string();
        let mut found = 0;
        if copied && self.bytes + size <= MAX_METADATA_BYTES {
            let mut body = Vec::new();
            found = source.take(size).read_to_end(&mut body)? as u64;
            if found == size {
                self.bytes += size;
                self.kept.push(Chunk { id, body });
            } else {
                self.left.push(name());
            }
        } else if copied {
            self.left.push(name());
        }
        let skipped = io::copy(&mut source.take(size - found + padding), &mut io::sink())?;
        Ok(found + skipped)
    }
}

/// Whether these bytes after the audio start a chunk. `rest`: their number, if it is known.
pub(crate) fn is_chunk(head: &[u8; 8], rest: Option<u64>) -> bool {
    let [id @ .., a, b, c, d] = head;
    let size = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    let fits = rest.is_none_or(|rest| size + 8 <= rest);
    let printable = id.iter().all(|byte| (b' '..=b'~').contains(byte));
    KNOWN.contains(&id) || (fits && printable && !is_tag(id))
}

/// Whether these bytes after the audio start a tag of another format: ID3v1, ID3v2, APEv2 or Lyrics3.
pub(crate) fn is_tag(head: &[u8]) -> bool {
    [&b"TAG"[..], b"ID3", b"3DI", b"APET", b"LYRI"]
        .iter()
        .any(|mark| head.starts_with(mark))
}
