//! Decodes payloads to samples and encodes samples to payloads.

mod conceal;
mod g711;

use opus::{Application, Bitrate, Channels, ErrorCode, Signal};

use crate::error::RtpBuildError;
use conceal::Concealer;
use g711::Law;

/// Longest packet of audio, seconds (RFC 6716 section 2.1.4).
pub(crate) const MAX_PACKET_S: f32 = 0.12;
/// Largest Opus frame, bytes (RFC 6716 section 3.2.1): fits one datagram with its headers.
const MAX_OPUS_BYTES: usize = 1275;

/// Packet lengths of the Opus encoder at 48 kHz, frames (documentation of opus_encode).
const OPUS_LENS: [usize; 9] = [5760, 4800, 3840, 2880, 1920, 960, 480, 240, 120];

/// The codec of a stream's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Codec {
    /// Opus (RFC 7587), 48 kHz.
    #[default]
    Opus,
    /// G.711 mu-law, 8 kHz (RFC 3551).
    Pcmu,
    /// G.711 A-law, 8 kHz (RFC 3551).
    Pcma,
    /// Linear 16-bit samples, big-endian (RFC 3551 section 4.5.11).
    L16 {
        /// Sample rate and RTP clock, Hz.
        rate_hz: u32,
    },
}

impl Codec {
    /// Sample rate of the decoded audio and clock rate of the RTP timestamps, Hz.
    pub fn rate_hz(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Pcmu | Self::Pcma => 8_000,
            Self::L16 { rate_hz } => rate_hz,
        }
    }

    /// The static payload type of RFC 3551 section 6; for codecs without one, the dynamic type that
    /// most applications choose.
    pub fn default_payload_type(self, channels: usize) -> u8 {
        match (self, channels) {
            (Self::Pcmu, _) => 0,
            (Self::Pcma, _) => 8,
            (Self::L16 { rate_hz: 44_100 }, 2) => 10,
            (Self::L16 { rate_hz: 44_100 }, 1) => 11,
            (Self::L16 { .. }, _) => 96,
            (Self::Opus, _) => 111,
        }
    }

    /// Name, as in the media type of RFC 7587 and RFC 3551.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Opus => "Opus",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::L16 { .. } => "L16",
        }
    }

    /// The lengths of the packets that hold `frames` together: one, or several where the encoder has no
    /// packets of this length.
    pub(crate) fn packet_lens(self, frames: usize) -> impl Iterator<Item = usize> {
        let mut left = frames;
        std::iter::from_fn(move || {
            let len = match self {
                Self::Opus => OPUS_LENS.into_iter().find(|len| *len <= left)?,
                _ => left,
            };
            left -= len;
            (len > 0).then_some(len)
        })
    }
}

/// The payload of a packet cannot be decoded. It is concealed like a lost packet.
#[derive(Debug)]
pub(crate) struct DecodeError;

/// Decodes payloads to interleaved samples.
pub(crate) enum Decoder {
    Opus(opus::Decoder),
    Pcm {
        format: PcmFormat,
        channels: usize,
        concealer: Concealer,
    },
}

/// Codecs without state: one code per sample.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PcmFormat {
    G711(Law),
    L16,
}

impl PcmFormat {
    fn bytes_per_sample(self) -> usize {
        match self {
            Self::G711(_) => 1,
            Self::L16 => 2,
        }
    }
}

fn pcm_format(codec: Codec) -> Option<PcmFormat> {
    match codec {
        Codec::Opus => None,
        Codec::Pcmu => Some(PcmFormat::G711(Law::Mu)),
        Codec::Pcma => Some(PcmFormat::G711(Law::A)),
        Codec::L16 { .. } => Some(PcmFormat::L16),
    }
}

fn opus_channels(channels: usize) -> Channels {
    if channels == 2 {
        Channels::Stereo
    } else {
        Channels::Mono
    }
}

fn build_error(error: opus::Error) -> RtpBuildError {
    RtpBuildError::Codec {
        reason: error.description(),
    }
}

impl Decoder {
    pub(crate) fn new(codec: Codec, channels: usize) -> Result<Self, RtpBuildError> {
        Ok(match pcm_format(codec) {
            None => {
                let decoder = opus::Decoder::new(codec.rate_hz(), opus_channels(channels));
                Self::Opus(decoder.map_err(build_error)?)
            }
            Some(format) => Self::Pcm {
                format,
                channels,
                concealer: Concealer::new(codec.rate_hz(), channels),
            },
        })
    }

