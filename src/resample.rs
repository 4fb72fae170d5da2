//! Streaming resampling between the caller's rate and the model's rate, with a delay known in samples.
//!
//! Both directions use the windowed-sinc resampler of rubato. Where the greatest common divisor of the
//! rates is large enough, its filter table holds exactly the phases that occur. Other rates interpolate
//! a fine table with cubic polynomials.

use audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, Resizable as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

/// Filter length in samples of the lower of the two rates. With a Blackman-Harris window: flat to
/// 0.84 of that rate's Nyquist frequency, -1 dB at 0.89, images and aliases below -109 dB.
const SINC_LEN: f64 = 96.0;
/// Above this number of phases, the table is interpolated.
const MAX_PHASES: u32 = 640;
const INTERPOLATED_PHASES: usize = 256;

/// The filters between one caller rate and a model's rate, and their delay.
#[derive(Debug, Clone)]
pub(crate) struct RatePlan {
    /// Model samples per caller sample.
    ratio: f64,
    hop: usize,
    input_filter: Filter,
    output_filter: Filter,
    /// Model-rate samples of silence before the first hop. They make the total delay a whole number
    /// of caller samples.
    alignment_pad: usize,
    /// Delay of the filters, the pad and the stages between, caller samples.
    delay: f64,
}

#[derive(Debug, Clone)]
struct Filter {
    taps: usize,
    phases: usize,
    interpolation: SincInterpolationType,
}

impl Filter {
    /// A filter whose outputs lie at `steps` different positions between two inputs.
    fn new(input_hz: u32, lower_hz: u32, steps: u32) -> Self {
        let taps = SINC_LEN * f64::from(input_hz) / f64::from(lower_hz);
        let (phases, interpolation) = if steps <= MAX_PHASES {
            (steps as usize, SincInterpolationType::Nearest)
        } else {
            (INTERPOLATED_PHASES, SincInterpolationType::Cubic)
        };
        Self {
            taps: (taps.ceil() as usize).next_multiple_of(8),
            phases,
            interpolation,
        }
    }

    fn with_phases_max(&self, phases: usize) -> Self {
        Self {
            phases: self.phases.min(phases),
            ..self.clone()
        }
    }

    /// Delay of the center of an impulse in input samples, for `step` input samples per output.
    ///
    /// The first output of rubato lies one step and one phase after half the filter. The law
    /// `alignment` and the test `measured_delay_equals_planned_delay` hold this.
    fn delay(&self, step: f64) -> f64 {
        (self.taps / 2) as f64 - step - 1.0 / self.phases as f64
    }

    fn build(&self, ratio: f64, hop: usize, fixed: FixedAsync) -> Async<f32> {
        let parameters =
            SincInterpolationParameters::new(self.taps, WindowFunction::BlackmanHarris)
                .oversampling_factor(self.phases)
                .interpolation(self.interpolation);
        Async::new_sinc(ratio, 1.0, &parameters, hop, 1, fixed)
            .expect("ratio and hop come from a checked rate and a checked manifest")
    }
}

