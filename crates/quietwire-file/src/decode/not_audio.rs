//! The errors of a file that no demuxer accepts.

use std::io;
use std::path::Path;

use symphonia::core::errors::Error as SymphoniaError;

use crate::decode::names::unsupported_format;
use crate::error::FileError;

/// The error of a file that no demuxer accepts.
pub(super) fn not_audio(error: SymphoniaError, path: &Path, head: &[u8]) -> FileError {
    let is_text = head
        .iter()
        .all(|&byte| byte >= b' ' || byte.is_ascii_whitespace());
    // The first byte of each packet (ISO/IEC 13818-1, section 2.4.3.2).
    let is_transport = !is_text && head.first() == Some(&0x47);
    let format = match is_transport {
        true => Some("MPEG transport stream"),
        false => unsupported_format(head),
    };
    if let Some(what) = format {
        return FileError::Unsupported {
            path: path.into(),
            what: what.into(),
        };
    }
    match error {
        SymphoniaError::DecodeError(_) => format_error(error, path, 0.0),
        SymphoniaError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            FileError::Read {
                path: path.into(),
                source: error,
            }
        }
        _ => {
            let found = if is_text { "text" } else { "bytes" };
            let start = head[..head.len().min(16)].escape_ascii();
            FileError::NotAudio {
                path: path.into(),
                found: format!("{found} (`{start}`)"),
            }
        }
    }
}

/// The error of an MP4 without its index.
pub(super) fn no_index(path: &Path) -> FileError {
    FileError::Corrupt {
        path: path.into(),
        at_s: 0.0,
        reason: "the index of the MP4 (`moov`), which a recorder writes at its end, is missing"
            .into(),
    }
}

/// The error of a demuxer.
pub(super) fn format_error(error: SymphoniaError, path: &Path, at_s: f64) -> FileError {
    match error {
        SymphoniaError::IoError(source) => FileError::Read {
            path: path.into(),
            source,
        },
        SymphoniaError::Unsupported(_) => FileError::Unsupported {
            path: path.into(),
            what: "this variant of the container".into(),
        },
        _ => FileError::Corrupt {
            path: path.into(),
            at_s,
            reason: "the structure of the container is broken".into(),
        },
    }
}
