//! Names and depths of decoded files, and the error of a file that is not audio.

use std::path::Path;

use symphonia::core::audio::sample::SampleFormat as Stored;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_ALAC;
use symphonia::core::errors::Error as SymphoniaError;

use crate::error::FileError;
use crate::sample_format::SampleFormat;

/// The usual name of a container.
pub(crate) fn container_name(short: &'static str) -> &'static str {
    match short {
        "aac" => "ADTS",
        "aiff" => "AIFF",
        "caf" => "CAF",
        "flac" => "FLAC",
        "isomp4" => "MP4",
        "matroska" => "Matroska",
        "mp3" => "MP3",
        "ogg" => "Ogg",
        "wave" => "WAV",
        other => other,
    }
}

/// The sample format of a lossless track.
pub(crate) fn depth(params: &AudioCodecParameters) -> SampleFormat {
    let cookie = params.extra_data.as_deref().unwrap_or_default();
    let bits = match params.codec {
        // symphonia does not provide it. It is the sixth byte of the codec's header (ALACSpecificConfig).
        CODEC_ID_ALAC => cookie.get(5).map(|&bits| bits.into()),
        _ => params.bits_per_sample,
    };
    match (params.sample_format, bits) {
        (Some(Stored::F32), _) => SampleFormat::F32,
        (Some(Stored::F64), _) => SampleFormat::F64,
        (_, Some(25..)) => SampleFormat::S32,
        (_, Some(17..=24)) => SampleFormat::S24,
        (_, Some(1..=8)) => SampleFormat::U8,
        _ => SampleFormat::S16,
    }
}

/// The error of a file that no demuxer accepts.
pub(crate) fn not_audio(error: SymphoniaError, path: &Path, head: &[u8]) -> FileError {
    match error {
        SymphoniaError::DecodeError(reason) => FileError::Corrupt {
            path: path.into(),
            at_s: 0.0,
            reason: reason.into(),
        },
        SymphoniaError::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            FileError::Read {
                path: path.into(),
                source: error,
            }
        }
        _ => {
            let text = head
                .iter()
                .all(|&byte| byte >= b' ' || byte.is_ascii_whitespace());
            let found = if text { "text" } else { "bytes" };
            let start = head[..head.len().min(16)].escape_ascii();
            FileError::NotAudio {
                path: path.into(),
                found: format!("{found} (`{start}`)"),
            }
        }
    }
}
