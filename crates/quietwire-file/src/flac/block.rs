//! The metadata blocks of a FLAC file (RFC 9639, section 8).

use std::io::{self, Read};

use crate::mp3::id3v2_bytes;

/// Largest number of bytes of metadata that is kept in memory.
const MAX_METADATA_BYTES: usize = 64 << 20;
/// Types of metadata blocks (RFC 9639, section 8.1).
pub(crate) const STREAMINFO: u8 = 0;
pub(crate) const PADDING: u8 = 1;
pub(crate) const SEEK_TABLE: u8 = 3;
pub(crate) const VORBIS_COMMENT: u8 = 4;

/// A metadata block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub kind: u8,
    pub body: Vec<u8>,
    /// whether the body is too large to keep
    pub is_left: bool,
}

impl Block {
    pub(crate) fn new(kind: u8, body: Vec<u8>) -> Self {
        Self {
            kind,
            body,
            is_left: false,
        }
    }

    /// The name in messages.
    pub(crate) fn name(&self) -> String {
        match self.kind {
            2 => "application data".into(),
            VORBIS_COMMENT => "tags".into(),
            5 => "cue sheet".into(),
            6 => "picture".into(),
            kind => format!("FLAC block {kind}"),
        }
    }
}

/// Reads the metadata blocks, and skips an ID3v2 tag in front of them. A block that is larger than the
/// limit has no body.
pub(super) fn read_blocks<R: Read>(source: &mut R) -> io::Result<Vec<Block>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut mark = [0; 4];
    source.read_exact(&mut mark)?;
    while mark.starts_with(b"ID3") {
        let mut head = [0; 10];
        head[..4].copy_from_slice(&mark);
        source.read_exact(&mut head[4..])?;
        let bytes = id3v2_bytes(&head).ok_or_else(invalid)?;
        io::copy(&mut source.by_ref().take(bytes - 10), &mut io::sink())?;
        source.read_exact(&mut mark)?;
    }
    if &mark != b"fLaC" {
        return Err(invalid());
    }
    let mut blocks = Vec::new();
    let mut kept = 0;
    loop {
        let mut head = [0; 4];
        source.read_exact(&mut head)?;
        let size = u32::from_be_bytes([0, head[1], head[2], head[3]]);
        let mut body = Vec::new();
        let found = source.by_ref().take(size.into()).read_to_end(&mut body)?;
        if found < size as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        kept += found;
        let is_left = kept > MAX_METADATA_BYTES;
        if is_left {
            body = Vec::new();
        }
        blocks.push(Block {
            kind: head[0] & 0x7F,
            body,
            is_left,
        });
        if head[0] & 0x80 != 0 {
            return Ok(blocks);
        }
    }
}
