//! A file that was cut off, with the length that its container states. Demuxers that compare the two
//! would refuse it.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symphonia::core::io::MediaSource;

use crate::caf;

/// A source whose stated length is beyond its end. Reading there is the error of an early end.
pub(crate) struct Extended {
    source: Box<dyn MediaSource>,
    bytes: u64,
    stated: u64,
    at: u64,
    is_probing: Arc<AtomicBool>,
}

impl Extended {
    /// `source` must be at its start and must have `bytes` bytes. While `is_probing`, zeros follow: a
    /// demuxer looks for tags at the stated end.
    pub(crate) fn new(
        source: Box<dyn MediaSource>,
        bytes: u64,
        stated: u64,
        is_probing: Arc<AtomicBool>,
    ) -> Self {
        Self {
            is_probing,
            source,
            bytes,
            stated,
            at: 0,
        }
    }
}

impl Read for Extended {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.bytes {
            if !self.is_probing.load(Ordering::Relaxed) {
                return Ok(0);
            }
            let left = usize::try_from(self.stated.saturating_sub(self.at)).unwrap_or(usize::MAX);
            let found = bytes.len().min(left);
            bytes[..found].fill(0);
            self.at += found as u64;
            return Ok(found);
        }
        let found = self.source.read(bytes)?;
        self.at += found as u64;
        Ok(found)
    }
}

impl Seek for Extended {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.stated.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        let at = at.ok_or(io::ErrorKind::InvalidInput)?;
        self.source.seek(SeekFrom::Start(at.min(self.bytes)))?;
        self.at = at;
        Ok(at)
    }
}

impl MediaSource for Extended {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.stated)
    }
}

/// The end of the last box of an MP4, chunk of a CAF or form of an AIFF, as it states it. `None`: another
/// format, or no length. Leaves the source at its start.
pub(crate) fn stated_end<R: Read + Seek + ?Sized>(
    source: &mut R,
    head: &[u8],
    is_mp4: bool,
) -> Option<u64> {
    if head.starts_with(b"FORM") {
        let size = head.get(4..8)?.first_chunk()?;
        return Some(8 + u64::from(u32::from_be_bytes(*size)));
    }
    let is_caf = caf::is_caf(head);
    if !is_mp4 && !is_caf {
        return None;
    }
    let end = source.seek(SeekFrom::End(0)).ok();
    let last = end.and_then(|end| match is_caf {
        true => last_chunk_end(source, end),
        false => last_box_end(source, end),
    });
    source.seek(SeekFrom::Start(0)).ok()?;
    last
}

/// `None`: the last chunk has no length.
fn last_chunk_end<R: Read + Seek + ?Sized>(source: &mut R, end: u64) -> Option<u64> {
    let mut at = caf::FIRST_CHUNK;
    while at + caf::CHUNK_HEADER <= end {
        at = caf::chunk(source, at)?.end;
    }
    Some(at)
}

fn last_box_end<R: Read + Seek + ?Sized>(source: &mut R, end: u64) -> Option<u64> {
    let mut at = 0u64;
    while at + 8 <= end {
        source.seek(SeekFrom::Start(at)).ok()?;
        let mut head = [0; 16];
        source.read_exact(&mut head[..8]).ok()?;
        let size = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            0 => return Some(end),
            1 => {
                source.read_exact(&mut head[8..]).ok()?;
                u64::from_be_bytes(*head[8..].first_chunk()?)
            }
            size => size.into(),
        };
        at = at.checked_add(size.max(8))?;
    }
    Some(at)
}
