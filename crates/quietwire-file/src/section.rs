//! A part of a file as a source of its own.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

/// A part of a seekable source.
pub(crate) struct Section {
    source: Box<dyn MediaSource>,
    start: u64,
    bytes: u64,
    at: u64,
}

impl Section {
    /// The part from `start` with `bytes` bytes, or up to the end of the file if that is nearer or
    /// `bytes` is `None`.
    pub(crate) fn new(
        mut source: Box<dyn MediaSource>,
        start: u64,
        bytes: Option<u64>,
    ) -> io::Result<Self> {
        let available = source.seek(SeekFrom::End(0))?.saturating_sub(start);
        let bytes = bytes.filter(|&bytes| bytes > 0).unwrap_or(available);
        source.seek(SeekFrom::Start(start))?;
        Ok(Self {
            source,
            start,
            bytes: bytes.min(available),
            at: 0,
        })
    }
}

impl Read for Section {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes - self.at).unwrap_or(usize::MAX);
        let wanted = bytes.len().min(left);
        let found = self.source.read(&mut bytes[..wanted])?;
        self.at += found as u64;
        Ok(found)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        let at = at.ok_or(io::ErrorKind::InvalidInput)?.min(self.bytes);
        self.source.seek(SeekFrom::Start(self.start + at))?;
        self.at = at;
        Ok(at)
    }
}

impl MediaSource for Section {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.bytes)
    }
}
