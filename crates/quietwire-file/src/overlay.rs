//! A file with some bytes replaced while it is read: what a demuxer refuses and this crate reads itself.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

/// A source with other bytes at some positions.
pub(crate) struct Overlay {
    source: Box<dyn MediaSource>,
    /// positions and bytes
    replaced: Vec<(u64, Vec<u8>)>,
    at: u64,
}

impl Overlay {
    /// `source` must be seekable and at its start.
    pub(crate) fn new(source: Box<dyn MediaSource>, replaced: Vec<(u64, Vec<u8>)>) -> Self {
        Self {
            source,
            replaced,
            at: 0,
        }
    }
}

impl Read for Overlay {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let found = self.source.read(bytes)?;
        for (start, other) in &self.replaced {
            for (position, byte) in (*start..).zip(other) {
                let index = position
                    .checked_sub(self.at)
                    .filter(|&at| at < found as u64);
                if let Some(index) = index {
                    bytes[index as usize] = *byte;
                }
            }
        }
        self.at += found as u64;
        Ok(found)
    }
}

impl Seek for Overlay {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.source.seek(to)?;
        Ok(self.at)
    }
}

impl MediaSource for Overlay {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        self.source.byte_len()
    }
}
