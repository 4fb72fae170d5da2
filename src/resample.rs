//! Caller's rate to the model's rate and back, streaming, with a delay known in samples.
//!
//! Both directions are rubato's windowed-sinc resampler. Where the two rates share a large enough
//! divisor its table holds exactly the phases that occur, so nothing is interpolated; other rates
//! take cubic interpolation of a fine table.

use audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, Resizable as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

/// Filter length in samples of the lower of the two rates. With a Blackman-Harris window: flat to
/// 0.84 of that rate's Nyquist frequency, -1 dB at 0.89, images and aliases below -109 dB.
const LENGTH: f64 = 96.0;
/// Above this many phases the table is interpolated instead.
const MOST_PHASES: u32 = 640;
const INTERPOLATED_PHASES: usize = 256;

/// How one caller rate is brought to the model's and back, and what that costs in time.
#[derive(Debug, Clone)]
pub(crate) struct RatePlan {
    /// Model samples a caller sample.
    ratio: f64,
    hop: usize,
    up: Filter,
    down: Filter,
    /// Model-rate samples of silence before the first hop, which make the whole delay a whole
    /// number of caller samples.
    pad: usize,
    /// Delay of filters, pad and the stages between, caller samples.
    delay: f64,
}

#[derive(Debug, Clone)]
struct Filter {
    taps: usize,
    phases: usize,
    interpolation: SincInterpolationType,
}

impl Filter {
    /// A filter whose outputs fall on `steps` different positions between two inputs.
    fn new(input_hz: u32, lower_hz: u32, steps: u32) -> Self {
        let taps = LENGTH * f64::from(input_hz) / f64::from(lower_hz);
        let (phases, interpolation) = if steps <= MOST_PHASES {
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

    /// Input samples from an impulse to its middle in the output, `step` input samples an output.
    ///
    /// rubato's first output stands one step and one phase past half a filter; the law
    /// `alignment` and `delay_is_where_planned` pin this.
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
        let up = Filter::new(caller_hz, lower_hz, model_steps);
        let mut down = Filter::new(model_hz, lower_hz, caller_steps);
        let mut pad = 0;
        if up.phases == model_steps as usize && down.phases == caller_steps as usize {
            // In units of 1/model_steps caller samples the delay is, up to whole samples,
            // caller_steps * (between + pad + down.taps / 2 - 1) - 2.
            let (caller, model) = (u64::from(caller_steps), u64::from(model_steps));
            let whole = |pad: &usize| {
                let samples = (between + *pad + down.taps / 2 - 1) as u64;
                (caller * samples) % model == 2 % model
            };
            pad = (0..model_steps as usize)
                .find(whole)
                .expect("the steps share no divisor, so one of model_steps pads fits");
            // Time that is spent anyway is better spent on a longer filter.
            let longer = (pad / 4 * 8).min(2 * down.taps);
            down.taps += longer;
            pad -= longer / 2;
        }
        let step = f64::from(caller_steps) / f64::from(model_steps);
        let model_delay = (between + pad) as f64 + down.delay(1.0 / step);
        let delay = up.delay(step) + step * model_delay;
        Self {
            ratio: 1.0 / step,
            hop,
            up,
            down,
            pad,
            delay,
        }
    }

    /// Delay of filters, pad and the stages between, in caller samples: exact for rates whose
    /// ratio to the model's is a fraction of small numbers, else rounded by less than half a sample.
    pub(crate) fn delay(&self) -> usize {
        self.delay.round().max(0.0) as usize
    }

    /// Silence, in caller samples, that a queue behind both directions needs so that it always
    /// holds what the input of the next hop asks of it.
    pub(crate) fn headroom(&self) -> usize {
        /// Long enough to fill both filters; after that, counts vary by one at most.
        const HOPS: usize = 24;
        const MARGIN: usize = 2;
        let (mut up, mut down) = (self.to_model(), self.to_caller());
        let (mut hop, input) = (vec![0.0; self.hop], vec![0.0; up.need_max()]);
        let mut output = vec![0.0; down.gives_max()];
        let (mut taken, mut given, mut most) = (0, 0, 0);
        for _ in 0..HOPS {
            let (need, gives) = (up.need(), down.gives());
            taken += need;
            most = most.max(taken - taken.min(given));
            up.run(&input[..need], &mut hop);
            down.run(&hop, &mut output[..gives]);
            given += gives;
        }
        most + MARGIN
    }

    pub(crate) fn to_model(&self) -> ToModel {
        let inner = self.up.build(self.ratio, self.hop, FixedAsync::Output);
        let most = inner.input_frames_max();
        let mut to_model = ToModel {
            inner,
            hop: self.hop,
            pad: self.pad,
            silence: 0,
            most,
        };
        to_model.reset();
        to_model
    }

    pub(crate) fn to_caller(&self) -> ToCaller {
        ToCaller {
            inner: self
                .down
                .build(1.0 / self.ratio, self.hop, FixedAsync::Input),
        }
    }
}

/// Caller's samples in, hops of the model's rate out. One channel.
pub(crate) struct ToModel {
    inner: Async<f32>,
    hop: usize,
    pad: usize,
    /// Samples of `pad` still to come.
    silence: usize,
    most: usize,
}

impl ToModel {
    /// Caller samples that the next hop needs; changes from hop to hop.
    pub(crate) fn need(&self) -> usize {
        if self.silence >= self.hop {
            0
        } else {
            self.inner.input_frames_next()
        }
    }

