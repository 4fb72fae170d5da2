//! The sample format of a lossless track.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::*;

use crate::sample_format::SampleFormat;

/// The sample format of a lossless track.
pub(crate) fn depth(params: &AudioCodecParameters) -> SampleFormat {
    let bits = match params.codec {
        CODEC_ID_PCM_F32LE
        | CODEC_ID_PCM_F32BE
        | CODEC_ID_PCM_F32LE_PLANAR
        | CODEC_ID_PCM_F32BE_PLANAR => return SampleFormat::F32,
        CODEC_ID_PCM_F64LE
        | CODEC_ID_PCM_F64BE
        | CODEC_ID_PCM_F64LE_PLANAR
        | CODEC_ID_PCM_F64BE_PLANAR => return SampleFormat::F64,
        // A-law and mu-law have 8 bits, but the steps of 13 and 14 bits.
        CODEC_ID_PCM_ALAW | CODEC_ID_PCM_MULAW => return SampleFormat::S16,
        CODEC_ID_ALAC => alac_bits(params.extra_data.as_deref().unwrap_or_default()),
        _ => params.bits_per_sample,
    };
    match bits {
        Some(25..) => SampleFormat::S32,
        Some(17..=24) => SampleFormat::S24,
        Some(1..=8) => SampleFormat::U8,
        _ => SampleFormat::S16,
    }
}

/// The depth of ALAC, which symphonia does not provide: the sixth byte of `ALACSpecificConfig`. In older
/// files the atoms `frma` and `alac` are in front of it.
fn alac_bits(mut cookie: &[u8]) -> Option<u32> {
    for atom in [b"frma", b"alac"] {
        if cookie.get(4..8) == Some(atom) {
            cookie = cookie.get(12..)?;
        }
    }
    cookie.get(5).map(|&bits| bits.into())
}
