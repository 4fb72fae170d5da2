//! Payloads to samples and back.

mod conceal;
mod g711;

use opus::{Application, Bitrate, Channels, ErrorCode, Signal};

use super::{RtpDenoiserBuilder, RtpError};
use conceal::Concealer;
use g711::Law;

/// Longest packet of sound: 120 ms (RFC 6716 section 2.1.4).
pub(super) const MAX_SECONDS: f32 = 0.12;
/// The most that an Opus encoder may fill: what fits a datagram with its headers.
pub(super) const MAX_CODED: usize = 1275;

/// How sound is coded in a stream's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// Opus (RFC 7587), 48 kHz.
    #[default]
    Opus,
    /// G.711 mu-law, 8 kHz (RFC 3551).
    Pcmu,
    /// G.711 A-law, 8 kHz (RFC 3551).
    Pcma,
    /// 16-bit samples, most significant byte first (RFC 3551).
    L16 {
        /// Sample rate and RTP clock, Hz.
        rate_hz: u32,
    },
}

impl Codec {
    /// Sample rate of what is decoded, and ticks a second of RTP timestamps.
    pub fn rate_hz(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Pcmu | Self::Pcma => 8_000,
            Self::L16 { rate_hz } => rate_hz,
        }
    }

    /// The payload type that RFC 3551 gives it, or else that most applications choose.
    pub fn usual_payload_type(self, channels: usize) -> u8 {
        match (self, channels) {
            (Self::Pcmu, _) => 0,
            (Self::Pcma, _) => 8,
            (Self::L16 { rate_hz: 44_100 }, 2) => 10,
            (Self::L16 { rate_hz: 44_100 }, 1) => 11,
            (Self::L16 { .. }, _) => 96,
            (Self::Opus, _) => 111,
        }
    }

    /// Whether one packet can hold `frames`: 2.5 to 60 ms for one of Opus (RFC 6716 section 2.1.4).
    pub(super) fn has_packets_of(self, frames: usize) -> bool {
        match self {
            Self::Opus => [120, 240, 480, 960, 1920, 2880].contains(&frames),
            _ => true,
        }
    }
}

/// The fault of one packet's payload: it is replaced as if it had been lost.
#[derive(Debug)]
pub(super) struct Undecodable;

/// Payloads to samples, interleaved.
pub(super) enum Decoder {
    Opus(opus::Decoder),
    Plain {
        coding: Plain,
        channels: usize,
        concealer: Concealer,
    },
}

/// Codecs whose samples stand alone.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plain {
    G711(Law),
    L16,
}

impl Plain {
    fn bytes(self) -> usize {
        match self {
            Self::G711(_) => 1,
            Self::L16 => 2,
        }
    }
}

fn plain(codec: Codec) -> Option<Plain> {
    match codec {
        Codec::Opus => None,
        Codec::Pcmu => Some(Plain::G711(Law::Mu)),
        Codec::Pcma => Some(Plain::G711(Law::A)),
        Codec::L16 { .. } => Some(Plain::L16),
    }
}

fn layout(channels: usize) -> Channels {
    if channels == 2 {
        Channels::Stereo
    } else {
        Channels::Mono
    }
}

/// What libopus says of options that were checked, or of its own memory.
fn refused(_: opus::Error) -> RtpError {
    RtpError::Option {
        option: "codec",
        expected: "options that libopus takes",
    }
}

impl Decoder {
    pub(super) fn new(codec: Codec, channels: usize) -> Result<Self, RtpError> {
        Ok(match plain(codec) {
            None => {
                let decoder = opus::Decoder::new(codec.rate_hz(), layout(channels));
                Self::Opus(decoder.map_err(refused)?)
            }
            Some(coding) => Self::Plain {
                coding,
                channels,
                concealer: Concealer::new(codec.rate_hz(), channels),
            },
        })
    }

    /// Samples of each channel in a payload.
    pub(super) fn frames(&self, coded: &[u8], rate_hz: u32) -> Result<usize, Undecodable> {
        let frames = match self {
            Self::Opus(_) => opus::packet::get_nb_samples(coded, rate_hz).unwrap_or(0),
            Self::Plain {
                coding, channels, ..
            } => coded.len() / (coding.bytes() * channels),
        };
        let most = (rate_hz as f32 * MAX_SECONDS) as usize;
        if (1..=most).contains(&frames) {
            Ok(frames)
        } else {
            Err(Undecodable)
        }
    }

    /// Fills `block`, as long as [`Self::frames`] says.
    pub(super) fn decode(&mut self, coded: &[u8], block: &mut [f32]) -> Result<(), Undecodable> {
        match self {
            Self::Opus(decoder) => {
                decoder
                    .decode_float(coded, block, false)
                    .map_err(|_| Undecodable)?;
            }
            Self::Plain {
                coding, concealer, ..
            } => {
                match coding {
                    Plain::G711(law) => {
                        for (sample, byte) in block.iter_mut().zip(coded) {
                            *sample = f32::from(law.expand(*byte)) / 32_768.0;
                        }
                    }
                    Plain::L16 => {
                        let (pairs, _) = coded.as_chunks::<2>();
                        for (sample, pair) in block.iter_mut().zip(pairs) {
                            *sample = f32::from(i16::from_be_bytes(*pair)) / 32_768.0;
                        }
                    }
                }
                concealer.hear(block);
            }
        }
        Ok(())
    }

