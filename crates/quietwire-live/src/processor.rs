//! The denoiser of a live path, with its deadline.

use std::sync::Arc;
use std::time::Duration;

use quietwire::{
    Batch, BatchStats, ChannelMode, Denoiser, DenoiserOptions, Error, Model, OwnedBatchStream,
    Telemetry,
};

use crate::settings::Settings;

/// One stream with its models, the best first. A hop that does not fit into its budget is the delayed
/// input. Repeated misses step down to the next model, then to the delayed input, and up again.
#[derive(Debug)]
pub struct Processor {
    batch: Batch,
    stream: OwnedBatchStream,
    model_count: usize,
    attenuation_db: f32,
    failures: u64,
}

impl Processor {
    /// A stream at the rate of the input device. Allocates; takes up to some milliseconds.
    ///
    /// # Errors
    /// As [`Denoiser::new`].
    pub fn new(models: &[Arc<Model>], rate_hz: u32, channels: usize) -> Result<Self, Error> {
        let mut options = DenoiserOptions::default();
        options.rate_hz = Some(rate_hz);
        options.channels = channels;
        if channels > 1 {
            options.channel_mode = ChannelMode::Linked;
        }
        // The worker passes complete hops, which saves one hop of latency where the rate allows it.
        options.hop_aligned = true;
        let stream = match Denoiser::new(models, &options) {
            Err(Error::HopAligned { .. }) => {
                options.hop_aligned = false;
                Denoiser::new(models, &options)?
            }
            stream => stream?,
        };
        let samples = vec![0.0; stream.hop_frames() * channels];
        Ok(Self {
            batch: Batch::new(models, 1)?,
            attenuation_db: stream.attenuation().db(),
            stream: OwnedBatchStream::new(stream, samples),
            model_count: models.len(),
            failures: 0,
        })
    }

    /// Frames of a hop.
    pub fn hop_frames(&self) -> usize {
        self.stream.stream().hop_frames()
    }

    /// Latency, frames.
    pub fn latency_frames(&self) -> usize {
        self.stream.stream().latency()
    }

    /// Sample rate, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.stream.stream().rate_hz()
    }

    /// Interleaved channels.
    pub fn channels(&self) -> usize {
        self.stream.stream().channels()
    }

    /// Telemetry of the latest hop.
    pub fn telemetry(&self) -> Telemetry {
        self.stream.stream().telemetry()
    }

    /// Counts of the deadline.
    pub fn stats(&self) -> BatchStats {
        self.batch.stats()
    }

    /// Hops on which a model failed.
    pub fn failed_hops(&self) -> u64 {
        self.failures + self.stream.stream().stats().failed_hops
    }

    /// Id of the model that runs now; `None` while the output is the delayed input.
    pub fn active_model(&self) -> Option<&str> {
        let model = self.stream.stream().active_model()?;
        Some(model.manifest().id())
    }

    /// Steps below the requested model.
    pub fn fallback_level(&self) -> usize {
        self.stream.stream().fallback_level()
    }

    /// Cleans one hop, interleaved. `budget` is the time until it is due on the clock `now`.
    pub fn process(
        &mut self,
        hop: &[f32],
        settings: &Settings,
        budget: Duration,
        now: impl FnMut() -> Duration,
    ) -> &[f32] {
        let stream = self.stream.stream_mut();
        stream.set_bypass(settings.bypass());
        let attenuation_db = settings.attenuation_db();
        if attenuation_db != self.attenuation_db {
            self.attenuation_db = attenuation_db;
            self.failures += u64::from(stream.set_attenuation(attenuation_db).is_err());
        }
        let model = settings.model();
        if model < self.model_count {
            self.failures += u64::from(stream.set_model(model).is_err());
        }
        self.stream.samples_mut().copy_from_slice(hop);
        let streams = std::slice::from_mut(&mut self.stream);
        self.batch.process_within(streams, budget, now);
        self.stream.samples()
    }
}
