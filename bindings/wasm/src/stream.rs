//! One stream with its samples and measurements.

use std::sync::Arc;

use quietwire::{AttenuationLimit, ChannelMode, Denoiser, DenoiserOptions, Error, Model};

/// Largest block, frames. An AudioWorklet passes 128.
pub const MAX_BLOCK: usize = 4096;
/// Largest number of channels.
const MAX_CHANNELS: usize = 2;

/// A stream.
pub struct Stream {
    denoiser: Denoiser,
    /// [channels][MAX_BLOCK]
    blocks: Vec<Vec<f32>>,
    telemetry: [f32; 8],
}

impl Stream {
    pub(crate) fn new(
        models: &[Arc<Model>],
        rate_hz: u32,
        channels: usize,
        attenuation_db: f32,
    ) -> Result<Self, Error> {
        let mut options = DenoiserOptions::default();
        options.rate_hz = Some(rate_hz);
        options.channels = channels.clamp(1, MAX_CHANNELS);
        // Both channels of a call show one scene.
        options.channel_mode = ChannelMode::Linked;
        options.attenuation = AttenuationLimit::Db(attenuation_db);
        let denoiser = Denoiser::new(models, &options)?;
        Ok(Self {
            blocks: vec![vec![0.0; MAX_BLOCK]; denoiser.channels()],
            denoiser,
            telemetry: [0.0; 8],
        })
    }

    pub(crate) fn denoiser(&self) -> &Denoiser {
        &self.denoiser
    }

    pub(crate) fn denoiser_mut(&mut self) -> &mut Denoiser {
        &mut self.denoiser
    }

    /// The samples of a channel. A channel that does not exist is the last one.
    pub(crate) fn block_mut(&mut self, channel: usize) -> &mut [f32] {
        let last = self.blocks.len() - 1;
        &mut self.blocks[channel.min(last)]
    }

    pub(crate) fn process(&mut self, frames: usize) -> Result<(), Error> {
        let frames = frames.min(MAX_BLOCK);
        match &mut self.blocks[..] {
            [left, right] => {
                let mut block = [&mut left[..frames], &mut right[..frames]];
                self.denoiser.process_planar_in_place(&mut block)
            }
            blocks => self.denoiser.process_in_place(&mut blocks[0][..frames]),
        }
    }

    /// Hops so far, probability of speech (-1: the model has none), SNR in dB, gain in dB, input level
    /// in dBFS, output level in dBFS, fallback level, hops on which a model failed.
    pub(crate) fn telemetry(&mut self) -> &[f32; 8] {
        let (hop, stats) = (self.denoiser.telemetry(), self.denoiser.stats());
        self.telemetry = [
            stats.hops as f32,
            hop.speech_probability.unwrap_or(-1.0),
            hop.snr_db,
            hop.gain_db,
            hop.input_dbfs,
            hop.output_dbfs,
            self.denoiser.fallback_level() as f32,
            stats.failed_hops as f32,
        ];
        &self.telemetry
    }
}
