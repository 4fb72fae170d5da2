//! Decodes Opus packets with ropus, a port of libopus.

use ropus::{Channels, DecodeMode, Decoder, OpusMSDecoder};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::packet::Packet;

use crate::decode::surround;

/// Rate of the decoder, Hz.
const RATE_HZ: u32 = 48_000;
/// Frames of the longest packet, 120 ms (RFC 6716, section 3.2.5).
const MAX_FRAMES: usize = 5760;
/// Bytes of the identification header before the channel mapping (RFC 7845, section 5.1).
const HEAD_BYTES: usize = 19;

/// The Opus decoder of one track.
pub(super) struct OpusStream {
    decoder: Streams,
    channels: usize,
    /// whether the channels have the order of Vorbis (mapping family 1)
    is_surround: bool,
    pre_skip: u64,
    pcm: Vec<f32>,
}

/// One Opus stream, or several in each packet (RFC 7845, section 5.1.1).
enum Streams {
    One(Box<Decoder>),
    Several {
        decoder: Box<OpusMSDecoder>,
        /// [channel] position in the WAV order
        positions: Vec<usize>,
        pcm: Vec<i32>,
    },
}

impl OpusStream {
    pub(super) fn new(params: &AudioCodecParameters) -> Result<Self, String> {
        let head = params
            .extra_data
            .as_deref()
            .filter(|head| head.starts_with(b"OpusHead") && head.len() >= HEAD_BYTES);
        let channels = match (&params.channels, head) {
            (_, Some(head)) => usize::from(head[9]),
            (Some(channels), None) => channels.count(),
            (None, None) => 0,
        };
        let family = head.map_or(0, |head| head[18]);
        let (mut pre_skip, mut gain) = (0, 0);
        if let Some(head) = head {
            // The header in an MP4 has version 0 and is big-endian.
            let u16_at = match head[8] {
                0 => |head: &[u8], at: usize| u16::from_be_bytes([head[at], head[at + 1]]),
                _ => |head: &[u8], at: usize| u16::from_le_bytes([head[at], head[at + 1]]),
            };
            pre_skip = u16_at(head, 10).into();
            gain = u16_at(head, 16).cast_signed().into();
        }
        let decoder = match (family, channels) {
            (0, 1) => Streams::one(Channels::Mono, gain),
            (0, 2) => Streams::one(Channels::Stereo, gain),
            (1 | 255, 1..) => Streams::several(head.unwrap_or_default(), channels, gain),
            _ => Err(format!(
                "Opus with {channels} channels in mapping family {family}"
            )),
        }?;
        Ok(Self {
            decoder,
            channels,
            is_surround: family == 1,
            pre_skip,
            pcm: vec![0.0; MAX_FRAMES * channels],
        })
    }

    /// Frames to drop at the start (RFC 7845, section 4.2).
    pub(super) fn pre_skip(&self) -> u64 {
        self.pre_skip
    }

    pub(super) fn channel_mask(&self) -> Option<u32> {
        surround::channel_mask(self.channels).filter(|_| self.is_surround)
    }

    /// Appends the samples of a packet without the padding that the container marks. Returns rate
    /// and channels.
    pub(super) fn decode(
        &mut self,
        packet: &Packet,
        samples: &mut Vec<f32>,
    ) -> Result<(u32, usize), &'static str> {
        if packet.data.is_empty() {
            return Err("an empty Opus packet");
        }
        let frames = self
            .decoder
            .decode(&packet.data, &mut self.pcm)
            .ok_or("an Opus packet that cannot be decoded")?;
        let padding = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
        let kept = frames.saturating_sub(padding);
        samples.extend_from_slice(&self.pcm[..kept * self.channels]);
        Ok((RATE_HZ, self.channels))
    }
}

impl Streams {
    fn one(layout: Channels, gain: i32) -> Result<Self, String> {
        let mut decoder = Decoder::new(RATE_HZ, layout).map_err(|error| error.to_string())?;
        decoder.set_gain(gain).map_err(|error| error.to_string())?;
        Ok(Self::One(Box::new(decoder)))
    }

    fn several(head: &[u8], channels: usize, gain: i32) -> Result<Self, String> {
        let broken = || "Opus with a broken channel mapping".to_string();
        let (&[streams, coupled], rest) = head
            .get(HEAD_BYTES..)
            .and_then(<[u8]>::split_first_chunk)
            .ok_or_else(broken)?;
        let mapping = rest.get(..channels).ok_or_else(broken)?;
        let (streams, coupled) = (streams.into(), coupled.into());
        let rate_hz = RATE_HZ as i32;
        let mut decoder = OpusMSDecoder::new(rate_hz, channels as i32, streams, coupled, mapping)
            .map_err(|_| broken())?;
        decoder.set_gain(gain);
        let positions = match head[18] {
            1 => surround::wav_positions(channels),
            _ => (0..channels).collect(),
        };
        Ok(Self::Several {
            decoder: Box::new(decoder),
            positions,
            pcm: vec![0; MAX_FRAMES * channels],
        })
    }

    /// Decodes a packet into interleaved samples. Returns the frames. `None`: it is damaged.
    fn decode(&mut self, packet: &[u8], samples: &mut [f32]) -> Option<usize> {
        match self {
            Self::One(decoder) => decoder
                .decode_float(packet, samples, DecodeMode::Normal)
                .ok(),
            Self::Several {
                decoder,
                positions,
                pcm,
            } => {
                let bytes = packet.len() as i32;
                let frames = decoder
                    .decode24(Some(packet), bytes, pcm, MAX_FRAMES as i32, false)
                    .ok()?;
                let channels = positions.len();
                let frames = usize::try_from(frames).ok()?;
                let decoded = pcm[..frames * channels].chunks_exact(channels);
                for (target, frame) in samples.chunks_exact_mut(channels).zip(decoded) {
                    for (&sample, &position) in frame.iter().zip(&*positions) {
                        target[position] = sample as f32 / 8_388_608.0;
                    }
                }
                Some(frames)
            }
        }
    }
}