    /// Fills `block` with what was lost just before `next`, if `next` brings it again (in-band
    /// FEC, RFC 6716 section 4.2.5).
    pub(super) fn recover(&mut self, next: &[u8], block: &mut [f32]) -> bool {
        match self {
            Self::Opus(decoder) if brings_again(next) => {
                decoder.decode_float(next, block, true).is_ok()
            }
            _ => false,
        }
    }

    /// Fills `block` with what may have been there.
    pub(super) fn conceal(&mut self, block: &mut [f32]) {
        match self {
            Self::Opus(decoder) => {
                // An empty payload asks libopus for concealment.
                if decoder.decode_float(&[], block, false).is_err() {
                    block.fill(0.0);
                }
            }
            Self::Plain { concealer, .. } => concealer.conceal(block),
        }
    }

    pub(super) fn reset(&mut self) {
        match self {
            Self::Opus(decoder) => decoder.reset_state().expect("a reset takes no argument"),
            Self::Plain { concealer, .. } => concealer.reset(),
        }
    }
}

/// Whether an Opus packet has the frame before it too: the flag after the voice activity flags of
/// its first SILK frame (RFC 6716 sections 3.1 and 4.2.3).
fn brings_again(packet: &[u8]) -> bool {
    let [toc, rest @ ..] = packet else {
        return false;
    };
    let config = toc >> 3;
    // The first byte of a packet with one frame; others are rare, and concealed instead.
    let (Some(first), 0, 0..16) = (rest.first(), toc & 3, config) else {
        return false;
    };
    let silk_frames = match config {
        0..12 => [1, 1, 2, 3][usize::from(config & 3)],
        _ => 1,
    };
    first >> (7 - silk_frames) & 1 == 1
}

/// Samples, interleaved, to payloads.
pub(super) enum Encoder {
    Opus(opus::Encoder),
    Plain(Plain),
}

impl Encoder {
    pub(super) fn new(options: &RtpDenoiserBuilder) -> Result<Self, RtpError> {
        if let Some(coding) = plain(options.codec) {
            return Ok(Self::Plain(coding));
        }
        let (rate_hz, channels) = (options.codec.rate_hz(), layout(options.channels));
        // Of the applications the one without a high-pass filter: what came went through one, and
        // what goes out must line up with it.
        let encoder = opus::Encoder::new(rate_hz, channels, Application::Audio);
        let set = |mut encoder: opus::Encoder| {
            encoder.set_signal(Signal::Voice)?;
            encoder.set_bitrate(Bitrate::Bits(options.bitrate_bps as i32))?;
            encoder.set_complexity(i32::from(options.complexity))?;
            encoder.set_inband_fec(options.expected_loss_percent > 0)?;
            encoder.set_packet_loss_perc(i32::from(options.expected_loss_percent))?;
            encoder.set_dtx(options.dtx)?;
            Ok(Self::Opus(encoder))
        };
        encoder.and_then(set).map_err(refused)
    }

    /// Samples that a decoder's output is behind the encoder's input.
    pub(super) fn lookahead(&mut self) -> usize {
        match self {
            Self::Opus(encoder) => encoder.get_lookahead().map_or(0, |n| n.max(0) as usize),
            Self::Plain(_) => 0,
        }
    }

    /// Codes in the mode of a packet that came (speech, or general sound: RFC 6716 section 3.1), so
    /// that the receiver's decoder takes one for the other when the stream is switched.
    pub(super) fn follow(&mut self, came: &[u8]) {
        if let (Self::Opus(encoder), Some(toc)) = (self, came.first()) {
            let is_general = toc >> 3 >= 16;
            let signal = if is_general {
                Signal::Music
            } else {
                Signal::Voice
            };
            // A hint: no encoder of this library refuses it.
            let _ = encoder.set_signal(signal);
        }
    }

    /// Whether the next packets should need none before them.
    pub(super) fn set_independent(&mut self, independent: bool) {
        if let Self::Opus(encoder) = self {
            // No encoder of this library refuses it; others sound rougher without it.
            let _ = encoder.set_prediction_disabled(independent);
        }
    }

    /// Appends the payload of `block` to `packet`; false: nothing to send (DTX).
    pub(super) fn encode(
        &mut self,
        block: &[f32],
        packet: &mut Vec<u8>,
    ) -> Result<bool, ErrorCode> {
        match self {
            Self::Opus(encoder) => {
                let begin = packet.len();
                packet.resize(begin + MAX_CODED, 0);
                let coded = encoder.encode_float(block, &mut packet[begin..]);
                let len = coded.as_ref().map_or(0, |len| *len);
                packet.truncate(begin + len);
                // Two bytes or fewer need not be sent (opus_encode's documentation).
                coded.map(|len| len > 2).map_err(|error| error.code())
            }
            Self::Plain(Plain::G711(law)) => {
                packet.extend(block.iter().map(|x| law.compress(to_i16(*x))));
                Ok(true)
            }
            Self::Plain(Plain::L16) => {
                packet.extend(block.iter().flat_map(|x| to_i16(*x).to_be_bytes()));
                Ok(true)
            }
        }
    }

    pub(super) fn reset(&mut self) {
        if let Self::Opus(encoder) = self {
            encoder.reset_state().expect("a reset takes no argument");
        }
    }
}

fn to_i16(sample: f32) -> i16 {
    // The cast holds at the ends of the range.
    (sample * 32_768.0).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_of_redundancy_is_where_libopus_puts_it() {
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
            let with = packets.filter(|packet| brings_again(packet)).count();
            assert_eq!(with > 5, fec, "{with} packets of {frames} samples");
        }
    }
}
