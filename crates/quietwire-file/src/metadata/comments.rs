//! Vorbis comments and pictures of FLAC files (RFC 9639, sections 8.6 and 8.8).

use crate::flac::block::{Block, VORBIS_COMMENT};
use crate::metadata::{Chapter, Picture};

/// Type of a picture block.
pub(super) const PICTURE: u8 = 6;

/// The names and values of a comment block. Stops where the block is broken.
pub(super) fn read_comments(body: &[u8]) -> Vec<(String, String)> {
    fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (size, after) = rest.split_first_chunk()?;
        let (text, after) = after.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        *rest = after;
        Some(text)
    }
    let mut rest = body;
    let mut tags = Vec::new();
    let count = text(&mut rest).and_then(|_vendor| {
        let (count, after) = rest.split_first_chunk()?;
        rest = after;
        Some(u32::from_le_bytes(*count))
    });
    for _ in 0..count.unwrap_or(0) {
        let Some(comment) = text(&mut rest) else {
            break;
        };
        let comment = String::from_utf8_lossy(comment);
        if let Some((name, value)) = comment.split_once('=') {
            tags.push((name.to_ascii_uppercase(), value.into()));
        }
    }
    tags
}

pub(super) fn comment_block(tags: &[(String, String)]) -> Block {
    let mut body = Vec::new();
    let mut push = |text: &str| {
        body.extend((text.len() as u32).to_le_bytes());
        body.extend(text.as_bytes());
    };
    push(concat!("quietwire ", env!("CARGO_PKG_VERSION")));
    let mut comments = Vec::new();
    for (name, value) in tags {
        let comment = format!("{name}={value}");
        comments.extend((comment.len() as u32).to_le_bytes());
        comments.extend(comment.as_bytes());
    }
    body.extend((tags.len() as u32).to_le_bytes());
    body.extend(comments);
    Block::new(VORBIS_COMMENT, body)
}

/// Chapters as comments: `CHAPTER000=00:00:00.000` and `CHAPTER000NAME`.
pub(super) fn chapters(chapters: &[Chapter]) -> Vec<(String, String)> {
    let comments = chapters.iter().enumerate().flat_map(|(index, chapter)| {
        let ms = (chapter.start_s * 1000.0).round() as u64;
        let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        let time = format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000);
        [
            (format!("CHAPTER{index:03}"), time),
            (format!("CHAPTER{index:03}NAME"), chapter.title.clone()),
        ]
    });
    comments.collect()
}

pub(super) fn read_picture(body: &[u8]) -> Option<Picture> {
    let mut rest = body;
    let mut number = || {
        let (number, after) = rest.split_first_chunk()?;
        rest = after;
        Some(u32::from_be_bytes(*number))
    };
    let (kind, size) = (number()?, number()?);
    let (media_type, after) = rest.split_at_checked(size as usize)?;
    let (size, after) = after.split_first_chunk()?;
    let (description, after) = after.split_at_checked(u32::from_be_bytes(*size) as usize)?;
    rest = after;
    let mut number = || {
        let (number, after) = rest.split_first_chunk()?;
        rest = after;
        Some(u32::from_be_bytes(*number))
    };
    Some(Picture {
        kind,
        media_type: String::from_utf8_lossy(media_type).into(),
        description: String::from_utf8_lossy(description).into(),
        width: number()?,
        height: number()?,
        depth: number()?,
        colors: number()?,
        data: number().and_then(|size| rest.get(..size as usize))?.into(),
    })
}

pub(super) fn picture_block(picture: &Picture) -> Block {
    let mut body = Vec::new();
    body.extend(picture.kind.to_be_bytes());
    for text in [&picture.media_type, &picture.description] {
        body.extend((text.len() as u32).to_be_bytes());
        body.extend(text.as_bytes());
    }
    for number in [picture.width, picture.height, picture.depth, picture.colors] {
        body.extend(number.to_be_bytes());
    }
    body.extend((picture.data.len() as u32).to_be_bytes());
    body.extend(&picture.data);
    Block::new(PICTURE, body)
}
