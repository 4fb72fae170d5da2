//! The decoder of one track: packets in, interleaved samples out.

use symphonia::core::audio::{Channels, GenericAudioBufferRef};
use symphonia::core::codecs::audio::well_known::{CODEC_ID_FLAC, CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::packet::Packet;

use crate::decode::names::codec_name;
use crate::decode::opus::OpusStream;
use crate::decode::vorbis::VorbisStream;

/// Speaker positions of a `WAVE_FORMAT_EXTENSIBLE` mask: the first 18 bits.
const WAVE_POSITIONS: u64 = (1 << 18) - 1;

/// Rate, Hz, and channels of decoded samples.
pub(super) type Spec = (u32, usize);

/// The error of one packet.
#[derive(Debug)]
pub(super) enum CodecError {
    /// The packet is damaged.
    Damaged(String),
    /// The codec, or a feature of it, is not supported.
    Unsupported,
}

pub(super) enum Codec {
    Symphonia {
        decoder: Box<dyn AudioDecoder>,
        name: &'static str,
        mask: Option<u32>,
    },
    Opus(Box<OpusStream>),
    Vorbis(Box<VorbisStream>),
}

impl Codec {
    /// The decoder of a track.
    pub(super) fn new(params: &AudioCodecParameters) -> Result<Self, String> {
        if params.codec == CODEC_ID_OPUS {
            return Ok(Self::Opus(Box::new(OpusStream::new(params)?)));
        }
        // symphonia undoes the coupling of channels in the wrong order (Vorbis I, section 4.3.5). The
        // order matters from three channels up.
        let channels = params.channels.as_ref().map_or(0, Channels::count);
        if params.codec == CODEC_ID_VORBIS && channels > 2 {
            return Ok(Self::Vorbis(Box::new(VorbisStream::new(params)?)));
        }
        // Only FLAC has a checksum of its samples.
        let options = AudioDecoderOptions::default().verify(params.codec == CODEC_ID_FLAC);
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(params, &options)
            .map_err(|_| codec_name(params))?;
        let name = decoder.codec_info().short_name;
        Ok(Self::Symphonia {
            decoder,
            name,
            mask: None,
        })
    }

    /// Its name in reports.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Symphonia { name, .. } => name,
            Self::Opus(_) => "opus",
            Self::Vorbis(_) => "vorbis",
        }
    }

    /// The encoder delay that the decoder does not remove, frames.
    pub(super) fn delay(&self) -> u64 {
        match self {
            Self::Opus(opus) => opus.pre_skip(),
            Self::Symphonia { .. } | Self::Vorbis(_) => 0,
        }
    }

    /// The speaker mask of the decoded channels, if there are more than two. Known after the first
    /// packet.
    pub(super) fn channel_mask(&self) -> Option<u32> {
        match self {
            Self::Symphonia { mask, .. } => *mask,
            Self::Opus(opus) => opus.channel_mask(),
            Self::Vorbis(vorbis) => vorbis.channel_mask(),
        }
    }

    /// Appends the samples of a packet.
    pub(super) fn decode(
        &mut self,
        packet: &Packet,
        samples: &mut Vec<f32>,
    ) -> Result<Spec, CodecError> {
        let damaged = |reason: &str| CodecError::Damaged(reason.into());
        match self {
            Self::Symphonia { decoder, mask, .. } => match decoder.decode(packet) {
                Ok(buffer) => {
                    *mask = channel_mask(buffer.spec().channels());
                    Ok(append(&buffer, samples))
                }
                Err(SymphoniaError::Unsupported(_)) => Err(CodecError::Unsupported),
                Err(SymphoniaError::IoError(_)) => Err(damaged("a packet ends early")),
                Err(_) => Err(damaged("a packet cannot be decoded")),
            },
            Self::Opus(opus) => opus.decode(packet, samples).map_err(damaged),
            Self::Vorbis(vorbis) => vorbis.decode(packet, samples).map_err(damaged),
        }
    }

    /// Whether the checksum of all samples is right. `None`: the track has none.
    pub(super) fn verify(&mut self) -> Option<bool> {
        match self {
            Self::Symphonia { decoder, .. } => decoder.finalize().verify_ok,
            Self::Opus(_) | Self::Vorbis(_) => None,
        }
    }
}

fn channel_mask(channels: &Channels) -> Option<u32> {
    match channels {
        Channels::Positioned(positions) if channels.count() > 2 => {
            let bits = positions.bits();
            (bits & !WAVE_POSITIONS == 0).then_some(bits as u32)
        }
        _ => None,
    }
}

/// Appends decoded samples. Returns their rate and channels.
fn append(buffer: &GenericAudioBufferRef<'_>, samples: &mut Vec<f32>) -> Spec {
    let start = samples.len();
    samples.resize(start + buffer.samples_interleaved(), 0.0);
    buffer.copy_to_slice_interleaved(&mut samples[start..]);
    (buffer.spec().rate(), buffer.spec().channels().count())
}
