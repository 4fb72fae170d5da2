//! The options of an RTP stream as a chain of calls.

use std::sync::Arc;
use std::time::Duration;

use quietwire::{AttenuationLimit, DenoiserOptions, Model};

use crate::codec::Codec;
use crate::denoiser::RtpDenoiser;
use crate::error::RtpBuildError;
use crate::options::RtpOptions;

/// Options of an [`RtpDenoiser`] as a chain of calls, from [`RtpDenoiser::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RtpDenoiserBuilder {
    models: Vec<Arc<Model>>,
    denoiser: DenoiserOptions,
    rtp: RtpOptions,
}

impl RtpDenoiserBuilder {
    pub(super) fn new(model: Arc<Model>) -> Self {
        Self {
            models: vec![model],
            denoiser: DenoiserOptions::default(),
            rtp: RtpOptions::default(),
        }
    }

    /// Replaces all options of the denoiser. Two of them belong to the RTP stream:
    /// [`rate_hz`](DenoiserOptions::rate_hz) must be `None` or the rate of the codec, and
    /// [`hop_aligned`](DenoiserOptions::hop_aligned) is ignored, because the length of the packets
    /// determines it. [`channels`](DenoiserOptions::channels) is 1 or 2.
    pub fn denoiser(mut self, options: DenoiserOptions) -> Self {
        self.denoiser = options;
        self
    }

    /// Codec of the packets received and sent. Default: Opus.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.rtp.codec = codec;
        self
    }

    /// Channels that are decoded, denoised and sent, 1 or 2; G.711: 1. Mono and stereo packets of
    /// Opus are accepted in either case. Default: 1.
    pub fn channels(mut self, channels: usize) -> Self {
        self.denoiser.channels = channels;
        self
    }

    /// Payload type of the codec, received and sent: 0 to 63 or 96 to 127. Default:
    /// [`Codec::default_payload_type`].
    pub fn payload_type(mut self, payload_type: u8) -> Self {
        self.rtp.payload_type = Some(payload_type);
        self
    }

    /// Payload type of received redundant audio (RFC 2198) around the codec's. Lost packets are
    /// recovered from later ones. Default: none.
    pub fn red_payload_type(mut self, payload_type: Option<u8>) -> Self {
        self.rtp.red_payload_type = payload_type;
        self
    }

    /// Sends redundant audio: each packet repeats the one before it. Needs
    /// [`red_payload_type`](Self::red_payload_type). Default: false.
    pub fn send_red(mut self, send_red: bool) -> Self {
        self.rtp.send_red = send_red;
        self
    }

    /// Adds a payload type whose packets pass unchanged and in order, for example telephone events
    /// (RFC 4733). Default: none.
    pub fn passthrough_payload_type(mut self, payload_type: u8) -> Self {
        self.rtp.passthrough_payload_types.push(payload_type);
        self
    }

    /// Payload type of received comfort noise (RFC 3389). Its packets pass with the level lowered by the
    /// attenuation limit, as the denoiser lowers the noise that they describe. Default: 13 for G.711,
    /// none for the other codecs.
    pub fn comfort_noise_payload_type(mut self, payload_type: Option<u8>) -> Self {
        self.rtp.comfort_noise_payload_type = Some(payload_type);
        self
    }

    /// Id of the header extension element that holds the audio level (RFC 6464), 1 to 255. The
    /// level is set to that of the clean audio. Default: none; levels are not changed.
    pub fn audio_level_id(mut self, id: Option<u8>) -> Self {
        self.rtp.audio_level_id = id;
        self
    }

    /// How long the jitter buffer waits for a missing packet after a later one was received, at most
    /// 500 ms. Packets in order never wait. Default: 40 ms.
    pub fn reorder_timeout(mut self, timeout: Duration) -> Self {
        self.rtp.reorder_timeout = timeout;
        self
    }

    /// Opus bitrate, bits per second, 6000 to 510000; 0 for the default. Default: 32000 per channel.
    pub fn bitrate_bps(mut self, bitrate_bps: u32) -> Self {
        self.rtp.bitrate_bps = (bitrate_bps > 0).then_some(bitrate_bps);
        self
    }

    /// Complexity of the Opus encoder, 0 to 10. Default: 5.
    pub fn complexity(mut self, complexity: u8) -> Self {
        self.rtp.complexity = complexity;
        self
    }

    /// Packet loss that the Opus encoder expects on the way to the receiver, percent, 0 to 100. Above
    /// 0 each packet also holds the previous one at a low bitrate (in-band FEC). Default: 5.
    pub fn expected_loss_percent(mut self, percent: u8) -> Self {
        self.rtp.expected_loss_percent = percent;
        self
    }

    /// Sends few or no packets during silence: DTX of Opus, comfort noise (RFC 3389) with G.711 and a
    /// [`comfort_noise_payload_type`](Self::comfort_noise_payload_type). Default: false.
    pub fn dtx(mut self, dtx: bool) -> Self {
        self.rtp.dtx = dtx;
        self
    }

    /// Adds a model; see [`DenoiserBuilder::fallback_model`](quietwire::DenoiserBuilder::fallback_model).
    pub fn fallback_model(mut self, model: Arc<Model>) -> Self {
        self.models.push(model);
        self
    }

    /// The largest attenuation; see [`DenoiserOptions::attenuation`]. Default: 40 dB.
    pub fn attenuation(mut self, limit: impl Into<AttenuationLimit>) -> Self {
        self.denoiser.attenuation = limit.into();
        self
    }

    /// Whether the stream starts switched off. Default: false.
    pub fn bypass(mut self, bypass: bool) -> Self {
        self.denoiser.bypass = bypass;
        self
    }

    /// Creates the stream.
    ///
    /// # Errors
    /// [`RtpBuildError::Option`] for an option out of range, [`RtpBuildError::Denoiser`] as
    /// [`Denoiser::new`](quietwire::Denoiser::new), [`RtpBuildError::Codec`] when libopus cannot
    /// create a coder.
    pub fn build(mut self) -> Result<RtpDenoiser, RtpBuildError> {
        self.rtp.check(&self.denoiser)?;
        self.denoiser.rate_hz = Some(self.rtp.codec.rate_hz());
        RtpDenoiser::new(&self.models, self.denoiser, self.rtp)
    }
}
