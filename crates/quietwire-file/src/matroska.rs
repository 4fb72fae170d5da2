//! Reads what symphonia does not read of a Matroska or WebM file (RFC 9559): the encoder delay, the
//! padding at the end, and the name and flags of its tracks.

use std::io::{Read, Seek, SeekFrom};

/// The first bytes of the file: the id of the EBML header.
pub(crate) const EBML: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];

const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_TYPE: u32 = 0x83;
const FLAG_DEFAULT: u32 = 0x88;
const NAME: u32 = 0x536E;
const CODEC: u32 = 0x86;
const CODEC_DELAY: u32 = 0x56AA;
const CLUSTER: u32 = 0x1F43_B675;
const BLOCK_GROUP: u32 = 0xA0;
const BLOCK: u32 = 0xA1;
const SIMPLE_BLOCK: u32 = 0xA3;
const DISCARD_PADDING: u32 = 0x75A2;

const INFO: u32 = 0x1549_A966;
const TITLE: u32 = 0x7BA9;
const SEEK_HEAD: u32 = 0x114D_9B74;
const CHAPTERS: u32 = 0x1043_A770;
const EDITION: u32 = 0x45B9;
const CHAPTER_ATOM: u32 = 0xB6;
const CHAPTER_START: u32 = 0x91;
const CHAPTER_DISPLAY: u32 = 0x80;
const CHAPTER_STRING: u32 = 0x85;
const VOID: u8 = 0xEC;

/// `TrackType` of audio.
const AUDIO: u64 = 2;
/// Largest number of bytes read from one element.
const MAX_ELEMENT: u64 = 1 << 12;
/// Clusters at the end of the file in which the last block of a track is searched.
const LAST_CLUSTERS: usize = 8;

/// One track.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MatroskaTrack {
    /// The number in its blocks, which is the id of symphonia's track.
    pub number: u64,
    pub is_audio: bool,
    /// Players play the first default track.
    pub is_default: bool,
    pub name: Option<String>,
    /// The codec, for example `A_OPUS`.
    pub codec: String,
    /// Encoder delay at the start, ns.
    pub delay_ns: u64,
    /// Padding at the end of the last block, ns.
    pub padding_ns: u64,
}

/// An element: its id, and the start and the end of its body.
#[derive(Debug, Clone, Copy)]
struct Element {
    id: u32,
    /// start of the header
    at: u64,
    start: u64,
    /// `None`: unknown, as in the clusters of a live stream
    end: Option<u64>,
}

/// What was read of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Matroska {
    pub tracks: Vec<MatroskaTrack>,
    /// Start, s, and title of each chapter.
    pub chapters: Vec<(f64, String)>,
    pub title: Option<String>,
    /// Positions and bytes that symphonia must read in place of the file's: it refuses chapters without
    /// an edition id, and the index of a file that was cut off.
    pub replaced: Vec<(u64, Vec<u8>)>,
}

/// Reads a seekable Matroska file. Empty for other formats. Leaves the source at its start.
pub(crate) fn read<R: Read + Seek + ?Sized>(source: &mut R, head: &[u8]) -> Matroska {
    if !head.starts_with(&EBML) {
        return Matroska::default();
    }
    let found = source
        .seek(SeekFrom::End(0))
        .ok()
        .and_then(|end| read_segment(source, end));
    let _ = source.seek(SeekFrom::Start(0));
    found.unwrap_or_default()
}

