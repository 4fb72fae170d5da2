//! The options of an RTP stream that concern packets, checked before any memory is allocated.

use std::time::Duration;

use quietwire::DenoiserOptions;

use crate::codec::{Codec, EncoderOptions};
use crate::comfort_noise;
use crate::error::RtpBuildError;

/// Range of the rates of L16, Hz.
const L16_RANGE_HZ: (u32, u32) = (8_000, 192_000);
const MAX_REORDER_TIMEOUT: Duration = Duration::from_millis(500);
/// Default Opus bitrate of one channel, bits per second.
const BITRATE_PER_CHANNEL_BPS: u32 = 32_000;

/// The options that concern packets.
#[derive(Debug, Clone)]
pub(crate) struct RtpOptions {
    pub(crate) codec: Codec,
    pub(crate) payload_type: Option<u8>,
    pub(crate) red_payload_type: Option<u8>,
    pub(crate) send_red: bool,
    pub(crate) passthrough_payload_types: Vec<u8>,
    /// outer `None`: that of the codec
    pub(crate) comfort_noise_payload_type: Option<Option<u8>>,
    pub(crate) audio_level_id: Option<u8>,
    pub(crate) reorder_timeout: Duration,
    pub(crate) bitrate_bps: Option<u32>,
    pub(crate) complexity: u8,
    pub(crate) expected_loss_percent: u8,
    pub(crate) dtx: bool,
}

impl Default for RtpOptions {
    fn default() -> Self {
        Self {
            codec: Codec::Opus,
            payload_type: None,
            red_payload_type: None,
            send_red: false,
            passthrough_payload_types: Vec::new(),
            comfort_noise_payload_type: None,
            audio_level_id: None,
            reorder_timeout: Duration::from_millis(40),
            bitrate_bps: None,
            complexity: 5,
            expected_loss_percent: 5,
            dtx: false,
        }
    }
}

impl RtpOptions {
    /// Checks the options of a stream together with those of its denoiser.
    pub(crate) fn check(&self, denoiser: &DenoiserOptions) -> Result<(), RtpBuildError> {
        let invalid = |option, expected| Err(RtpBuildError::Option { option, expected });
        let channels = denoiser.channels;
        if !(1..=2).contains(&channels) {
            return invalid("channels", "1 or 2");
        }
        if let Codec::L16 { rate_hz } = self.codec
            && !(L16_RANGE_HZ.0..=L16_RANGE_HZ.1).contains(&rate_hz)
        {
            return invalid("codec", "L16 at 8000 to 192000 Hz");
        }
        if matches!(self.codec, Codec::Pcmu | Codec::Pcma) && channels != 1 {
            return invalid("channels", "1 for G.711");
        }
        if denoiser
            .rate_hz
            .is_some_and(|rate| rate != self.codec.rate_hz())
        {
            return invalid("rate_hz", "none, or the rate of the codec");
        }
        let mut types = vec![self.audio_payload_type(channels)];
        types.extend(self.red_payload_type);
        types.extend(&self.passthrough_payload_types);
        types.extend(self.comfort_noise_payload_type());
        types.sort_unstable();
        let repeated = types.windows(2).any(|pair| pair[0] == pair[1]);
        // On a port shared with RTCP, 64 to 95 would be read as RTCP (RFC 5761 section 4).
        if repeated || types.iter().any(|pt| *pt > 127 || (64..96).contains(pt)) {
            return invalid("payload types", "0 to 63 or 96 to 127, each once");
        }
        if self.send_red && self.red_payload_type.is_none() {
            return invalid(
                "red_payload_type",
                "a payload type, to send redundant audio",
            );
        }
        if self.audio_level_id == Some(0) {
            return invalid(
                "audio_level_id",
                "1 to 14, or 1 to 255 with two-byte headers",
            );
        }
        if self.reorder_timeout > MAX_REORDER_TIMEOUT {
            return invalid("reorder_timeout", "at most 500 ms");
        }
        if !(6_000..=510_000).contains(&self.bitrate_bps(channels)) {
            return invalid("bitrate_bps", "6000 to 510000");
        }
        if self.complexity > 10 {
            return invalid("complexity", "0 to 10");
        }
        if self.expected_loss_percent > 100 {
            return invalid("expected_loss_percent", "0 to 100");
        }
        Ok(())
    }

    /// Payload type of the codec's packets.
    pub(crate) fn audio_payload_type(&self, channels: usize) -> u8 {
        self.payload_type
            .unwrap_or_else(|| self.codec.default_payload_type(channels))
    }

    /// Payload type of comfort noise. Default: the static one for G.711, if it is not used otherwise.
    pub(crate) fn comfort_noise_payload_type(&self) -> Option<u8> {
        let static_type = comfort_noise::PAYLOAD_TYPE;
        let is_free = self.payload_type != Some(static_type)
            && self.red_payload_type != Some(static_type)
            && !self.passthrough_payload_types.contains(&static_type);
        let has_default = matches!(self.codec, Codec::Pcmu | Codec::Pcma) && is_free;
        self.comfort_noise_payload_type
            .unwrap_or_else(|| has_default.then_some(static_type))
    }

    fn bitrate_bps(&self, channels: usize) -> u32 {
        self.bitrate_bps
            .unwrap_or(BITRATE_PER_CHANNEL_BPS * channels as u32)
    }

    /// The options of the encoder.
    pub(crate) fn encoder(&self, channels: usize) -> EncoderOptions {
        EncoderOptions {
            codec: self.codec,
            channels,
            bitrate_bps: self.bitrate_bps(channels),
            complexity: self.complexity,
            expected_loss_percent: self.expected_loss_percent,
            dtx: self.dtx,
        }
    }
}
