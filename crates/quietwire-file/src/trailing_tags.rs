//! The tags behind the audio of an MP3: ID3v1, APEv2, Lyrics3 and ID3v2 with a footer. Their bytes may look
//! like audio.

use std::io::{Read, Seek, SeekFrom};

/// Bytes of an ID3v1 tag.
const ID3V1_BYTES: u64 = 128;
/// Bytes of the header and of the footer of an APEv2 tag.
const APE_BYTES: u64 = 32;
/// Largest APEv2 tag whose texts are read, bytes.
const MAX_APE_BYTES: u64 = 1 << 20;
/// Text items of APEv2: the bits 1 and 2 of the flags are 0.
const APE_KIND: u32 = 6;

/// The tags behind the audio of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrailingTags {
    /// End of the audio, bytes.
    pub audio_end: u64,
    /// Names and values.
    pub tags: Vec<(String, String)>,
}

/// Reads the tags behind the audio of a seekable file. Leaves the source at its start.
pub(crate) fn read<R: Read + Seek + ?Sized>(source: &mut R) -> Option<TrailingTags> {
    let mut found = TrailingTags {
        audio_end: source.seek(SeekFrom::End(0)).ok()?,
        tags: Vec::new(),
    };
    while let Some(bytes) = last_tag(source, &mut found) {
        found.audio_end -= bytes;
    }
    source.seek(SeekFrom::Start(0)).ok()?;
    Some(found)
}

/// Reads the tag that ends at the end of the audio. Returns its bytes.
fn last_tag<R: Read + Seek + ?Sized>(source: &mut R, found: &mut TrailingTags) -> Option<u64> {
    let end = found.audio_end;
    let mut bytes_before = |count: u64| {
        source.seek(SeekFrom::Start(end.checked_sub(count)?)).ok()?;
        let mut bytes = vec![0; count as usize];
        source.read_exact(&mut bytes).ok()?;
        Some(bytes)
    };
    if let Some(tag) = bytes_before(ID3V1_BYTES).filter(|tag| tag.starts_with(b"TAG")) {
        read_id3v1(&tag, &mut found.tags);
        return Some(ID3V1_BYTES);
    }
    if let Some(footer) = bytes_before(APE_BYTES).filter(|tag| tag.starts_with(b"APETAGEX")) {
        // The size counts the footer, but not the header.
        let has_header = footer[23] & 0x80 != 0;
        let size = u64::from(le32(&footer, 12)?);
        let bytes = size + if has_header { APE_BYTES } else { 0 };
        if size <= MAX_APE_BYTES
            && let Some(items) = bytes_before(size)
        {
            read_ape(&items[..items.len() - APE_BYTES as usize], &mut found.tags);
        }
        return Some(bytes).filter(|&bytes| bytes <= end);
    }
    if let Some(footer) = bytes_before(10).filter(|tag| tag.starts_with(b"3DI")) {
        let size = footer[6..]
            .iter()
            .fold(0, |size, &byte| size << 7 | u64::from(byte & 0x7F));
        return Some(size + 20).filter(|&bytes| bytes <= end);
    }
    if let Some(footer) = bytes_before(15).filter(|tag| tag.ends_with(b"LYRICS200")) {
        let size: u64 = std::str::from_utf8(&footer[..6]).ok()?.parse().ok()?;
        return Some(size + 15).filter(|&bytes| bytes <= end);
    }
    None
}

fn read_id3v1(tag: &[u8], tags: &mut Vec<(String, String)>) {
    let fields = [
        ("TITLE", 3..33),
        ("ARTIST", 33..63),
        ("ALBUM", 63..93),
        ("DATE", 93..97),
        ("COMMENT", 97..125),
    ];
    for (name, place) in fields {
        // Latin-1.
        let text: String = tag[place]
            .iter()
            .take_while(|&&byte| byte != 0)
            .map(|&byte| char::from(byte))
            .collect();
        push(tags, name, text.trim_end());
    }
    // ID3v1.1: a zero and the number of the track.
    if tag[125] == 0 && tag[126] != 0 {
        push(tags, "TRACKNUMBER", &tag[126].to_string());
    }
}

fn read_ape(mut rest: &[u8], tags: &mut Vec<(String, String)>) {
    while let (Some(size), Some(flags)) = (le32(rest, 0), le32(rest, 4)) {
        let text = &rest[8..];
        let Some(end) = text.iter().position(|&byte| byte == 0) else {
            return;
        };
        let Some(value) = text
            .get(end + 1..)
            .and_then(|text| text.get(..size as usize))
        else {
            return;
        };
        let name = String::from_utf8_lossy(&text[..end]).to_ascii_uppercase();
        let name = match name.as_str() {
            "TRACK" => "TRACKNUMBER",
            "YEAR" => "DATE",
            name => name,
        };
        if flags & APE_KIND == 0 {
            push(
                tags,
                name,
                &String::from_utf8_lossy(value).replace('\0', "; "),
            );
        }
        rest = &rest[8 + end + 1 + size as usize..];
    }
}

/// Adds a tag unless another one has its name.
fn push(tags: &mut Vec<(String, String)>, name: &str, value: &str) {
    let is_known = tags.iter().any(|(other, _)| other == name);
    if !value.is_empty() && !is_known {
        tags.push((name.into(), value.into()));
    }
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn all_tags_behind_the_audio_are_found() {
        let mut id3v1 = b"TAG".to_vec();
        id3v1.extend(b"Old title");
        id3v1.resize(125, 0);
        id3v1.extend([0, 7, 255]);
        let mut ape = Vec::new();
        ape.extend(5u32.to_le_bytes());
        ape.extend([0; 4]);
        ape.extend(b"Title\0Title");
        let size = ape.len() as u32 + 32;
        ape.extend(b"APETAGEX");
        ape.extend(2000u32.to_le_bytes());
        ape.extend(size.to_le_bytes());
        ape.extend(1u32.to_le_bytes());
        ape.extend([0; 12]);
        let lyrics = b"LYRICSBEGINxyz000014LYRICS200".to_vec();
        let file = [&[9; 500][..], &lyrics, &ape, &id3v1].concat();
        let found = read(&mut Cursor::new(&file)).unwrap();
        assert_eq!(found.audio_end, 500);
        let tags: Vec<_> = found
            .tags
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(tags, [("TITLE", "Old title"), ("TRACKNUMBER", "7")]);
        let found = read(&mut Cursor::new([&[9; 500][..], &ape].concat())).unwrap();
        assert_eq!(found.tags, [("TITLE".to_string(), "Title".to_string())]);
        assert_eq!(read(&mut Cursor::new([9; 600])).unwrap().audio_end, 600);
    }
}
