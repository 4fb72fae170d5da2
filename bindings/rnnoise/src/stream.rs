//! One channel of 10 ms frames in the scale of 16-bit samples.

use std::collections::VecDeque;
use std::sync::Arc;

use quietwire::{Denoiser, DenoiserOptions, Error, Model};

use crate::guarded;

/// Samples of a frame of RNNoise.
pub(crate) const FRAME: usize = 480;
pub(crate) const RATE_HZ: u32 = 48_000;
/// Samples of RNNoise per unit of f32.
const SCALE: f32 = 32768.0;
/// Larger samples cannot be audio: the core limits them as well.
const MAX_AMPLITUDE: f32 = 64.0;

pub(crate) struct Stream {
    denoiser: Denoiser,
    /// the input on its way to the output, for frames that cannot be processed
    delayed: VecDeque<f32>,
    #[cfg(test)]
    pub(crate) panics: bool,
}

impl Stream {
    pub(crate) fn new(model: &Arc<Model>) -> Result<Self, Error> {
        let mut options = DenoiserOptions::default();
        options.rate_hz = Some(RATE_HZ);
        options.hop_aligned = true;
        let denoiser = Denoiser::new(std::slice::from_ref(model), &options)?;
        let latency = denoiser.latency();
        let mut delayed = VecDeque::with_capacity(latency + FRAME);
        delayed.resize(latency, 0.0);
        Ok(Self {
            denoiser,
            delayed,
            #[cfg(test)]
            panics: false,
        })
    }

    /// Replaces a frame by its output. Returns the probability of speech.
    pub(crate) fn process(&mut self, frame: &mut [f32; FRAME]) -> f32 {
        for sample in frame.iter_mut() {
            *sample /= SCALE;
        }
        self.delayed.extend(frame.iter());
        let denoiser = &mut self.denoiser;
        #[cfg(test)]
        let panics = self.panics;
        let speech = guarded(|| {
            #[cfg(test)]
            if panics {
                std::panic::resume_unwind(Box::new("on purpose"));
            }
            // After a failure of the model the frame is complete: the delayed input.
            let _ = denoiser.process_in_place(frame);
            Some(denoiser.telemetry().speech_probability.unwrap_or(0.0))
        });
        let dry = self.delayed.drain(..FRAME);
        if speech.is_none() {
            for (sample, dry) in frame.iter_mut().zip(dry) {
                let is_audio = dry.is_finite();
                *sample = if is_audio {
                    dry.clamp(-MAX_AMPLITUDE, MAX_AMPLITUDE)
                } else {
                    0.0
                };
            }
        } else {
            drop(dry);
        }
        for sample in frame.iter_mut() {
            *sample *= SCALE;
        }
        speech.unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_gives_the_delayed_input() {
        let mut stream = Stream::new(&Model::embedded("tiny").unwrap()).unwrap();
        let frame = |n: usize| std::array::from_fn(|at| ((n * FRAME + at) % 1000) as f32 * 8.0);
        for n in 0..20 {
            stream.panics = (5..10).contains(&n);
            let mut output = frame(n);
            let speech = stream.process(&mut output);
            if stream.panics {
                assert_eq!((output, speech), (frame(n - 1), 0.0));
            }
            assert!(output.iter().all(|x| x.is_finite()));
        }
    }
}
