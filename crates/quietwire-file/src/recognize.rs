//! Recognizes recordings among other files, by their names or by their first bytes.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Extensions of audio and video formats, of which [`Reader`](crate::Reader) reads the first lines.
const EXTENSIONS: &[&str] = &[
    // Read.
    "wav", "wave", "bwf", "rf64", "bw64", "w64", "flac", "mp3", "mp2", "mp1", "mpga", "ogg", "oga",
    "ogv", "ogx", "opus", "m4a", "m4b", "m4p", "m4r", "m4v", "mp4", "mov", "qt", "3gp", "3gpp",
    "3ga", "3g2", "f4a", "f4v", "aac", "adts", "mka", "mkv", "webm", "weba", "aiff", "aif", "aifc",
    "caf", //
    // Not read. The error of such a file is better than no mention of it.
    "8svx", "aa3", "ac3", "amr", "ape", "asf", "au", "avi", "awb", "dff", "dsf", "dts", "eac3",
    "flv", "gsm", "m2ts", "mpc", "mpeg", "mpg", "mts", "oma", "ra", "rm", "snd", "spx", "tak",
    "tta", "voc", "vob", "wma", "wmv", "wv",
];

/// Marks at a position that begin a file of a format that is read.
const MARKS: &[(usize, &[u8])] = &[
    (8, b"WAVE"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (4, b"ftyp"),
    (0, b"\x1A\x45\xDF\xA3"),
    (8, b"AIFF"),
    (8, b"AIFC"),
    (0, b"caff"),
    (0, b"riff\x2E\x91\xCF\x11"),
];

/// Bytes that decide the format.
const HEAD_BYTES: usize = 16;

/// Whether a name ends in the extension of an audio or video format.
pub fn has_audio_extension(path: &Path) -> bool {
    path.extension()
        .map(|extension| extension.to_string_lossy().to_lowercase())
        .is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Whether a file is a recording: by its extension, or by its first bytes if the extension is that of
/// no audio or video format. A video counts, whether it has sound or not.
///
/// # Errors
/// When the file cannot be opened or read to decide by its first bytes.
pub fn is_recording(path: &Path) -> io::Result<bool> {
    if has_audio_extension(path) {
        return Ok(true);
    }
    let mut head = Vec::new();
    File::open(path)?
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)?;
    let has_mark = |&(at, mark): &(usize, &[u8])| head.get(at..at + mark.len()) == Some(mark);
    // The marks of MPEG audio are short: other files contain them by chance.
    Ok(MARKS.iter().any(has_mark) || (path.extension().is_none() && is_mpeg_audio(&head)))
}

/// Whether bytes begin with a valid header of MPEG audio, layer II or III (ISO/IEC 11172-3, section
/// 2.4.1.3), or of AAC in ADTS (ISO/IEC 13818-7, section 6.2). Layer I is rare, and text in UTF-16
/// begins like it.
fn is_mpeg_audio(head: &[u8]) -> bool {
    let &[0xFF, second, third, ..] = head else {
        return false;
    };
    let (sync, layer) = (second & 0xE0, second & 0x06);
    let (version, bit_rate, rate) = (second & 0x18, third >> 4, third & 0x0C);
    let mpeg = sync == 0xE0
        && version != 0x08
        && matches!(layer, 0x02 | 0x04)
        && bit_rate != 0
        && bit_rate != 15
        && rate != 0x0C;
    let adts = second & 0xF6 == 0xF0 && third & 0x3C < 0x34;
    mpeg || adts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_decide_in_any_case() {
        for name in ["a.wav", "b.MOV", "c.d.Aifc", "x/e.weba", "f.mp2", "g.wma"] {
            assert!(has_audio_extension(Path::new(name)), "{name}");
        }
        for name in ["wav", "a.txt", ".mp3", "a.", "a.wav.txt"] {
            assert!(!has_audio_extension(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn headers_of_mpeg_audio_are_recognized() {
        for head in [[0xFF, 0xFB, 0x90], [0xFF, 0xF3, 0x44], [0xFF, 0xF1, 0x50]] {
            assert!(is_mpeg_audio(&head), "{head:?}");
        }
        // JPEG, UTF-16, all ones, zeros, too short.
        for head in [
            &[0xFF, 0xD8, 0xFF][..],
            &[0xFF, 0xFE, 0x41],
            &[0xFF, 0xFF, 0xFF],
            &[0, 0, 0],
            &[0xFF],
        ] {
            assert!(!is_mpeg_audio(head), "{head:?}");
        }
    }
}