impl RatePlan {
    /// Plans `caller_hz` around a model at `model_hz` whose stages between the two resamplers
    /// work in hops of `hop` samples and delay by `between` model samples.
    pub(crate) fn new(caller_hz: u32, model_hz: u32, hop: usize, between: usize) -> Self {
        let shared = gcd(caller_hz, model_hz);
        let (caller_steps, model_steps) = (caller_hz / shared, model_hz / shared);
        let lower_hz = caller_hz.min(model_hz);
        let input_filter = Filter::new(caller_hz, lower_hz, model_steps);
        let mut output_filter = Filter::new(model_hz, lower_hz, caller_steps);
        let mut alignment_pad = 0;
        if input_filter.phases == model_steps as usize
            && output_filter.phases == caller_steps as usize
        {
            // In units of 1/model_steps caller samples the delay is, up to whole samples,
            // caller_steps * (between + pad + output_filter.taps / 2 - 1) - 2.
            let (caller, model) = (u64::from(caller_steps), u64::from(model_steps));
            let is_integer = |pad: &usize| {
                let samples = (between + *pad + output_filter.taps / 2 - 1) as u64;
                (caller * samples) % model == 2 % model
            };
            alignment_pad = (0..model_steps as usize)
                .find(is_integer)
                .expect("the steps share no divisor, so one of model_steps pads fits");
            // A longer filter makes better use of the same delay.
            let longer = (alignment_pad / 4 * 8).min(2 * output_filter.taps);
            output_filter.taps += longer;
            alignment_pad -= longer / 2;
        }
        let step = f64::from(caller_steps) / f64::from(model_steps);
        let model_delay = (between + alignment_pad) as f64 + output_filter.delay(1.0 / step);
        let delay = input_filter.delay(step) + step * model_delay;
        Self {
            ratio: 1.0 / step,
            hop,
            input_filter,
            output_filter,
            alignment_pad,
            delay,
        }
    }

    /// Delay of filters, pad and the stages between, in caller samples: exact for rates whose
    /// ratio to the model's is a fraction of small numbers, else rounded by less than half a sample.
    pub(crate) fn delay(&self) -> usize {
        self.delay.round().max(0.0) as usize
    }

    /// Initial silence, in caller samples, that a FIFO behind both resamplers needs: it must always hold
    /// as many samples as the next hop reads.
    pub(crate) fn headroom(&self) -> usize {
        /// Fills both filters. From then on the counts vary by at most one.
        const HOPS: usize = 24;
        const MARGIN: usize = 2;
        // The counts do not depend on the number of phases, and few phases are quick to compute.
        let coarse = Self {
            input_filter: self.input_filter.with_phases_max(4),
            output_filter: self.output_filter.with_phases_max(4),
            ..self.clone()
        };
        let (mut to_model, mut to_caller) = (coarse.input_resampler(), coarse.output_resampler());
        let (mut hop, input) = (vec![0.0; self.hop], vec![0.0; to_model.input_frames_max()]);
        let mut output = vec![0.0; to_caller.output_frames_max()];
        let (mut read, mut written, mut headroom) = (0, 0, 0);
        for _ in 0..HOPS {
            let (needed, given) = (to_model.input_frames_next(), to_caller.output_frames_next());
            read += needed;
            headroom = headroom.max(read - read.min(written));
            to_model.process(&input[..needed], &mut hop);
            to_caller.process(&hop, &mut output[..given]);
            written += given;
        }
        headroom + MARGIN
    }

    pub(crate) fn input_resampler(&self) -> InputResampler {
        let inner = self
            .input_filter
            .build(self.ratio, self.hop, FixedAsync::Output);
        let input_max = inner.input_frames_max();
        let mut resampler = InputResampler {
            inner,
            hop: self.hop,
            alignment_pad: self.alignment_pad,
            silence: 0,
            input_max,
        };
        resampler.reset();
        resampler
    }

    pub(crate) fn output_resampler(&self) -> OutputResampler {
        OutputResampler {
            inner: self
                .output_filter
                .build(1.0 / self.ratio, self.hop, FixedAsync::Input),
        }
    }
}

/// Resamples one channel from the caller's rate to hops at the model's rate.
pub(crate) struct InputResampler {
    inner: Async<f32>,
    hop: usize,
    alignment_pad: usize,
    /// samples of the pad that are left
    silence: usize,
    input_max: usize,
}

impl InputResampler {
    /// Caller samples that the next hop needs. Varies from hop to hop.
    pub(crate) fn input_frames_next(&self) -> usize {
        if self.silence >= self.hop {
            0
        } else {
            self.inner.input_frames_next()
        }
    }

    /// The maximum of [`Self::input_frames_next`].
    pub(crate) fn input_frames_max(&self) -> usize {
        self.input_max
    }