    /// Whether payloads have a syntax that shows those of other codecs.
    pub(crate) fn can_check_payloads(&self) -> bool {
        matches!(self, Self::Opus(_))
    }

    /// Frames of a payload, 1 to 120 ms of them.
    pub(crate) fn frames(&self, payload: &[u8], rate_hz: u32) -> Result<usize, DecodeError> {
        let frames = match self {
            Self::Opus(_) => opus::packet::get_nb_samples(payload, rate_hz).unwrap_or(0),
            Self::Pcm {
                format, channels, ..
            } => payload.len() / (format.bytes_per_sample() * channels),
        };
        let max = (rate_hz as f32 * MAX_PACKET_S) as usize;
        if (1..=max).contains(&frames) {
            Ok(frames)
        } else {
            Err(DecodeError)
        }
    }

    /// Decodes a payload into `block`, which holds [`Self::frames`] frames.
    pub(crate) fn decode(&mut self, payload: &[u8], block: &mut [f32]) -> Result<(), DecodeError> {
        match self {
            Self::Opus(decoder) => {
                decoder
                    .decode_float(payload, block, false)
                    .map_err(|_| DecodeError)?;
            }
            Self::Pcm {
                format, concealer, ..
            } => {
                match format {
                    PcmFormat::G711(law) => {
                        for (sample, byte) in block.iter_mut().zip(payload) {
                            *sample = f32::from(law.expand(*byte)) / 32_768.0;
                        }
                    }
                    PcmFormat::L16 => {
                        let (pairs, _) = payload.as_chunks::<2>();
                        for (sample, pair) in block.iter_mut().zip(pairs) {
                            *sample = f32::from(i16::from_be_bytes(*pair)) / 32_768.0;
                        }
                    }
                }
                concealer.push(block);
            }
        }
        Ok(())
    }

    /// Decodes the lost packet before `next` into `block`, if `next` holds it at a low bitrate
    /// (in-band FEC, RFC 6716 section 2.1.7). False: it does not.
    pub(crate) fn recover(&mut self, next: &[u8], block: &mut [f32]) -> bool {
        match self {
            Self::Opus(decoder) if has_lbrr(next) => {
                decoder.decode_float(next, block, true).is_ok()
            }
            _ => false,
        }
    }

    /// Fills `block` with an extrapolation of the audio before it.
    pub(crate) fn conceal(&mut self, block: &mut [f32]) {
        match self {
            Self::Opus(decoder) => {
                // An empty payload makes libopus conceal.
                if decoder.decode_float(&[], block, false).is_err() {
                    block.fill(0.0);
                }
            }
            Self::Pcm { concealer, .. } => concealer.conceal(block),
        }
    }

    pub(crate) fn reset(&mut self) {
        match self {
            Self::Opus(decoder) => decoder
                .reset_state()
                .expect("a reset of libopus has no argument that could be wrong"),
            Self::Pcm { concealer, .. } => concealer.reset(),
        }
    }
}

/// Whether an Opus packet also holds the previous frame at a low bitrate: the LBRR flag after the
/// voice activity flags of its first SILK frame (RFC 6716 sections 3.1 and 4.2.3).
fn has_lbrr(packet: &[u8]) -> bool {
    let [toc, rest @ ..] = packet else {
        return false;
    };
    let config = toc >> 3;
    // The first byte of a packet with one frame. Packets with several frames are rare; the loss
    // before them is concealed.
    let (Some(first), 0, 0..16) = (rest.first(), toc & 3, config) else {
        return false;
    };
    let silk_frames = match config {
        0..12 => [1, 1, 2, 3][usize::from(config & 3)],
        _ => 1,
    };
    first >> (7 - silk_frames) & 1 == 1
}

/// Options of an [`Encoder`]. All but the codec and the channels are for Opus.
pub(crate) struct EncoderOptions {
    pub(crate) codec: Codec,
    pub(crate) channels: usize,
    pub(crate) bitrate_bps: u32,
    /// 0 to 10
    pub(crate) complexity: u8,
    pub(crate) expected_loss_percent: u8,
    pub(crate) dtx: bool,
}

/// Encodes interleaved samples to payloads.
pub(crate) enum Encoder {
    Opus(opus::Encoder),
    Pcm(PcmFormat),
}

