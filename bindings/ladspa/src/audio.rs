//! The sound of an instance: blocks of any length, hop by hop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use quietwire::{ChannelMode, Denoiser, DenoiserOptions, Error, Model, Telemetry};

use crate::controls::Settings;

/// Larger input samples are limited to this, as the core does.
const MAX_AMPLITUDE: f32 = 64.0;

pub(crate) struct Audio {
    denoiser: Denoiser,
    applied: Settings,
    /// the next block is the first of a signal
    starts: bool,
    /// a panic was caught: the output is the delayed input until the next signal
    passthrough: bool,
    /// [frames of a hop][channels] the input, then the output
    samples: Vec<f32>,
    /// [frames of a hop][channels] the input delayed by the latency
    dry: Vec<f32>,
    delay: Delay,
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
        let denoiser = Denoiser::new(models()?, &options)?;
        let hop = vec![0.0; denoiser.hop_frames() * channels];
        Ok(Self {
            delay: Delay::new(denoiser.latency() * channels),
            denoiser,
            applied: Settings::default(),
            starts: true,
            passthrough: false,
            samples: hop.clone(),
            dry: hop,
            #[cfg(test)]
            hops_until_panic: None,
        })
    }

    /// Frames from the input to the output.
    pub(crate) fn latency(&self) -> usize {
        self.denoiser.latency()
    }

    /// The largest number of frames of [`Self::process`].
    pub(crate) fn hop_frames(&self) -> usize {
        self.denoiser.hop_frames()
    }

    /// The latest hop.
    pub(crate) fn telemetry(&self) -> Telemetry {
        self.denoiser.telemetry()
    }

    /// Another signal follows.
    pub(crate) fn restart(&mut self) {
        self.starts = true;
    }

    /// Room for the input and output of `frames` frames, interleaved.
    pub(crate) fn block(&mut self, frames: usize) -> &mut [f32] {
        let channels = self.denoiser.channels();
        &mut self.samples[..frames * channels]
    }

    /// Replaces the first `frames` frames of the block, at most a hop, by their output.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub(crate) fn process(&mut self, frames: usize, settings: Settings) {
        if self.starts {
            self.delay.reset();
            self.passthrough = false;
        }
        let len = frames * self.denoiser.channels();
        let (samples, dry) = (&mut self.samples[..len], &mut self.dry[..len]);
        dry.copy_from_slice(samples);
        self.delay.exchange(dry);
        if !self.passthrough {
            let (applied, denoiser) = (&mut self.applied, &mut self.denoiser);
            let starts = std::mem::take(&mut self.starts);
            #[cfg(test)]
            let until_panic = &mut self.hops_until_panic;
            let process = || {
                let old = std::mem::replace(applied, settings);
                settings.apply(old, denoiser)?;
                if starts {
                    // The first settings of a signal do not fade in.
                    denoiser.reset();
                }
                #[cfg(test)]
                panic_at_zero(until_panic);
                denoiser.process_in_place(samples)
            };
            // A panic leaves the denoiser unwind safe, and no sample of it is used from then on.
            match catch_unwind(AssertUnwindSafe(process)) {
                // After a failure of the model the block is complete: the delayed input.
                Ok(Ok(()) | Err(Error::Inference { .. })) => return,
                Ok(Err(_)) => {}
                Err(_) => self.passthrough = true,
            }
        }
        for (sample, dry) in samples.iter_mut().zip(dry) {
            *sample = repaired(*dry);
        }
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
fn panic_at_zero(hops: &mut Option<usize>) {
    if let Some(left) = hops {
        let now = *left == 0;
        *hops = if now { None } else { Some(*left - 1) };
        if now {
            // Without the message of a panic.
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
}

/// The sample in place of one that is not finite or out of range.
fn repaired(sample: f32) -> f32 {
    if sample.is_finite() {
        sample.clamp(-MAX_AMPLITUDE, MAX_AMPLITUDE)
    } else {
        0.0
    }
}

/// Delays interleaved samples by a constant number of them.
struct Delay {
    /// the samples on their way, as a ring
    ring: Vec<f32>,
    /// index of the oldest
    oldest: usize,
}

impl Delay {
    fn new(samples: usize) -> Self {
        Self {
            ring: vec![0.0; samples],
            oldest: 0,
        }
    }

    /// Puts samples in and replaces them by the delayed ones.
    fn exchange(&mut self, mut samples: &mut [f32]) {
        if self.ring.is_empty() {
            return;
        }
        while !samples.is_empty() {
            let len = samples.len().min(self.ring.len() - self.oldest);
            let (now, rest) = samples.split_at_mut(len);
            now.swap_with_slice(&mut self.ring[self.oldest..self.oldest + len]);
            self.oldest = (self.oldest + len) % self.ring.len();
            samples = rest;
        }
    }

    fn reset(&mut self) {
        self.ring.fill(0.0);
        self.oldest = 0;
    }
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
