//! The options of an RTP stream, checked before any memory is taken.

use std::sync::Arc;
use std::time::Duration;

use super::{Codec, RtpDenoiser, RtpError};
use crate::{Denoiser, DenoiserBuilder, Error, Model};

/// Rates of L16 that a stream supports, Hz.
const L16_RANGE_HZ: (u32, u32) = (8_000, 192_000);
const MAX_HOLD: Duration = Duration::from_millis(500);

/// Options of an [`RtpDenoiser`], from [`RtpDenoiser::builder`].
#[derive(Debug, Clone)]
pub struct RtpDenoiserBuilder {
    pub(super) denoiser: DenoiserBuilder,
    pub(super) codec: Codec,
    pub(super) channels: usize,
    pub(super) payload_type: Option<u8>,
    pub(super) red_payload_type: Option<u8>,
    pub(super) red_out: bool,
    pub(super) relayed_payload_types: Vec<u8>,
    pub(super) audio_level_id: Option<u8>,
    pub(super) hold: Duration,
    pub(super) bitrate_bps: u32,
    pub(super) complexity: u8,
    pub(super) expected_loss_percent: u8,
    pub(super) dtx: bool,
}

impl RtpDenoiserBuilder {
    pub(super) fn new(model: Arc<Model>) -> Self {
        Self {
            denoiser: Denoiser::builder(model),
            codec: Codec::Opus,
            channels: 1,
            payload_type: None,
            red_payload_type: None,
            red_out: false,
            relayed_payload_types: Vec::new(),
            audio_level_id: None,
            hold: Duration::from_millis(40),
            bitrate_bps: 0,
            complexity: 5,
            expected_loss_percent: 5,
            dtx: false,
        }
    }

    /// How sound is coded, in and out. Default: Opus.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Channels of what is decoded, cleaned and sent, 1 or 2. Opus packets of either kind are
    /// taken in any case. Default: 1.
    pub fn channels(mut self, channels: usize) -> Self {
        self.channels = channels;
        self
    }

    /// Payload type of the codec, in and out. Default: [`Codec::usual_payload_type`].
    pub fn payload_type(mut self, payload_type: u8) -> Self {
        self.payload_type = Some(payload_type);
        self
    }

    /// Payload type of redundant audio (RFC 2198) around the codec's, taken in: what was lost is
    /// found in later packets. Default: none.
    pub fn red_payload_type(mut self, payload_type: Option<u8>) -> Self {
        self.red_payload_type = payload_type;
        self
    }

    /// Sends redundant audio too, each packet with the one before it. Default: false.
    pub fn red_out(mut self, red_out: bool) -> Self {
        self.red_out = red_out;
        self
    }

    /// A payload type that passes as it is, in its place among the others: telephone events
    /// (RFC 4733), say. Default: none.
    pub fn relayed_payload_type(mut self, payload_type: u8) -> Self {
        self.relayed_payload_types.push(payload_type);
        self
    }

    /// Element of the header extension that holds the audio level (RFC 6464): it is set to the
    /// clean one. Default: none; levels stay as they came.
    pub fn audio_level_id(mut self, id: Option<u8>) -> Self {
        self.audio_level_id = id;
        self
    }

    /// The jitter buffer's bound: how long a missing packet is waited for once a later one is
    /// there, at most 500 ms. Packets that come in order are never held. Default: 40 ms.
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// Opus bits a second, 6000 to 510000. Default: 32000 a channel.
    pub fn bitrate_bps(mut self, bitrate_bps: u32) -> Self {
        self.bitrate_bps = bitrate_bps;
        self
    }

    /// How much work the Opus encoder does, 0 to 10. Default: 5.
    pub fn complexity(mut self, complexity: u8) -> Self {
        self.complexity = complexity;
        self
    }

    /// Loss on the way out that Opus packets are made for, 0 to 100 %: above 0 they bring the
    /// frame before again (in-band FEC). Default: 5.
    pub fn expected_loss_percent(mut self, percent: u8) -> Self {
        self.expected_loss_percent = percent;
        self
    }

    /// Sends nothing, or next to nothing, while there is silence (Opus DTX). Default: false.
    pub fn dtx(mut self, dtx: bool) -> Self {
        self.dtx = dtx;
        self
    }

    /// See [`DenoiserBuilder::alternative`].
    pub fn alternative(mut self, model: Arc<Model>) -> Self {
        self.denoiser = self.denoiser.alternative(model);
        self
    }

    /// See [`DenoiserBuilder::attenuation_db`].
    pub fn attenuation_db(mut self, attenuation_db: f32) -> Self {
        self.denoiser = self.denoiser.attenuation_db(attenuation_db);
        self
    }

    /// Whether the stream begins switched off. Default: false.
    pub fn bypass(mut self, bypass: bool) -> Self {
        self.denoiser = self.denoiser.bypass(bypass);
        self
    }

    /// Makes the stream.
    ///
    /// # Errors
    /// [`Error::Rtp`] for an option out of range; else as [`DenoiserBuilder::build`].
    pub fn build(mut self) -> Result<RtpDenoiser, Error> {
        let option = |option, expected| Err(Error::Rtp(RtpError::Option { option, expected }));
        if !(1..=2).contains(&self.channels) {
            return option("channels", "1 or 2");
        }
        if let Codec::L16 { rate_hz } = self.codec
            && !(L16_RANGE_HZ.0..=L16_RANGE_HZ.1).contains(&rate_hz)
        {
            return option("codec", "L16 at 8000 to 192000 Hz");
        }
        if matches!(self.codec, Codec::Pcmu | Codec::Pcma) && self.channels != 1 {
            return option("channels", "1 for G.711");
        }
        let usual = self.codec.usual_payload_type(self.channels);
        let sound = *self.payload_type.get_or_insert(usual);
        let mut types = vec![sound];
        types.extend(self.red_payload_type);
        types.extend(&self.relayed_payload_types);
        types.sort_unstable();
        let alike = types.windows(2).any(|pair| pair[0] == pair[1]);
        // 64 to 95 are taken for RTCP on a shared port (RFC 5761 section 4).
        if alike || types.iter().any(|pt| *pt > 127 || (64..96).contains(pt)) {
            return option("payload types", "0 to 63 or 96 to 127, each once");
        }
        if self.red_out && self.red_payload_type.is_none() {
            return option(
                "red_payload_type",
                "a payload type, for redundancy is to be sent",
            );
        }
        if self.audio_level_id.is_some_and(|id| id == 0) {
            return option("audio_level_id", "1 to 14, or to 255 with two-byte headers");
        }
        if self.hold > MAX_HOLD {
            return option("hold", "at most 500 ms");
        }
        if self.bitrate_bps == 0 {
            self.bitrate_bps = 32_000 * self.channels as u32;
        }
        if !(6_000..=510_000).contains(&self.bitrate_bps) {
            return option("bitrate_bps", "6000 to 510000");
        }
        if self.complexity > 10 {
            return option("complexity", "0 to 10");
        }
        if self.expected_loss_percent > 100 {
            return option("expected_loss_percent", "0 to 100");
        }
        RtpDenoiser::new(self)
    }

    pub(super) fn sound(&self) -> u8 {
        self.payload_type
            .unwrap_or_else(|| self.codec.usual_payload_type(self.channels))
    }
}
