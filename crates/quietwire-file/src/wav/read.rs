//! Reads the samples of a WAV file from a source that may be seekable or not.

use std::io::{self, Cursor, Read};
use std::path::PathBuf;

use crate::error::FileError;
use crate::note::Note;
use crate::wav::chunk::{Chunks, is_chunk, is_tag};
use crate::wav::format::WavSpec;
use crate::wav::header::Header;
use crate::wav::length::Layout;

/// Frames of one read.
const BLOCK_FRAMES: usize = 4096;

/// Lengths that recorders write before they know the true one, bytes. In a pipe nothing else shows that
/// more samples follow.
const PLACEHOLDERS: [u64; 4] = [0, 36, 4088, 2_000_000_000];
/// All lengths from here are placeholders: the audio and its header would not fit into 4 GiB.
const PLACEHOLDER_START: u64 = 0xFFFF_F000;

/// The samples of a WAV file.
pub(crate) struct WavReader {
    source: Box<dyn Read + Send + Sync>,
    path: PathBuf,
    spec: WavSpec,
    /// bytes of samples. `None`: up to the end of the source
    data_bytes: Option<u64>,
    /// the stated length, if it may be a placeholder, bytes
    placeholder: Option<u64>,
    /// whether the source is a file whose length was found
    is_certain: bool,
    /// whether the bytes after the samples were read
    at_end: bool,
    bytes: Vec<u8>,
    bytes_read: u64,
    chunks: Chunks,
    chunks_after: Chunks,
    notes: Vec<Note>,
}

impl WavReader {
    /// A reader of samples without a header.
    pub(crate) fn raw(source: Box<dyn Read + Send + Sync>, path: PathBuf, spec: WavSpec) -> Self {
        Self {
            source,
            path,
            spec,
            data_bytes: None,
            placeholder: None,
            is_certain: false,
            at_end: false,
            bytes: Vec::new(),
            bytes_read: 0,
            chunks: Chunks::default(),
            chunks_after: Chunks::default(),
            notes: Vec::new(),
        }
    }

    /// A reader of a seekable file whose layout is known.
    pub(crate) fn file(
        source: Box<dyn Read + Send + Sync>,
        path: PathBuf,
        spec: WavSpec,
        header: Header,
        layout: Layout,
    ) -> Self {
        let mut reader = Self::raw(source, path, spec);
        let frame_bytes = spec.frame_bytes() as u64;
        let stated = header.data_bytes.map(|bytes| bytes / frame_bytes);
        let found = layout.data_bytes / frame_bytes;
        if stated != Some(found) {
            reader.notes.push(Note::WrongLength { stated, found });
        }
        if layout.trailing_bytes > 0 {
            let bytes = layout.trailing_bytes;
            reader.notes.push(Note::TrailingBytes { bytes });
        }
        reader.data_bytes = Some(found * frame_bytes);
        reader.chunks = header.chunks;
        reader.chunks_after = layout.chunks;
        reader.at_end = true;
        reader.is_certain = true;
        reader
    }

    /// A reader of a pipe after its header.
    pub(crate) fn stream(
        source: Box<dyn Read + Send + Sync>,
        path: PathBuf,
        spec: WavSpec,
        header: Header,
    ) -> Self {
        let mut reader = Self::raw(source, path, spec);
        reader.data_bytes = header.data_bytes;
        reader.placeholder = header
            .data_bytes
            .filter(|bytes| PLACEHOLDERS.contains(bytes) || *bytes >= PLACEHOLDER_START)
            .filter(|_| header.container == "WAV");
        reader.chunks = header.chunks;
        reader
    }

    /// Frames, if the header states them.
    pub(crate) fn frames(&self) -> Option<u64> {
        self.data_bytes
            .filter(|_| self.placeholder.is_none())
            .map(|bytes| bytes / self.spec.frame_bytes() as u64)
    }

    /// Whether the audio has exactly [`frames`](Self::frames) frames.
    pub(crate) fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// The metadata before the audio.
    pub(crate) fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// The metadata after the audio. That of a pipe is complete at the end of the audio.
    pub(crate) fn chunks_after(&self) -> &Chunks {
        &self.chunks_after
    }

    /// Adds a fact about the file.
    pub(crate) fn push_note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Facts about the file. Complete at the end of the audio.
    pub(crate) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Appends the next samples. Returns false at the end.
    pub(crate) fn read(&mut self, samples: &mut Vec<f32>) -> Result<bool, FileError> {
        let result = self.read_block(samples);
        result.map_err(|source| FileError::Read {
            path: self.path.clone(),
            source,
        })
    }

    fn read_block(&mut self, samples: &mut Vec<f32>) -> io::Result<bool> {
        let frame_bytes = self.spec.frame_bytes();
        let block = (BLOCK_FRAMES * frame_bytes) as u64;
        loop {
            let wanted = match self.data_bytes {
                Some(bytes) => block.min(bytes - self.bytes_read),
                None => block,
            };
            self.bytes.clear();
            let found = self
                .source
                .by_ref()
                .take(wanted)
                .read_to_end(&mut self.bytes)?;
            self.bytes_read += found as u64;
            // An incomplete frame at the end is ignored.
            let complete = found / frame_bytes * frame_bytes;
            self.spec.format.decode(&self.bytes[..complete], samples);
            if (found as u64) < wanted {
                self.end_early();
            }
            if complete > 0 {
                return Ok(true);
            }
            if self.at_end || self.data_bytes != Some(self.bytes_read) || !self.read_rest()? {
                return Ok(false);
            }
        }
    }

    /// The source ended before the stated length.
    fn end_early(&mut self) {
        let frame_bytes = self.spec.frame_bytes() as u64;
        let stated = self.data_bytes.or(self.placeholder);
        if let Some(stated) = stated.filter(|_| !self.at_end || self.data_bytes.is_none()) {
            self.notes.push(Note::WrongLength {
                stated: Some(stated / frame_bytes),
                found: self.bytes_read / frame_bytes,
            });
        }
        self.placeholder = None;
        self.at_end = true;
    }

    /// Reads the bytes of a pipe after the stated length. Returns true if they are samples.
    fn read_rest(&mut self) -> io::Result<bool> {
        self.at_end = true;
        let mut padding = self.bytes_read % 2;
        loop {
            let mut head = Vec::new();
            self.source
                .by_ref()
                .take(8 + padding)
                .read_to_end(&mut head)?;
            let chunk = head.get(padding as usize..).and_then(<[u8]>::first_chunk);
            if let Some(&head) = chunk
                && is_chunk(&head, None)
            {
                let [id @ .., a, b, c, d] = head;
                let size = u64::from(u32::from_le_bytes([a, b, c, d]));
                self.chunks_after
                    .read(&mut self.source, id, size, size % 2)?;
                (padding, self.placeholder) = (0, None);
                continue;
            }
            if self.placeholder.is_some() && !head.is_empty() && !is_tag(&head) {
                let rest = std::mem::replace(&mut self.source, Box::new(io::empty()));
                self.source = Box::new(Cursor::new(head).chain(rest));
                self.data_bytes = None;
                return Ok(true);
            }
            let bytes = head.len() as u64 + io::copy(&mut self.source, &mut io::sink())?;
            if bytes > padding {
                self.notes.push(Note::TrailingBytes { bytes });
            }
            return Ok(false);
        }
    }
}
