//! A file with bytes that its writer does not know: the FLAC encoder writes and rewrites its header, and
//! the metadata blocks are behind the first of its blocks.

use std::io::{self, Seek, SeekFrom, Write};

/// A writer whose positions do not count the inserted bytes.
pub(crate) struct Inserted<W> {
    out: W,
    bytes: Vec<u8>,
    /// position of the inserted bytes
    insert_at: u64,
    is_written: bool,
    at: u64,
}

impl<W: Write + Seek> Inserted<W> {
    /// `out` must be empty.
    pub(crate) fn new(out: W, insert_at: u64, bytes: Vec<u8>) -> Self {
        Self {
            out,
            bytes,
            insert_at,
            is_written: false,
            at: 0,
        }
    }
}

impl<W: Write + Seek> Write for Inserted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at == self.insert_at && !self.is_written {
            self.out.write_all(&self.bytes)?;
            self.is_written = true;
        }
        let room = match self.insert_at.checked_sub(self.at) {
            Some(room @ 1..) => usize::try_from(room).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let written = self.out.write(&bytes[..bytes.len().min(room)])?;
        self.at += written as u64;
        if self.at == self.insert_at && self.is_written {
            self.out.seek_relative(self.bytes.len() as i64)?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write + Seek> Seek for Inserted<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
            SeekFrom::End(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let at = at.ok_or(io::ErrorKind::InvalidInput)?;
        let inserted = self.is_written && at >= self.insert_at;
        let shift = if inserted { self.bytes.len() as u64 } else { 0 };
        self.out.seek(SeekFrom::Start(at + shift))?;
        self.at = at;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn rewriting_the_start_leaves_the_inserted_bytes() {
        let mut out = Vec::new();
        let mut file = Inserted::new(Cursor::new(&mut out), 4, b"xyz".to_vec());
        file.write_all(b"abcdefgh").unwrap();
        assert_eq!(file.stream_position().unwrap(), 8);
        file.seek(SeekFrom::Start(2)).unwrap();
        file.write_all(b"CDEF").unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        file.write_all(b"5").unwrap();
        assert_eq!(out, b"abCDxyz5Fgh");
    }
}
