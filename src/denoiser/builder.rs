//! The options of a stream, checked before any memory is taken.

use std::sync::Arc;

use super::Denoiser;
use crate::{Error, Model};

/// Caller rates that a stream supports, Hz.
const RATE_RANGE_HZ: (u32, u32) = (8_000, 192_000);
const MAX_CHANNELS: usize = 64;
const DEFAULT_ATTENUATION_DB: f32 = 40.0;

/// How the channels of a stream share the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelMode {
    /// Each channel has a mask of its own, as if it were a stream of its own. Costs one inference
    /// a channel. For channels that hold different talkers.
    #[default]
    Independent,
    /// One mask, from the power of all channels, for every channel: the stereo image stays where
    /// it is. Costs one inference in all. For a stereo or array recording of one scene.
    Linked,
}

/// Options of a [`Denoiser`], from [`Denoiser::builder`].
#[derive(Debug, Clone)]
pub struct DenoiserBuilder {
    pub(crate) model: Arc<Model>,
    pub(crate) alternatives: Vec<Arc<Model>>,
    pub(crate) rate_hz: u32,
    pub(crate) channels: usize,
    pub(crate) channel_mode: ChannelMode,
    pub(crate) attenuation_db: f32,
    pub(crate) bypass: bool,
    pub(crate) gate: bool,
    pub(crate) whole_hops: bool,
}

impl DenoiserBuilder {
    pub(super) fn new(model: Arc<Model>) -> Self {
        Self {
            rate_hz: model.spec().rate_hz(),
            model,
            alternatives: Vec::new(),
            channels: 1,
            channel_mode: ChannelMode::default(),
            attenuation_db: DEFAULT_ATTENUATION_DB,
            bypass: false,
            gate: false,
            whole_hops: false,
        }
    }

    /// Sample rate of the caller's blocks, 8000 to 192000 Hz. Default: the model's own.
    pub fn rate_hz(mut self, rate_hz: u32) -> Self {
        self.rate_hz = rate_hz;
        self
    }

    /// Channels of the caller's blocks, 1 to 64. Default: 1.
    pub fn channels(mut self, channels: usize) -> Self {
        self.channels = channels;
        self
    }

    /// How the channels share the model. Default: independent.
    pub fn channel_mode(mut self, mode: ChannelMode) -> Self {
        self.channel_mode = mode;
        self
    }

    /// See [`Denoiser::set_attenuation_db`]. Default: 40 dB.
    pub fn attenuation_db(mut self, attenuation_db: f32) -> Self {
        self.attenuation_db = attenuation_db;
        self
    }

    /// Whether the stream begins switched off. Default: false.
    pub fn bypass(mut self, bypass: bool) -> Self {
        self.bypass = bypass;
        self
    }

    /// Lets the model's own estimate of the SNR spare what a hop does not need, with the thresholds
    /// of its manifest: no gain for nothing but noise, no fine filter for nearly clean speech, the
    /// input as it is for clean speech. Cheaper, and a little rougher. Default: false.
    pub fn gate(mut self, gate: bool) -> Self {
        self.gate = gate;
        self
    }

    /// Another model that the stream can go on with, by [`Denoiser::set_model`] or, the later the
    /// cheaper, when a [`Batch`](crate::Batch) has too much to do. The latency is that of the
    /// slowest. Default: none.
    pub fn alternative(mut self, model: Arc<Model>) -> Self {
        self.alternatives.push(model);
        self
    }

    /// Promises that every block is a whole number of hops ([`Denoiser::hop_frames`]), as packets
    /// are: the stream needs no hop of silence ahead then, and its latency is one hop less. Only
    /// at the models' own rate. Default: false.
    pub fn whole_hops(mut self, whole_hops: bool) -> Self {
        self.whole_hops = whole_hops;
        self
    }

    /// Makes the stream. All its memory is taken here.
    ///
    /// # Errors
    /// [`Error::Rate`], [`Error::Channels`] or [`Error::Attenuation`] for an option out of range,
    /// [`Error::Linked`], [`Error::Gate`] or [`Error::WholeHops`] for one that a model cannot follow,
    /// [`Error::Engine`] when the engine refuses another stream.
    pub fn build(self) -> Result<Denoiser, Error> {
        let (min_hz, max_hz) = RATE_RANGE_HZ;
        if !(min_hz..=max_hz).contains(&self.rate_hz) {
            return Err(Error::Rate {
                found_hz: self.rate_hz,
                min_hz,
                max_hz,
            });
        }
        if !(1..=MAX_CHANNELS).contains(&self.channels) {
            return Err(Error::Channels {
                found: self.channels,
                max: MAX_CHANNELS,
            });
        }
        check_attenuation(self.attenuation_db)?;
        let linked = self.channel_mode == ChannelMode::Linked && self.channels > 1;
        for model in std::iter::once(&self.model).chain(&self.alternatives) {
            let spec = model.spec();
            if linked && !spec.can_link_channels() {
                return Err(Error::Linked {
                    model: spec.id().into(),
                });
            }
            if self.gate && !spec.has_gate() {
                return Err(Error::Gate {
                    model: spec.id().into(),
                });
            }
        }
        Denoiser::new(self)
    }
}

pub(super) fn check_attenuation(found_db: f32) -> Result<(), Error> {
    if found_db >= 0.0 {
        Ok(())
    } else {
        Err(Error::Attenuation { found_db })
    }
}
