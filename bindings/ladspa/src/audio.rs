//! The sound of an instance: blocks of any length, hop by hop.

use std::sync::{Arc, OnceLock};

use quietwire::{ChannelMode, Denoiser, DenoiserOptions, Error, Model, Telemetry};
use quietwire_guarded::GuardedDenoiser;

use crate::controls::Settings;

pub(crate) struct Audio {
    stream: GuardedDenoiser,
    applied: Settings,
    /// the next block is the first of a signal
    starts: bool,
    /// hops until a panic, for tests
    #[cfg(test)]
    pub(crate) hops_until_panic: Option<usize>,
}

impl Audio {
    /// # Errors
    /// [`Error::Rate`] for a rate out of range.
    pub(crate) fn new(rate_hz: u32, channels: usize) -> Result<Self, Error> {
        let mut options = DenoiserOptions::default();
        options.rate_hz = Some(rate_hz);
        options.channels = channels;
        options.channel_mode = ChannelMode::Linked;
        Ok(Self {
            stream: GuardedDenoiser::new(Denoiser::new(models()?, &options)?),
            applied: Settings::default(),
            starts: true,
            #[cfg(test)]
            hops_until_panic: None,
        })
    }

    /// Frames from the input to the output.
    pub(crate) fn latency(&self) -> usize {
        self.stream.denoiser().latency()
    }

    /// The largest number of frames of [`Self::process`].
    pub(crate) fn hop_frames(&self) -> usize {
        self.stream.denoiser().hop_frames()
    }

    /// The latest hop.
    pub(crate) fn telemetry(&self) -> Telemetry {
        self.stream.denoiser().telemetry()
    }

    /// Another signal follows.
    pub(crate) fn restart(&mut self) {
        self.starts = true;
    }

    /// Room for the input and output of `frames` frames, interleaved.
    pub(crate) fn block(&mut self, frames: usize) -> &mut [f32] {
        self.stream.block(frames)
    }

    /// Replaces the first `frames` frames of the block, at most a hop, by their output.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub(crate) fn process(&mut self, frames: usize, settings: Settings) {
        let applied = &mut self.applied;
        // A caught panic leaves the settings that the denoiser has.
        let mut apply = |denoiser: &mut Denoiser| {
            let old = std::mem::replace(applied, settings);
            settings.apply(old, denoiser)
        };
        // LADSPA has no way to pass an error, and the block is complete after each.
        if std::mem::take(&mut self.starts) {
            let _ = self.stream.reset(&mut apply);
        }
        #[cfg(test)]
        let until_panic = &mut self.hops_until_panic;
        let _ = self.stream.process(frames, |denoiser| {
            apply(denoiser)?;
            #[cfg(test)]
            quietwire_testing::panic_after(until_panic);
            Ok(())
        });
    }
}

/// The models of all instances, in the order of the values of the port "Model". Loaded once in a process.
fn models() -> Result<&'static [Arc<Model>], Error> {
    static MODELS: OnceLock<Vec<Arc<Model>>> = OnceLock::new();
    if let Some(models) = MODELS.get() {
        return Ok(models);
    }
    let models = ["base", "tiny"].map(Model::embedded);
    let models = models.into_iter().collect::<Result<_, Error>>()?;
    Ok(MODELS.get_or_init(|| models))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(frame: usize) -> f32 {
        ((frame * 7919) % 1000) as f32 / 1000.0 - 0.5
    }

    /// Whenever it happens, the input comes out aligned until the next signal.
    #[test]
    fn a_caught_panic_leaves_the_delayed_input() {
        for (hop_of_panic, rate_hz) in [(0, 48_000), (3, 48_000), (5, 44_100)] {
            let settings = Settings::default();
            let mut audio = Audio::new(rate_hz, 1).unwrap();
            let mut reference = Audio::new(rate_hz, 1).unwrap();
            audio.hops_until_panic = Some(hop_of_panic);
            let (frames, latency) = (audio.hop_frames(), audio.latency());
            for signal in 0..2 {
                audio.restart();
                reference.restart();
                for hop in 0..20 {
                    let from = hop * frames;
                    let samples: Vec<f32> = (from..from + frames).map(input).collect();
                    audio.block(frames).copy_from_slice(&samples);
                    reference.block(frames).copy_from_slice(&samples);
                    audio.process(frames, settings);
                    reference.process(frames, settings);
                    if signal == 0 && hop >= hop_of_panic {
                        let dry = |at: usize| at.checked_sub(latency).map_or(0.0, input);
                        let dry: Vec<f32> = (from..from + frames).map(dry).collect();
                        assert_eq!(audio.block(frames), dry, "hop {hop}");
                    } else {
                        assert!(audio.block(frames) == reference.block(frames), "hop {hop}");
                    }
                }
            }
        }
    }
}
