//! Decodes Vorbis packets with more than two channels with lewton. symphonia decodes the others.

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::packet::Packet;

use crate::decode::surround;

/// Bytes of an identification header (Vorbis I, section 4.2.2).
const IDENT_BYTES: usize = 30;

/// The Vorbis decoder of one track.
pub(super) struct VorbisStream {
    ident: IdentHeader,
    setup: SetupHeader,
    window: PreviousWindowRight,
    /// [channel] position in the WAV order
    positions: Vec<usize>,
}

impl VorbisStream {
    pub(super) fn new(params: &AudioCodecParameters) -> Result<Self, String> {
        let broken = || "Vorbis with broken headers".to_string();
        let headers = params.extra_data.as_deref().unwrap_or_default();
        let (ident, setup) = split_headers(headers).ok_or_else(broken)?;
        let ident = read_header_ident(ident).map_err(|_| broken())?;
        let sizes = (ident.blocksize_0, ident.blocksize_1);
        let setup = read_header_setup(setup, ident.audio_channels, sizes).map_err(|_| broken())?;
        let positions = surround::wav_positions(ident.audio_channels.into());
        Ok(Self {
            ident,
            setup,
            window: PreviousWindowRight::new(),
            positions,
        })
    }

    pub(super) fn channel_mask(&self) -> Option<u32> {
        surround::channel_mask(self.positions.len())
    }

    /// Appends the samples of a packet without those that the container marks. Returns rate and
    /// channels.
    pub(super) fn decode(
        &mut self,
        packet: &Packet,
        samples: &mut Vec<f32>,
    ) -> Result<(u32, usize), &'static str> {
        let planes: Vec<Vec<f32>> =
            read_audio_packet_generic(&self.ident, &self.setup, &packet.data, &mut self.window)
                .map_err(|_| "a Vorbis packet that cannot be decoded")?;
        let channels = self.positions.len();
        let frames = planes.first().map_or(0, Vec::len);
        let trimmed = |frames: u64| usize::try_from(frames).unwrap_or(usize::MAX);
        let first = frames.min(trimmed(packet.trim_start.get()));
        let end = frames
            .saturating_sub(trimmed(packet.trim_end.get()))
            .max(first);
        let start = samples.len();
        samples.resize(start + (end - first) * channels, 0.0);
        for (plane, &position) in planes.iter().zip(&self.positions) {
            let target = samples[start..].chunks_exact_mut(channels);
            for (frame, &sample) in target.zip(&plane[first..end]) {
                frame[position] = sample;
            }
        }
        Ok((self.ident.audio_sample_rate, channels))
    }
}

/// The identification and the setup header: one after the other from Ogg, with Xiph lacing and the
/// comment header between them from Matroska and MP4.
fn split_headers(headers: &[u8]) -> Option<(&[u8], &[u8])> {
    if headers.first()? != &2 {
        return headers.split_at_checked(IDENT_BYTES);
    }
    let mut at = 1;
    let mut size = || {
        let mut size = 0;
        loop {
            let byte = usize::from(*headers.get(at)?);
            at += 1;
            size += byte;
            if byte < 255 {
                return Some(size);
            }
        }
    };
    let (ident, comment) = (size()?, size()?);
    let packets = headers.get(at..)?;
    Some((packets.get(..ident)?, packets.get(ident + comment..)?))
}
