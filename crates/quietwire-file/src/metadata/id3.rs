//! Writes an ID3v2.4 tag, which a WAV holds in its `id3 ` chunk.

use crate::metadata::Picture;

/// Names of tags that have a text frame of their own (ID3v2.4.0 frames, section 4.2).
const FRAMES: [(&str, &[u8; 4]); 16] = [
    ("ALBUM", b"TALB"),
    ("ALBUMARTIST", b"TPE2"),
    ("ARTIST", b"TPE1"),
    ("BPM", b"TBPM"),
    ("COMPOSER", b"TCOM"),
    ("COPYRIGHT", b"TCOP"),
    ("DATE", b"TDRC"),
    ("DISCNUMBER", b"TPOS"),
    ("ENCODED_BY", b"TENC"),
    ("GENRE", b"TCON"),
    ("ISRC", b"TSRC"),
    ("LANGUAGE", b"TLAN"),
    ("ORGANIZATION", b"TPUB"),
    ("SUBTITLE", b"TIT3"),
    ("TITLE", b"TIT2"),
    ("TRACKNUMBER", b"TRCK"),
];
/// Text encoding: UTF-8.
const UTF8: u8 = 3;

/// A tag with these tags and pictures. Tags without a frame of their own are in `TXXX` frames.
pub(super) fn tag(tags: &[(String, String)], pictures: &[Picture]) -> Vec<u8> {
    let mut frames = Vec::new();
    for (name, value) in tags {
        let frame = FRAMES.iter().find(|(tag, _)| tag == name);
        match frame {
            Some((_, id)) => push(&mut frames, id, &[&[UTF8], value.as_bytes()]),
            None if name == "COMMENT" => {
                push(&mut frames, b"COMM", &[&[UTF8], b"XXX\0", value.as_bytes()])
            }
            None => push(
                &mut frames,
                b"TXXX",
                &[&[UTF8], name.as_bytes(), &[0], value.as_bytes()],
            ),
        }
    }
    for picture in pictures {
        push(
            &mut frames,
            b"APIC",
            &[
                &[UTF8],
                picture.media_type.as_bytes(),
                &[0, picture.kind as u8],
                picture.description.as_bytes(),
                &[0],
                &picture.data,
            ],
        );
    }
    let mut tag = b"ID3\x04\0\0".to_vec();
    tag.extend(syncsafe(frames.len()));
    tag.extend(frames);
    tag
}

fn push(frames: &mut Vec<u8>, id: &[u8; 4], parts: &[&[u8]]) {
    let body = parts.concat();
    frames.extend(id);
    frames.extend(syncsafe(body.len()));
    frames.extend([0, 0]);
    frames.extend(body);
}

/// A size with 7 bits in each byte.
fn syncsafe(size: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7F) as u8)
}