fn read_segment<R: Read + Seek + ?Sized>(source: &mut R, end: u64) -> Option<Matroska> {
    let segment = elements(source, 0, end)
        .into_iter()
        .find(|e| e.id == SEGMENT)?;
    let children = elements(source, segment.start, segment.end.unwrap_or(end).min(end));
    let list = children.iter().find(|element| element.id == TRACKS)?;
    let mut tracks: Vec<_> = elements(source, list.start, list.end?.min(end))
        .into_iter()
        .filter(|element| element.id == TRACK_ENTRY)
        .filter_map(|entry| track(source, entry.start, entry.end?.min(end)))
        .collect();
    let clusters: Vec<_> = children.iter().filter(|e| e.id == CLUSTER).collect();
    let first = clusters.len().saturating_sub(LAST_CLUSTERS);
    for cluster in &clusters[first..] {
        let cluster_end = cluster.end.unwrap_or(end).min(end);
        for group in elements(source, cluster.start, cluster_end) {
            match group.end.map(|group_end| group_end.min(end)) {
                Some(group_end) if group.id == BLOCK_GROUP => {
                    read_padding(source, group.start, group_end, &mut tracks);
                }
                Some(_) if group.id == SIMPLE_BLOCK => {
                    set_padding(source, group.start, &mut tracks, 0);
                }
                _ => {}
            }
        }
    }
    let mut found = Matroska {
        tracks,
        ..Matroska::default()
    };
    if let Some(list) = children.iter().find(|element| element.id == CHAPTERS)
        && let Some(list_end) = list.end.filter(|&list_end| list_end <= end)
    {
        found.chapters = chapters(source, list.start, list_end);
        found.replaced.push(hidden(list, list_end));
    }
    if let Some(info) = children.iter().find(|element| element.id == INFO)
        && let Some(info_end) = info.end.filter(|&info_end| info_end <= end)
    {
        let parts = elements(source, info.start, info_end);
        let title = parts.iter().find(|part| part.id == TITLE);
        let title = title.and_then(|title| bytes(source, title));
        found.title = title.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    }
    if segment.end.is_some_and(|segment_end| segment_end > end) {
        let size_at = segment.at + 4;
        found
            .replaced
            .push((size_at, unknown_size(segment.start - size_at)));
        for list in children.iter().filter(|element| element.id == SEEK_HEAD) {
            found
                .replaced
                .extend(list.end.map(|list_end| hidden(list, list_end)));
        }
    }
    Some(found)
}

/// The position of an element and a header that hides it.
fn hidden(element: &Element, end: u64) -> (u64, Vec<u8>) {
    let (header, body) = (element.start - element.at, end - element.start);
    (element.at, void_header(header, body))
}

/// The size of an element whose length is unknown, in this number of bytes.
fn unknown_size(width: u64) -> Vec<u8> {
    let size = (1 << (7 * width)) - 1;
    (size | 1u64 << (7 * width)).to_be_bytes()[8 - width as usize..].to_vec()
}

/// The header of a `Void` element in place of a header with `header` bytes before `body` bytes.
fn void_header(header: u64, body: u64) -> Vec<u8> {
    let width = header.saturating_sub(1).clamp(1, 8);
    let size = header + body - 1 - width;
    let mut bytes = vec![VOID];
    bytes.extend(&(size | 1 << (7 * width)).to_be_bytes()[8 - width as usize..]);
    bytes.resize(bytes.len().max(header as usize), 0);
    bytes
}

/// The chapters of all editions.
fn chapters<R: Read + Seek + ?Sized>(source: &mut R, start: u64, end: u64) -> Vec<(f64, String)> {
    let mut found = Vec::new();
    for edition in elements(source, start, end) {
        let Some(end) = edition.end.filter(|_| edition.id == EDITION) else {
            continue;
        };
        for atom in elements(source, edition.start, end) {
            if let Some(end) = atom.end.filter(|_| atom.id == CHAPTER_ATOM) {
                found.extend(chapter(source, atom.start, end));
            }
        }
    }
    found
}

fn chapter<R: Read + Seek + ?Sized>(source: &mut R, start: u64, end: u64) -> Option<(f64, String)> {
    let children = elements(source, start, end);
    let time = children.iter().find(|e| e.id == CHAPTER_START)?;
    let start_s = unsigned(&bytes(source, time)?) as f64 / 1e9;
    let display = children.iter().find(|e| e.id == CHAPTER_DISPLAY);
    let title = display.and_then(|display| {
        let parts = elements(source, display.start, display.end?);
        let text = parts.iter().find(|e| e.id == CHAPTER_STRING)?;
        bytes(source, text)
    });
    let title = String::from_utf8_lossy(&title.unwrap_or_default()).into_owned();
    Some((start_s, title))
}

/// Reads the padding of a block group. A later group of the same track replaces it.
fn read_padding<R: Read + Seek + ?Sized>(
    source: &mut R,
    start: u64,
    end: u64,
    tracks: &mut [MatroskaTrack],
) -> Option<()> {
    let children = elements(source, start, end);
    let block = children.iter().find(|element| element.id == BLOCK)?;
    let padding_ns = match children.iter().find(|e| e.id == DISCARD_PADDING) {
        // A signed integer. Negative: padding at the start of the block.
        Some(padding) => {
            let bytes = bytes(source, padding)?;
            let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
            if negative { 0 } else { unsigned(&bytes) }
        }
        None => 0,
    };
    set_padding(source, block.start, tracks, padding_ns)
}

