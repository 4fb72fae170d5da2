//! Metadata chunks of a WAV: `LIST/INFO`, `bext` (EBU Tech 3285), cue points and their labels.

use crate::metadata::Chapter;
use crate::wav::chunk::Chunk;

/// Entries of `LIST/INFO` and the names of the same tags.
const ENTRIES: [(&[u8; 4], &str); 15] = [
    (b"IART", "ARTIST"),
    (b"ICMT", "COMMENT"),
    (b"ICOP", "COPYRIGHT"),
    (b"ICRD", "DATE"),
    (b"IENG", "ENGINEER"),
    (b"IGNR", "GENRE"),
    (b"IKEY", "KEYWORDS"),
    (b"ILNG", "LANGUAGE"),
    (b"IMUS", "COMPOSER"),
    (b"INAM", "TITLE"),
    (b"IPRD", "ALBUM"),
    (b"IPRT", "TRACKNUMBER"),
    (b"ISBJ", "DESCRIPTION"),
    (b"ISFT", "ENCODER"),
    (b"ITCH", "ENCODED_BY"),
];
/// Text fields of `bext`: name, position, bytes.
const BEXT: [(&str, usize, usize); 5] = [
    ("DESCRIPTION", 0, 256),
    ("ORIGINATOR", 256, 32),
    ("ORIGINATOR_REFERENCE", 288, 32),
    ("ORIGINATION_DATE", 320, 10),
    ("ORIGINATION_TIME", 330, 8),
];
/// Positions in `bext`.
const TIME_REFERENCE_AT: usize = 338;
const VERSION_AT: usize = 346;
const UMID_AT: usize = 348;
const LOUDNESS_AT: usize = 412;
const CODING_HISTORY_AT: usize = 602;
/// Loudness fields of `bext` from version 2 on, each in hundredths.
const LOUDNESS: [&str; 5] = [
    "LOUDNESS_VALUE",
    "LOUDNESS_RANGE",
    "MAX_TRUE_PEAK_LEVEL",
    "MAX_MOMENTARY_LOUDNESS",
    "MAX_SHORT_TERM_LOUDNESS",
];
/// A loudness that was not measured.
const NO_LOUDNESS: i16 = 0x7FFF;

/// The entry of a tag. `None`: `LIST/INFO` has none for it.
pub(super) fn id(name: &str) -> Option<&'static [u8; 4]> {
    let entry = ENTRIES.iter().find(|(_, tag)| *tag == name);
    entry.map(|(id, _)| *id)
}

/// A `LIST/INFO` chunk with the tags that have an entry.
pub(super) fn list(tags: &[(String, String)]) -> Option<Chunk> {
    let mut body = b"INFO".to_vec();
    for (name, value) in tags {
        if let Some(&id) = id(name) {
            let mut text = value.clone().into_bytes();
            text.push(0);
            Chunk { id, body: text }.write(&mut body);
        }
    }
    let id = *b"LIST";
    (body.len() > 4).then_some(Chunk { id, body })
}

/// The tags of a chunk. `None`: it holds none that are known.
pub(super) fn read(chunk: &Chunk) -> Option<Vec<(String, String)>> {
    match (&chunk.id, chunk.body.get(..4)) {
        (b"LIST", Some(b"INFO")) => Some(read_list(&chunk.body[4..])),
        (b"bext", _) => read_bext(&chunk.body),
        _ => None,
    }
}

fn read_list(mut rest: &[u8]) -> Vec<(String, String)> {
    let mut tags = Vec::new();
    while let Some(([id @ .., a, b, c, d], after)) = rest.split_first_chunk::<8>() {
        let size = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let Some(value) = after.get(..size) else {
            break;
        };
        rest = after.get(size + size % 2..).unwrap_or_default();
        let entry = ENTRIES.iter().find(|(entry, _)| *entry == id);
        let name = entry.map_or_else(
            || String::from_utf8_lossy(id).into_owned(),
            |(_, name)| (*name).into(),
        );
        tags.extend(text(value).map(|value| (name, value)));
    }
    tags
}

fn read_bext(body: &[u8]) -> Option<Vec<(String, String)>> {
    body.get(CODING_HISTORY_AT..)?;
    let i16_at = |at: usize| i16::from_le_bytes([body[at], body[at + 1]]);
    let mut tags: Vec<(String, String)> = Vec::new();
    let mut push = |name: &str, value: String| tags.push((name.into(), value));
    for (name, at, bytes) in BEXT {
        if let Some(value) = text(&body[at..at + bytes]) {
            push(name, value);
        }
    }
    let time = body[TIME_REFERENCE_AT..].first_chunk()?;
    push("TIME_REFERENCE", u64::from_le_bytes(*time).to_string());
    let version = i16_at(VERSION_AT);
    let umid = &body[UMID_AT..UMID_AT + 64];
    if version >= 1 && umid.iter().any(|&byte| byte != 0) {
        let digits = umid.iter().map(|byte| format!("{byte:02X}"));
        push("UMID", format!("0x{}", digits.collect::<String>()));
    }
    for (index, name) in LOUDNESS.iter().enumerate() {
        let value = i16_at(LOUDNESS_AT + 2 * index);
        if version >= 2 && value != NO_LOUDNESS {
            push(name, format!("{:.2}", f64::from(value) / 100.0));
        }
    }
    if let Some(value) = text(&body[CODING_HISTORY_AT..]) {
        push("CODING_HISTORY", value);
    }
    Some(tags)
}

/// The text before the first zero. `None`: it is empty.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end])
        .trim_end()
        .to_string();
    Some(text).filter(|text| !text.is_empty())
}

/// Chapters as a `cue ` chunk and a `LIST/adtl` chunk with their titles.
pub(super) fn cues(chapters: &[Chapter], rate_hz: u32) -> Vec<Chunk> {
    if chapters.is_empty() {
        return Vec::new();
    }
    let mut cue = (chapters.len() as u32).to_le_bytes().to_vec();
    let mut labels = b"adtl".to_vec();
    for (id, chapter) in (1u32..).zip(chapters) {
        let frame = ((chapter.start_s * f64::from(rate_hz)).round() as u32).to_le_bytes();
        cue.extend(id.to_le_bytes());
        cue.extend(frame);
        cue.extend(b"data");
        cue.extend([0; 8]);
        cue.extend(frame);
        let mut body = id.to_le_bytes().to_vec();
        body.extend(chapter.title.as_bytes());
        body.push(0);
        let id = *b"labl";
        Chunk { id, body }.write(&mut labels);
    }
    vec![
        Chunk {
            id: *b"cue ",
            body: cue,
        },
        Chunk {
            id: *b"LIST",
            body: labels,
        },
    ]
}