    /// The most that `need` ever says.
    pub(crate) fn need_max(&self) -> usize {
        self.most
    }

    /// Turns `need()` caller samples into one hop.
    pub(crate) fn run(&mut self, input: &[f32], hop: &mut [f32]) {
        let (quiet, sound) = hop.split_at_mut(self.silence.min(self.hop));
        quiet.fill(0.0);
        self.silence -= quiet.len();
        if !sound.is_empty() {
            resample(&mut self.inner, input, sound);
        }
        self.size_next_hop();
    }

    pub(crate) fn reset(&mut self) {
        self.inner.reset();
        self.silence = self.pad;
        self.size_next_hop();
    }

    fn size_next_hop(&mut self) {
        let sound = self.hop.saturating_sub(self.silence);
        if sound > 0 {
            self.inner
                .set_chunk_size(sound)
                .expect("at most the size it was made with");
        }
    }
}

/// Hops of the model's rate in, caller's samples out. One channel.
pub(crate) struct ToCaller {
    inner: Async<f32>,
}

impl ToCaller {
    /// Caller samples that the next hop gives; changes from hop to hop.
    pub(crate) fn gives(&self) -> usize {
        self.inner.output_frames_next()
    }

    /// The most that `gives` ever says.
    pub(crate) fn gives_max(&self) -> usize {
        self.inner.output_frames_max()
    }

    /// Turns one hop into `gives()` caller samples.
    pub(crate) fn run(&mut self, hop: &[f32], output: &mut [f32]) {
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
        .expect("lengths were asked of the resampler");
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The middle of a slow pulse, in caller samples, after both filters.
    fn measured_delay(caller_hz: u32) -> f64 {
        let plan = RatePlan::new(caller_hz, 48_000, 480, 0);
        let (mut up, mut down) = (plan.to_model(), plan.to_caller());
        let centre = f64::from(caller_hz) / 10.0;
        let width = 12.0 * (f64::from(caller_hz) / 48_000.0).max(1.0);
        let pulse = |at: f64| (-0.5 * ((at - centre) / width).powi(2)).exp() as f32;
        let (mut at, mut hop) = (0, vec![0.0; 480]);
        let (mut sum, mut moment, mut place) = (0.0, 0.0, 0.0);
        while at < caller_hz as usize / 2 {
            let input: Vec<f32> = (at..at + up.need()).map(|n| pulse(n as f64)).collect();
            at += input.len();
            up.run(&input, &mut hop);
            let mut output = vec![0.0; down.gives()];
            down.run(&hop, &mut output);
            for value in output {
                sum += f64::from(value);
                moment += place * f64::from(value);
                place += 1.0;
            }
        }
        moment / sum - centre
    }

    #[test]
    fn delay_is_where_planned() {
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