/// Sets the padding of the track of a block.
fn set_padding<R: Read + Seek + ?Sized>(
    source: &mut R,
    block: u64,
    tracks: &mut [MatroskaTrack],
    padding_ns: u64,
) -> Option<()> {
    source.seek(SeekFrom::Start(block)).ok()?;
    let (number, _) = vint(source, true)?;
    let track = tracks.iter_mut().find(|track| track.number == number)?;
    track.padding_ns = padding_ns;
    Some(())
}

fn track<R: Read + Seek + ?Sized>(source: &mut R, start: u64, end: u64) -> Option<MatroskaTrack> {
    let mut track = MatroskaTrack {
        is_default: true,
        ..MatroskaTrack::default()
    };
    for element in elements(source, start, end) {
        let known = [
            TRACK_NUMBER,
            TRACK_TYPE,
            FLAG_DEFAULT,
            NAME,
            CODEC,
            CODEC_DELAY,
        ];
        if !known.contains(&element.id) {
            continue;
        }
        let bytes = bytes(source, &element)?;
        let text = || {
            String::from_utf8_lossy(&bytes)
                .trim_end_matches('\0')
                .to_string()
        };
        match element.id {
            TRACK_NUMBER => track.number = unsigned(&bytes),
            TRACK_TYPE => track.is_audio = unsigned(&bytes) == AUDIO,
            FLAG_DEFAULT => track.is_default = unsigned(&bytes) != 0,
            NAME => track.name = Some(text()),
            CODEC => track.codec = text(),
            _ => track.delay_ns = unsigned(&bytes),
        }
    }
    Some(track)
}

/// The elements between two positions, up to the first one of unknown length.
fn elements<R: Read + Seek + ?Sized>(source: &mut R, start: u64, end: u64) -> Vec<Element> {
    let mut found = Vec::new();
    let mut at = start;
    while at < end && source.seek(SeekFrom::Start(at)).is_ok() {
        let Some((id, id_bytes)) = vint(source, false) else {
            break;
        };
        let Some((size, size_bytes)) = vint(source, true) else {
            break;
        };
        let Ok(id) = u32::try_from(id) else { break };
        let start = at + id_bytes + size_bytes;
        // All ones: an unknown length.
        let is_unknown = size == (1 << (7 * size_bytes)) - 1;
        let element_end = start.checked_add(size).filter(|_| !is_unknown);
        found.push(Element {
            id,
            at,
            start,
            end: element_end,
        });
        let Some(next) = element_end else { break };
        at = next;
    }
    found
}

/// A variable-length integer (RFC 8794, section 4), with or without its marker, and its length.
fn vint<R: Read + ?Sized>(source: &mut R, without_marker: bool) -> Option<(u64, u64)> {
    let mut bytes = [0; 8];
    source.read_exact(&mut bytes[..1]).ok()?;
    let length = bytes[0].leading_zeros() as usize + 1;
    source.read_exact(bytes.get_mut(1..length)?).ok()?;
    if without_marker {
        bytes[0] &= (0xFFu16 >> length) as u8;
    }
    Some((unsigned(&bytes[..length]), length as u64))
}

fn bytes<R: Read + Seek + ?Sized>(source: &mut R, element: &Element) -> Option<Vec<u8>> {
    let size = element.end?.checked_sub(element.start)?;
    source.seek(SeekFrom::Start(element.start)).ok()?;
    let mut bytes = Vec::new();
    source
        .take(size.min(MAX_ELEMENT))
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_hidden_element_keeps_its_length() {
        for header in 5..=12u64 {
            for body in [3u64, 200, 70_000] {
                let mut bytes = void_header(header, body);
                assert_eq!(bytes.len() as u64, header);
                bytes.resize((header + body) as usize, 0);
                let end = bytes.len() as u64;
                let found = elements(&mut Cursor::new(bytes), 0, end);
                assert_eq!(found.len(), 1, "{header} {body}");
                assert_eq!((found[0].id, found[0].end), (0xEC, Some(end)));
            }
        }
    }
}