    /// Resamples `input_frames_next()` caller samples to one hop.
    pub(crate) fn process(&mut self, input: &[f32], hop: &mut [f32]) {
        let (pad, signal) = hop.split_at_mut(self.silence.min(self.hop));
        pad.fill(0.0);
        self.silence -= pad.len();
        if !signal.is_empty() {
            resample(&mut self.inner, input, signal);
        }
        self.size_next_hop();
    }

    pub(crate) fn reset(&mut self) {
        self.inner.reset();
        self.silence = self.alignment_pad;
        self.size_next_hop();
    }

    fn size_next_hop(&mut self) {
        let signal = self.hop.saturating_sub(self.silence);
        if signal > 0 {
            self.inner
                .set_chunk_size(signal)
                .expect("at most the size it was made with");
        }
    }
}

/// Resamples one channel from hops at the model's rate to the caller's rate.
pub(crate) struct OutputResampler {
    inner: Async<f32>,
}

impl OutputResampler {
    /// Caller samples of the next hop. Varies from hop to hop.
    pub(crate) fn output_frames_next(&self) -> usize {
        self.inner.output_frames_next()
    }

    /// The maximum of [`Self::output_frames_next`].
    pub(crate) fn output_frames_max(&self) -> usize {
        self.inner.output_frames_max()
    }

    /// Resamples one hop to `output_frames_next()` caller samples.
    pub(crate) fn process(&mut self, hop: &[f32], output: &mut [f32]) {
        resample(&mut self.inner, hop, output);
    }

    pub(crate) fn reset(&mut self) {
        self.inner.reset();
    }
}

fn resample(inner: &mut Async<f32>, input: &[f32], output: &mut [f32]) {
    let frames = output.len();
    let from = SequentialSlice::new(input, 1, input.len()).expect("one channel of this length");
    let mut to = SequentialSlice::new_mut(output, 1, frames).expect("one channel of this length");
    inner
        .process_into_buffer(&from, &mut to, None)
        .expect("the resampler gave these lengths");
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delay of the center of a slow pulse after both filters, caller samples.
    fn measured_delay(caller_hz: u32) -> f64 {
        let plan = RatePlan::new(caller_hz, 48_000, 480, 0);
        let (mut to_model, mut to_caller) = (plan.input_resampler(), plan.output_resampler());
        let center = f64::from(caller_hz) / 10.0;
        let width = 12.0 * (f64::from(caller_hz) / 48_000.0).max(1.0);
        let pulse = |at: f64| (-0.5 * ((at - center) / width).powi(2)).exp() as f32;
        let (mut at, mut hop) = (0, vec![0.0; 480]);
        let (mut sum, mut moment, mut place) = (0.0, 0.0, 0.0);
        while at < caller_hz as usize / 2 {
            let input: Vec<f32> = (at..at + to_model.input_frames_next())
                .map(|n| pulse(n as f64))
                .collect();
            at += input.len();
            to_model.process(&input, &mut hop);
            let mut output = vec![0.0; to_caller.output_frames_next()];
            to_caller.process(&hop, &mut output);
            for value in output {
                sum += f64::from(value);
                moment += place * f64::from(value);
                place += 1.0;
            }
        }
        moment / sum - center
    }

    #[test]
    fn measured_delay_equals_planned_delay() {
        for rate_hz in [
            8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 88_200, 96_000, 192_000,
        ] {
            let planned = RatePlan::new(rate_hz, 48_000, 480, 0).delay;
            let measured = measured_delay(rate_hz);
            assert!(
                (measured - planned).abs() < 1e-3,
                "{rate_hz} Hz: {measured} planned {planned}"
            );
            assert!(
                (planned - planned.round()).abs() < 1e-6,
                "{rate_hz} Hz: {planned} is not whole"
            );
        }
        for rate_hz in [8_001, 44_099, 47_999, 100_003] {
            let planned = RatePlan::new(rate_hz, 48_000, 480, 0).delay;
            let measured = measured_delay(rate_hz);
            assert!(
                (measured - planned).abs() < 1e-2,
                "{rate_hz} Hz: {measured} planned {planned}"
            );
        }
    }
}
