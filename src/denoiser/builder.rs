//! [`DenoiserOptions`] as a chain of calls.

use std::sync::Arc;

use crate::denoiser::Denoiser;
use crate::error::Error;
use crate::model::Model;
use crate::options::{AttenuationLimit, ChannelMode, DenoiserOptions};

/// Options of a [`Denoiser`] as a chain of calls, from [`Denoiser::builder`]. Each method sets the
/// field of [`DenoiserOptions`] with its name.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct DenoiserBuilder {
    models: Vec<Arc<Model>>,
    options: DenoiserOptions,
}

impl DenoiserBuilder {
    pub(super) fn new(model: Arc<Model>) -> Self {
        Self {
            models: vec![model],
            options: DenoiserOptions::default(),
        }
    }

    /// Replaces all options.
    pub fn options(mut self, options: DenoiserOptions) -> Self {
        self.options = options;
        self
    }

    /// Sample rate of the caller's blocks, 8000 to 192000 Hz. Default: the model's own.
    pub fn rate_hz(mut self, rate_hz: u32) -> Self {
        self.options.rate_hz = Some(rate_hz);
        self
    }

    /// Channels of the caller's blocks, 1 to 64. Default: 1.
    pub fn channels(mut self, channels: usize) -> Self {
        self.options.channels = channels;
        self
    }

    /// How the channels share the model. Default: independent.
    pub fn channel_mode(mut self, mode: ChannelMode) -> Self {
        self.options.channel_mode = mode;
        self
    }

    /// The largest attenuation: a [`Strength`](crate::Strength), a number of dB, or
    /// [`AttenuationLimit::Unlimited`]. Default: 40 dB.
    pub fn attenuation(mut self, limit: impl Into<AttenuationLimit>) -> Self {
        self.options.attenuation = limit.into();
        self
    }

    /// The largest attenuation, dB; infinity for no limit. Default: 40 dB.
    pub fn attenuation_db(self, attenuation_db: f32) -> Self {
        self.attenuation(attenuation_db)
    }

    /// Whether the stream starts switched off. Default: false.
    pub fn bypass(mut self, bypass: bool) -> Self {
        self.options.bypass = bypass;
        self
    }

    /// See [`DenoiserOptions::snr_gating`]. Default: false.
    pub fn snr_gating(mut self, snr_gating: bool) -> Self {
        self.options.snr_gating = snr_gating;
        self
    }

    /// See [`DenoiserOptions::hop_aligned`]. Default: false.
    pub fn hop_aligned(mut self, hop_aligned: bool) -> Self {
        self.options.hop_aligned = hop_aligned;
        self
    }

    /// See [`DenoiserOptions::telemetry_hops`]. Default: 0.
    pub fn telemetry_hops(mut self, hops: usize) -> Self {
        self.options.telemetry_hops = hops;
        self
    }

    /// Adds a model that the stream can switch to with [`Denoiser::set_model`]. A
    /// [`Batch`](crate::Batch) without enough time switches to them in the order of the calls: add
    /// the cheapest model last. The latency of the stream is that of its slowest model.
    pub fn fallback_model(mut self, model: Arc<Model>) -> Self {
        self.models.push(model);
        self
    }

    /// Creates the stream. Allocates all its memory.
    ///
    /// # Errors
    /// As [`Denoiser::new`].
    pub fn build(self) -> Result<Denoiser, Error> {
        Denoiser::new(&self.models, &self.options)
    }
}
