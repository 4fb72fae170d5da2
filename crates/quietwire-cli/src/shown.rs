//! Names of files in messages.

use std::fmt::Write as _;
use std::path::Path;

/// A path with escapes in place of characters that change the line or the terminal, and in place of
/// bytes that are not UTF-8.
pub(crate) fn path(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(&escaped(chunk.valid()));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A text with escapes in place of characters that change the line or the terminal.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_printable(letter) {
            true => shown.push(letter),
            false => shown.extend(letter.escape_default()),
        }
    }
    shown
}

/// Whether a character has no effect beyond its own place. Line and paragraph separators and the
/// characters that change the direction of writing do.
pub(crate) fn is_printable(letter: char) -> bool {
    !letter.is_control()
        && !matches!(
            letter,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_characters_with_an_effect_are_escaped() {
        assert_eq!(
            escaped("Gespräch 1 – “日本”.wav"),
            "Gespräch 1 – “日本”.wav"
        );
        assert_eq!(
            escaped("a\nb\u{1b}[31m\t\u{202e}c\u{7f}\u{9b}"),
            "a\\nb\\u{1b}[31m\\t\\u{202e}c\\u{7f}\\u{9b}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_not_utf8_are_escaped() {
        use std::os::unix::ffi::OsStrExt as _;
        let name = std::ffi::OsStr::from_bytes(b"caf\xE9 \xC3\xA9.wav");
        assert_eq!(path(Path::new(name)), "caf\\xe9 é.wav");
    }
}