impl Encoder {
    pub(crate) fn new(options: &EncoderOptions) -> Result<Self, RtpBuildError> {
        if let Some(format) = pcm_format(options.codec) {
            return Ok(Self::Pcm(format));
        }
        let (rate_hz, layout) = (options.codec.rate_hz(), opus_channels(options.channels));
        // The application without a high-pass filter: the received audio went through one, and the
        // sent audio must have the phase of the received.
        let encoder = opus::Encoder::new(rate_hz, layout, Application::Audio);
        let set = |mut encoder: opus::Encoder| {
            encoder.set_signal(Signal::Voice)?;
            encoder.set_bitrate(Bitrate::Bits(options.bitrate_bps as i32))?;
            encoder.set_complexity(i32::from(options.complexity))?;
            encoder.set_inband_fec(options.expected_loss_percent > 0)?;
            encoder.set_packet_loss_perc(i32::from(options.expected_loss_percent))?;
            encoder.set_dtx(options.dtx)?;
            Ok(Self::Opus(encoder))
        };
        encoder.and_then(set).map_err(build_error)
    }

    /// Delay from the encoder's input to a decoder's output, frames.
    pub(crate) fn lookahead(&mut self) -> usize {
        match self {
            Self::Opus(encoder) => encoder.get_lookahead().map_or(0, |n| n.max(0) as usize),
            Self::Pcm(_) => 0,
        }
    }

    /// Selects the mode of a received packet (SILK and hybrid for speech, CELT for other audio: RFC
    /// 6716 section 3.1), so that the receiver's decoder does not change its mode when the stream
    /// is switched on or off.
    pub(crate) fn match_mode(&mut self, received: &[u8]) {
        if let (Self::Opus(encoder), Some(toc)) = (self, received.first()) {
            let is_celt = toc >> 3 >= 16;
            let signal = if is_celt {
                Signal::Music
            } else {
                Signal::Voice
            };
            // A hint for the encoder. Every encoder of libopus accepts it.
            let _ = encoder.set_signal(signal);
        }
    }

    /// Whether the next packets are decodable without the packets before them.
    pub(crate) fn set_independent(&mut self, independent: bool) {
        if let Self::Opus(encoder) = self {
            // Every encoder of libopus accepts it. Without it the switch is only less smooth.
            let _ = encoder.set_prediction_disabled(independent);
        }
    }

    /// Appends the payload of `block` to `packet`. False: no packet needs to be sent (DTX).
    pub(crate) fn encode(
        &mut self,
        block: &[f32],
        packet: &mut Vec<u8>,
    ) -> Result<bool, ErrorCode> {
        match self {
            Self::Opus(encoder) => {
                let start = packet.len();
                packet.resize(start + MAX_OPUS_BYTES, 0);
                let encoded = encoder.encode_float(block, &mut packet[start..]);
                let len = encoded.as_ref().map_or(0, |len| *len);
                packet.truncate(start + len);
                // Payloads of two bytes or fewer need not be sent (documentation of opus_encode).
                encoded.map(|len| len > 2).map_err(|error| error.code())
            }
            Self::Pcm(PcmFormat::G711(law)) => {
                packet.extend(block.iter().map(|x| law.compress(to_i16(*x))));
                Ok(true)
            }
            Self::Pcm(PcmFormat::L16) => {
                packet.extend(block.iter().flat_map(|x| to_i16(*x).to_be_bytes()));
                Ok(true)
            }
        }
    }

    pub(crate) fn reset(&mut self) {
        if let Self::Opus(encoder) = self {
            encoder
                .reset_state()
                .expect("a reset of libopus has no argument that could be wrong");
        }
    }
}

fn to_i16(sample: f32) -> i16 {
    // The cast saturates.
    (sample * 32_768.0).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lbrr_flag_is_found_where_libopus_writes_it() {
        let tone: Vec<f32> = (0..48_000).map(|n| (n as f32 * 0.05).sin() * 0.3).collect();
        for (fec, frames) in [(true, 960), (false, 960), (true, 2880), (false, 2880)] {
            let mut encoder =
                opus::Encoder::new(48_000, Channels::Mono, Application::Voip).unwrap();
            encoder.set_bitrate(Bitrate::Bits(20_000)).unwrap();
            encoder.set_inband_fec(fec).unwrap();
            encoder
                .set_packet_loss_perc(if fec { 30 } else { 0 })
                .unwrap();
            let packets = tone.chunks_exact(frames);
            let packets = packets.map(|block| encoder.encode_vec_float(block, 1275).unwrap());
            let with_lbrr = packets.filter(|packet| has_lbrr(packet)).count();
            assert_eq!(
                with_lbrr > 5,
                fec,
                "{with_lbrr} packets of {frames} samples"
            );
        }
    }
}
