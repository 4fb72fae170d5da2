//! A stream for libraries that C programs load: a panic must not leave it. After one, the output is the
//! delayed input until the next reset, so a program loses no sound and no alignment.

mod delay;

use std::panic::{AssertUnwindSafe, catch_unwind};

use quietwire::{Denoiser, Error};

use delay::Delay;

/// Larger input samples are limited to this, as the core does.
const MAX_AMPLITUDE: f32 = 64.0;

/// A reason why a hop is not the model's output.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Of the core.
    #[error(transparent)]
    Core(#[from] Error),
    /// A panic was caught, in this hop or before it.
    #[error("a panic was caught: the output is the delayed input until the stream is reset")]
    Passthrough,
}

/// A [`Denoiser`] whose panics are caught.
#[derive(Debug)]
pub struct GuardedDenoiser {
    denoiser: Denoiser,
    /// [frames of a hop][channels] the input, then the output
    samples: Vec<f32>,
    /// [frames of a hop][channels] the input delayed by the latency
    dry: Vec<f32>,
    delay: Delay,
    /// a panic was caught: the output is the delayed input until a reset
    passthrough: bool,
    panics: u64,
}

impl GuardedDenoiser {
    /// Takes a stream before its first block.
    pub fn new(denoiser: Denoiser) -> Self {
        let channels = denoiser.channels();
        let hop = vec![0.0; denoiser.hop_frames() * channels];
        Self {
            delay: Delay::new(denoiser.latency() * channels),
            denoiser,
            samples: hop.clone(),
            dry: hop,
            passthrough: false,
            panics: 0,
        }
    }

    /// The stream.
    pub fn denoiser(&self) -> &Denoiser {
        &self.denoiser
    }

    /// Whether a panic was caught since the last reset.
    pub fn is_passthrough(&self) -> bool {
        self.passthrough
    }

    /// Panics that were caught.
    pub fn panics(&self) -> u64 {
        self.panics
    }

    /// Room for the input and output of `frames` frames, at most a hop, interleaved.
    pub fn block(&mut self, frames: usize) -> &mut [f32] {
        let channels = self.denoiser.channels();
        &mut self.samples[..frames * channels]
    }

    /// Replaces the first `frames` frames of [`Self::block`], at most a hop, by their output, after `prepare`
    /// has changed the settings. The block is complete after every error.
    ///
    /// # Errors
    /// [`Failure::Core`] of `prepare` and of the core; [`Failure::Passthrough`] from a panic until the reset.
    ///
    /// # Real-time
    /// No allocation, lock or system call, unless a panic begins.
    pub fn process(
        &mut self,
        frames: usize,
        prepare: impl FnOnce(&mut Denoiser) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let len = frames * self.denoiser.channels();
        let (samples, dry) = (&mut self.samples[..len], &mut self.dry[..len]);
        dry.copy_from_slice(samples);
        self.delay.exchange(dry);
        let result = if self.passthrough {
            Err(Failure::Passthrough)
        } else {
            let denoiser = &mut self.denoiser;
            let process = || {
                prepare(denoiser)?;
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

    /// Empties the stream after `prepare` has changed the settings, and leaves the passthrough. The first
    /// settings of a signal do not fade in.
    ///
    /// # Errors
    /// [`Failure::Core`] of `prepare`; [`Failure::Passthrough`] for a panic.
    ///
    /// # Real-time
    /// As [`Self::process`].
    pub fn reset(
        &mut self,
        prepare: impl FnOnce(&mut Denoiser) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let denoiser = &mut self.denoiser;
        let reset = catch_unwind(AssertUnwindSafe(|| {
            prepare(denoiser)?;
            denoiser.reset();
            Ok::<(), Error>(())
        }));
        self.delay.reset();
        self.passthrough = reset.is_err();
        self.panics += u64::from(reset.is_err());
        match reset {
            Ok(result) => result.map_err(Failure::Core),
            Err(_) => Err(Failure::Passthrough),
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
