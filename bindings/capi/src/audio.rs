//! The part of a stream that only the audio thread uses: blocks of any layout, hop by hop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use quietwire::{Denoiser, Error, Model};

use crate::block::Block;
use crate::error::Failure;
use crate::reports::{Report, Reports};
use crate::settings::{Applied, Settings};

/// Larger input samples are limited to this, as the core does.
const MAX_AMPLITUDE: f32 = 64.0;

pub(crate) struct Audio {
    denoiser: Denoiser,
    models: Vec<Arc<Model>>,
    applied: Applied,
    /// [frames of a hop][channels] the input, then the output
    samples: Vec<f32>,
    /// [frames of a hop][channels] the input delayed by the latency
    dry: Vec<f32>,
    delay: Delay,
    /// a panic was caught: the output is the delayed input until a reset
    passthrough: bool,
    panics: u64,
    /// hops until a panic, for tests
    #[cfg(test)]
    pub(crate) hops_until_panic: Option<usize>,
}

impl Audio {
    pub(crate) fn new(denoiser: Denoiser, models: Vec<Arc<Model>>, applied: Applied) -> Self {
        let channels = denoiser.channels();
        let hop = vec![0.0; denoiser.hop_frames() * channels];
        Self {
            delay: Delay::new(denoiser.latency() * channels),
            denoiser,
            models,
            applied,
            samples: hop.clone(),
            dry: hop,
            passthrough: false,
            panics: 0,
            #[cfg(test)]
            hops_until_panic: None,
        }
    }

    /// Processes a block. It is complete after every error but [`Error::BlockLength`].
    pub(crate) fn process(
        &mut self,
        block: &mut impl Block,
        settings: &Settings,
        reports: &Reports,
    ) -> Result<(), Failure> {
        let (frames, hop) = (block.frames(), self.denoiser.hop_frames());
        let channels = self.denoiser.channels();
        if self.denoiser.options().hop_aligned && !frames.is_multiple_of(hop) {
            return Err(Failure::Core(Error::BlockLength {
                expected: frames.next_multiple_of(hop) * channels,
                found: frames * channels,
            }));
        }
        let mut result = Ok(());
        for at in (0..frames).step_by(hop) {
            let samples = hop.min(frames - at) * channels;
            block.read(at, &mut self.samples[..samples]);
            result = result.and(self.process_hop(samples, settings));
            block.write(at, &self.samples[..samples]);
            reports.publish(self.report());
        }
        result
    }

    /// Replaces the first `samples` samples by their output: at most one hop.
    fn process_hop(&mut self, samples: usize, settings: &Settings) -> Result<(), Failure> {
        let (samples, dry) = (&mut self.samples[..samples], &mut self.dry[..samples]);
        dry.copy_from_slice(samples);
        self.delay.exchange(dry);
        let result = if self.passthrough {
            Err(Failure::Passthrough)
        } else {
            let (applied, denoiser) = (&mut self.applied, &mut self.denoiser);
            #[cfg(test)]
            let until_panic = &mut self.hops_until_panic;
            let process = || {
                settings.apply(applied, denoiser)?;
                #[cfg(test)]
                panic_at_zero(until_panic);
                denoiser.process_in_place(samples)
            };
            // A panic leaves the denoiser unwind safe, and no sample of it is used from then on.
            match catch_unwind(AssertUnwindSafe(process)) {
                Ok(result) => result.map_err(Failure::Core),
                Err(_) => {
                    self.passthrough = true;
                    self.panics += 1;
                    Err(Failure::Passthrough)
                }
            }
        };
        match result {
            // The core completed the block.
            Ok(()) | Err(Failure::Core(Error::Inference { .. })) => {}
            Err(_) => {
                for (sample, dry) in samples.iter_mut().zip(dry) {
                    *sample = repaired(*dry);
                }
            }
        }
        result
    }

    /// Empties the stream, and leaves the passthrough after a panic.
    pub(crate) fn reset(&mut self, settings: &Settings, reports: &Reports) -> Result<(), Failure> {
        let (applied, denoiser) = (&mut self.applied, &mut self.denoiser);
        let reset = catch_unwind(AssertUnwindSafe(|| {
            settings.apply(applied, denoiser)?;
            denoiser.reset();
            Ok::<(), Error>(())
        }));
        self.delay.reset();
        self.passthrough = reset.is_err();
        self.panics += u64::from(reset.is_err());
        reports.publish(self.report());
        reset.unwrap_or(Ok(())).map_err(Failure::Core)?;
        if self.passthrough {
            Err(Failure::Passthrough)
        } else {
            Ok(())
        }
    }

    pub(crate) fn report(&self) -> Report {
        let active = self.denoiser.active_model().filter(|_| !self.passthrough);
        let active = active.and_then(|active| {
            self.models
                .iter()
                .position(|model| Arc::ptr_eq(model, active))
        });
        Report {
            telemetry: self.denoiser.telemetry(),
            stats: self.denoiser.stats(),
            panics: self.panics,
            active_model: active.map_or(-1, |at| at as i32),
        }
    }
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
