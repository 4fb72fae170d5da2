//! Decodes Opus packets with ropus, a port of libopus.

use ropus::{Channels, DecodeMode, Decoder};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::packet::Packet;

/// Rate of the decoder, Hz.
const RATE_HZ: u32 = 48_000;
/// Frames of the longest packet, 120 ms (RFC 6716, section 3.2.5).
const MAX_FRAMES: usize = 5760;

/// The Opus decoder of one track.
pub(crate) struct OpusStream {
    decoder: Decoder,
    channels: usize,
    pre_skip: u64,
    pcm: Vec<f32>,
}

impl OpusStream {
    pub(crate) fn new(params: &AudioCodecParameters) -> Result<Self, String> {
        let head = params
            .extra_data
            .as_deref()
            .filter(|head| head.starts_with(b"OpusHead") && head.len() >= 19);
        let channels = match (&params.channels, head) {
            (_, Some(head)) => usize::from(head[9]),
            (Some(channels), None) => channels.count(),
            (None, None) => 0,
        };
        let layout = match channels {
            1 => Channels::Mono,
            2 => Channels::Stereo,
            _ => return Err(format!("Opus with {channels} channels")),
        };
        let mut decoder = Decoder::new(RATE_HZ, layout).map_err(|error| error.to_string())?;
        let mut pre_skip = 0;
        if let Some(head) = head {
            // The header in an MP4 has version 0 and is big-endian.
            let u16_at = match head[8] {
                0 => |head: &[u8], at: usize| u16::from_be_bytes([head[at], head[at + 1]]),
                _ => |head: &[u8], at: usize| u16::from_le_bytes([head[at], head[at + 1]]),
            };
            pre_skip = u16_at(head, 10).into();
            let gain = u16_at(head, 16).cast_signed();
            decoder
                .set_gain(gain.into())
                .map_err(|error| error.to_string())?;
        }
        Ok(Self {
            decoder,
            channels,
            pre_skip,
            pcm: vec![0.0; MAX_FRAMES * channels],
        })
    }

    /// Frames to drop at the start (RFC 7845, section 4.2).
    pub(crate) fn pre_skip(&self) -> u64 {
        self.pre_skip
    }

    /// Appends the samples of a packet without the padding that the container marks. Returns rate
    /// and channels.
    pub(crate) fn decode(
        &mut self,
        packet: &Packet,
        samples: &mut Vec<f32>,
    ) -> Result<(u32, usize), &'static str> {
        if packet.data.is_empty() {
            return Err("an empty Opus packet");
        }
        let frames = self
            .decoder
            .decode_float(&packet.data, &mut self.pcm, DecodeMode::Normal)
            .map_err(|_| "an Opus packet that cannot be decoded")?;
        let padding = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
        let kept = frames.saturating_sub(padding);
        samples.extend_from_slice(&self.pcm[..kept * self.channels]);
        Ok((RATE_HZ, self.channels))
    }
}
