//! Metadata of an input, and its form in an output. WAV to WAV and FLAC to FLAC it is copied unchanged.

mod comments;
mod container;
mod id3;
mod info;

pub(crate) use container::from_container;

use crate::flac::block::{Block, PADDING, SEEK_TABLE, STREAMINFO, VORBIS_COMMENT};
use crate::metadata::comments::{
    PICTURE, comment_block, picture_block, read_comments, read_picture,
};
use crate::speaker_layout::default_mask;
use crate::wav::chunk::{Chunk, Chunks};
use crate::wav::format::WavSpec;

/// Largest body of a FLAC metadata block, bytes (RFC 9639, section 8.1).
const MAX_BLOCK_BYTES: usize = (1 << 24) - 1;

/// Metadata of an input.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metadata {
    /// Chunks of a WAV before and after the audio.
    pub chunks: Chunks,
    pub chunks_after: Chunks,
    /// Blocks of a FLAC file.
    pub blocks: Vec<Block>,
    /// The ID3v2 tag of an MP3, unchanged.
    pub id3: Option<Vec<u8>>,
    /// Names, as Vorbis comments have them, and values.
    pub tags: Vec<(String, String)>,
    pub pictures: Vec<Picture>,
    pub chapters: Vec<Chapter>,
    /// Names of metadata that was not read.
    pub left: Vec<String>,
}

/// A picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Type of ID3v2 and FLAC (RFC 9639, section 8.8): 3 is the front cover.
    pub kind: u32,
    pub media_type: String,
    pub description: String,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
    pub colors: u32,
    pub data: Vec<u8>,
}

/// A named position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chapter {
    pub start_s: f64,
    pub title: String,
}

/// Metadata as a WAV holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WavMetadata {
    /// Chunks before the audio.
    pub before: Vec<u8>,
    /// Chunks after the audio.
    pub after: Vec<u8>,
    /// Names of what is missing.
    pub left: Vec<String>,
}

/// Metadata as a FLAC file holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FlacMetadata {
    pub blocks: Vec<Block>,
    /// Names of what is missing.
    pub left: Vec<String>,
}

impl Metadata {
    /// Chunks of a WAV, those of a WAV unchanged.
    pub(crate) fn for_wav(&self, rate_hz: u32) -> WavMetadata {
        let mut wav = WavMetadata::default();
        for (chunks, bytes) in [
            (&self.chunks, &mut wav.before),
            (&self.chunks_after, &mut wav.after),
        ] {
            chunks.kept.iter().for_each(|chunk| chunk.write(bytes));
            wav.left.extend(chunks.left.iter().cloned());
        }
        wav.left.extend(self.left.iter().cloned());
        let (mut tags, mut pictures) = (self.tags.clone(), self.pictures.clone());
        for block in &self.blocks {
            match block.kind {
                STREAMINFO | PADDING | SEEK_TABLE => {}
                VORBIS_COMMENT => tags.extend(read_comments(&block.body)),
                PICTURE => pictures.extend(read_picture(&block.body)),
                _ => wav.left.push(block.name()),
            }
        }
        tags.retain(|(name, _)| !is_of_encoding(name));
        let has_rest = tags.iter().any(|(name, _)| info::id(name).is_none());
        if let Some(chunk) = info::list(&tags) {
            chunk.write(&mut wav.after);
        }
        // The list holds the usual tags only.
        let id3 = match &self.id3 {
            Some(tag) if !(tags.is_empty() && pictures.is_empty() && self.chapters.is_empty()) => {
                Some(tag.clone())
            }
            None if has_rest || !pictures.is_empty() => Some(id3::tag(&tags, &pictures)),
            _ => None,
        };
        if let Some(body) = id3 {
            let id = *b"id3 ";
            Chunk { id, body }.write(&mut wav.after);
        }
        for chunk in info::cues(&self.chapters, rate_hz) {
            chunk.write(&mut wav.after);
        }
        wav
    }

    /// Blocks of a FLAC file, those of a FLAC file unchanged.
    pub(crate) fn for_flac(&self) -> FlacMetadata {
        let mut flac = FlacMetadata::default();
        for block in &self.blocks {
            match block.kind {
                STREAMINFO | PADDING | SEEK_TABLE => {}
                _ if block.is_left => flac.left.push(block.name()),
                _ => flac.blocks.push(block.clone()),
            }
        }
        let mut tags = self.tags.clone();
        for chunk in self.chunks.kept.iter().chain(&self.chunks_after.kept) {
            match info::read(chunk) {
                Some(read) => tags.extend(read),
                None => flac.left.push(chunk.name()),
            }
        }
        let left = self.chunks.left.iter().chain(&self.chunks_after.left);
        flac.left.extend(left.chain(&self.left).cloned());
        tags.retain(|(name, _)| !is_of_encoding(name));
        tags.extend(comments::chapters(&self.chapters));
        if !tags.is_empty() {
            flac.push(comment_block(&tags), "tags");
        }
        for picture in &self.pictures {
            flac.push(picture_block(picture), "picture");
        }
        flac
    }
}

impl FlacMetadata {
    fn push(&mut self, block: Block, name: &str) {
        match block.body.len() {
            0..=MAX_BLOCK_BYTES => self.blocks.push(block),
            _ => self.left.push(name.into()),
        }
    }

    /// Adds the speaker mask where it is not the default (RFC 9639, section 8.6.2).
    pub(crate) fn add_mask(&mut self, spec: &WavSpec) {
        let default = default_mask(spec.channels.into());
        let Some(mask) = spec.channel_mask.filter(|&mask| Some(mask) != default) else {
            return;
        };
        let name = "WAVEFORMATEXTENSIBLE_CHANNEL_MASK";
        let existing = self
            .blocks
            .iter()
            .position(|block| block.kind == VORBIS_COMMENT);
        let mut tags = existing.map_or(Vec::new(), |at| read_comments(&self.blocks[at].body));
        if tags.iter().any(|(tag, _)| tag == name) {
            return;
        }
        tags.push((name.into(), format!("{mask:#06X}").replace("0X", "0x")));
        match existing {
            Some(at) => self.blocks[at] = comment_block(&tags),
            None => self.blocks.insert(0, comment_block(&tags)),
        }
    }

    /// The blocks with their headers. None is marked as the last.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for block in &self.blocks {
            bytes.push(block.kind);
            bytes.extend(&(block.body.len() as u32).to_be_bytes()[1..]);
            bytes.extend(&block.body);
        }
        bytes
    }
}

/// Whether a tag describes the encoding of the input, which the output does not have.
fn is_of_encoding(name: &str) -> bool {
    let names = [
        "ENCODER",
        "ENCODER_OPTIONS",
        "ENCODERSETTINGS",
        "TSSE",
        "ISFT",
    ];
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}
