//! The input on its way around the denoiser, and the cross-fade between the two.

/// Length of the cross-fade, s.
const FADE_S: f64 = 0.02;
/// Time that the denoiser runs before its output is used, s.
const PRIMING_S: f64 = 0.1;

/// Delays the input by the latency of the denoiser, and fades from one to the other.
#[derive(Debug)]
pub(crate) struct RawPath {
    /// ring of interleaved samples
    delayed: Vec<f32>,
    at: usize,
    channels: usize,
    rate_hz: f64,
    /// 0: the raw input; 1: the denoiser
    mix: f32,
    mix_step: f32,
    /// frames until the fade starts
    priming: usize,
}

impl RawPath {
    pub(crate) fn new(latency_frames: usize, channels: usize, rate_hz: u32) -> Self {
        let rate_hz = f64::from(rate_hz);
        Self {
            delayed: vec![0.0; latency_frames * channels],
            at: 0,
            channels,
            rate_hz,
            mix: 0.0,
            mix_step: (1.0 / (FADE_S * rate_hz)) as f32,
            priming: 0,
        }
    }

    /// Seconds by which the input is delayed.
    pub(crate) fn latency_s(&self) -> f64 {
        (self.delayed.len() / self.channels) as f64 / self.rate_hz
    }

    /// A denoiser starts. Its output is used from 100 ms on. Returns whether the delay stays.
    pub(crate) fn start(&mut self, latency_frames: usize) -> bool {
        let length = latency_frames * self.channels;
        let is_same = length == self.delayed.len();
        if !is_same {
            // The newest samples are kept.
            self.delayed.rotate_left(self.at);
            let old = std::mem::take(&mut self.delayed);
            let kept = &old[old.len().saturating_sub(length)..];
            self.delayed = vec![0.0; length - kept.len()];
            self.delayed.extend_from_slice(kept);
            self.at = 0;
        }
        self.priming = (PRIMING_S * self.rate_hz) as usize + latency_frames;
        self.mix = 0.0;
        is_same
    }

    /// Replaces a hop by the delayed input.
    pub(crate) fn delay(&mut self, hop: &mut [f32]) {
        if self.delayed.is_empty() {
            return;
        }
        for sample in hop {
            std::mem::swap(sample, &mut self.delayed[self.at]);
            self.at = (self.at + 1) % self.delayed.len();
        }
    }

    /// Fades from `raw`, scaled by `raw_gain`, to the output of the denoiser, in place.
    pub(crate) fn mix(
        &mut self,
        raw: &[f32],
        raw_gain: f32,
        clean: Option<&[f32]>,
        out: &mut [f32],
    ) {
        for (n, output) in out.chunks_exact_mut(self.channels).enumerate() {
            let range = n * self.channels..(n + 1) * self.channels;
            let step = match clean {
                Some(_) if self.priming > 0 => {
                    self.priming -= 1;
                    0.0
                }
                Some(_) => self.mix_step,
                None => -self.mix_step,
            };
            self.mix = (self.mix + step).clamp(0.0, 1.0);
            let raw = &raw[range.clone()];
            for (channel, output) in output.iter_mut().enumerate() {
                let clean = clean.map_or(0.0, |clean| clean[range.start + channel]);
                *output = self.mix * clean + (1.0 - self.mix) * raw_gain * raw[channel];
            }
        }
    }

    /// Whether only the denoiser is output.
    pub(crate) fn is_clean(&self) -> bool {
        self.mix >= 1.0
    }
}

/// A gain that moves to its target within 10 ms.
#[derive(Debug)]
pub(crate) struct Ramp {
    gain: f32,
    step: f32,
}

impl Ramp {
    pub(crate) fn new(gain: f32, rate_hz: u32) -> Self {
        Self {
            gain,
            step: 100.0 / rate_hz as f32,
        }
    }

    pub(crate) fn apply(&mut self, target: f32, block: &mut [f32], channels: usize) {
        if self.gain == target && target == 1.0 {
            return;
        }
        for frame in block.chunks_exact_mut(channels) {
            let change = (target - self.gain).clamp(-self.step, self.step);
            self.gain += change;
            frame.iter_mut().for_each(|sample| *sample *= self.gain);
        }
    }
}
