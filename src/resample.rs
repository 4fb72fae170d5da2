//! Streaming resampling between the caller's rate and the model's rate, with a delay known in samples.
//!
//! Both directions use windowed-sinc filters. Where the greatest common divisor of the rates is large
//! enough, a table has a filter for each position that occurs ([`polyphase`]). For other rates, rubato
//! interpolates a fine table with cubic polynomials.

mod polyphase;
mod table;

use audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, Resizable as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction, calculate_cutoff,
};

use polyphase::Polyphase;
use table::{Design, Table};

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
    /// input samples from an output to the next one, in units of 1/phases; `None` for interpolation
    step: Option<usize>,
    /// relative to the Nyquist frequency of the input
    cutoff: f64,
}

impl Filter {
    /// A filter from `input_hz` to `output_hz`.
    fn new(input_hz: u32, output_hz: u32) -> Self {
        let shared = gcd(input_hz, output_hz);
        let (step, phases) = ((input_hz / shared) as usize, output_hz / shared);
        let lower_hz = input_hz.min(output_hz);
        let taps = SINC_LEN * f64::from(input_hz) / f64::from(lower_hz);
        let (phases, step) = if phases <= MAX_PHASES {
            (phases as usize, Some(step))
        } else {
            (INTERPOLATED_PHASES, None)
        };
        Self {
            taps: (taps.ceil() as usize).next_multiple_of(8),
            phases,
            step,
            cutoff: f64::from(lower_hz) / f64::from(input_hz),
        }
    }

    /// Delay of the center of an impulse in input samples, for `step` input samples per output.
    ///
    /// The first output lies one step and one phase after half the filter. The law `alignment` and the
    /// test `measured_delay_equals_planned_delay` hold this.
    fn delay(&self, step: f64) -> f64 {
        (self.taps / 2) as f64 - step - 1.0 / self.phases as f64
    }

    /// `inputs_max`: the largest number of inputs of a run, for filters of a table.
    fn build(&self, ratio: f64, hop: usize, fixed: FixedAsync, inputs_max: usize) -> Resampler {
        let window = WindowFunction::BlackmanHarris;
        match self.step {
            Some(step) => {
                let cutoff: f64 = calculate_cutoff(self.taps, window);
                let table = Table::shared(Design {
                    taps: self.taps,
                    phases: self.phases,
                    cutoff: cutoff * self.cutoff,
                });
                Resampler::Polyphase(Polyphase::new(table, step, inputs_max))
            }
            None => {
                let parameters = SincInterpolationParameters::new(self.taps, window)
                    .oversampling_factor(self.phases)
                    .interpolation(SincInterpolationType::Cubic);
                let resampler = Async::new_sinc(ratio, 1.0, &parameters, hop, 1, fixed)
                    .expect("ratio and hop come from a checked rate and a checked manifest");
                Resampler::Interpolated(resampler)
            }
        }
    }
}

/// A filter with its past inputs.
enum Resampler {
    Polyphase(Polyphase),
    Interpolated(Async<f32>),
}

impl Resampler {
    fn process(&mut self, input: &[f32], output: &mut [f32]) {
        let inner = match self {
            Self::Polyphase(inner) => return inner.process(input, output),
            Self::Interpolated(inner) => inner,
        };
        let frames = output.len();
        let from = SequentialSlice::new(input, 1, input.len()).expect("one channel of this length");
        let mut to =
            SequentialSlice::new_mut(output, 1, frames).expect("one channel of this length");
        inner
            .process_into_buffer(&from, &mut to, None)
            .expect("the resampler gave these lengths");
    }

    fn reset(&mut self) {
        match self {
            Self::Polyphase(inner) => inner.reset(),
            Self::Interpolated(inner) => inner.reset(),
        }
    }
}

impl RatePlan {
    /// Plans `caller_hz` around a model at `model_hz` whose stages between the two resamplers
    /// work in hops of `hop` samples and delay by `between` model samples.
    pub(crate) fn new(caller_hz: u32, model_hz: u32, hop: usize, between: usize) -> Self {
        let shared = gcd(caller_hz, model_hz);
        let (caller_steps, model_steps) = (caller_hz / shared, model_hz / shared);
        let input_filter = Filter::new(caller_hz, model_hz);
        let mut output_filter = Filter::new(model_hz, caller_hz);
        let mut alignment_pad = 0;
        if input_filter.step.is_some() && output_filter.step.is_some() {
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
        // In f64, and added up sample by sample: the rounding of these sums is a part of the latency of a
        // rate, which stays as it is.
        let step = 1.0 / self.ratio;
        let (input_taps, output_taps) = (self.input_filter.taps, self.output_filter.taps);
        let start = |taps: usize| -(taps as f64 - 1.0);
        let (mut input_at, mut output_at) = (start(input_taps), start(output_taps));
        let advance = |at: f64, step: f64, samples: usize| (0..samples).fold(at, |at, _| at + step);
        let (mut silence, mut read, mut written, mut headroom) = (self.alignment_pad, 0, 0, 0);
        for _ in 0..HOPS {
            let signal = self.hop - silence.min(self.hop);
            if signal > 0 {
                let end = input_at + signal as f64 * step + input_taps as f64;
                let needed = end.ceil().max(0.0) as usize;
                read += needed;
                input_at = advance(input_at, step, signal) - needed as f64;
            }
            silence -= self.hop - signal;
            headroom = headroom.max(read - read.min(written));
            let space = self.hop as f64 - (output_taps + 1) as f64 - output_at;
            let given = (space / (1.0 / step)).floor().max(0.0) as usize;
            output_at = advance(output_at, 1.0 / step, given) - self.hop as f64;
            written += given;
        }
        headroom + MARGIN
    }

    /// Hops that are complete before the first input, or with little of it.
    pub(crate) fn silent_hops(&self) -> usize {
        self.alignment_pad.div_ceil(self.hop)
    }

    pub(crate) fn input_resampler(&self) -> InputResampler {
        let input_max = (self.hop as f64 / self.ratio).ceil() as usize + 3;
        let inner = self
            .input_filter
            .build(self.ratio, self.hop, FixedAsync::Output, input_max);
        let mut resampler = InputResampler {
            input_max: match &inner {
                Resampler::Polyphase(_) => input_max,
                Resampler::Interpolated(inner) => inner.input_frames_max(),
            },
            inner,
            hop: self.hop,
            alignment_pad: self.alignment_pad,
            silence: 0,
        };
        resampler.reset();
        resampler
    }

    pub(crate) fn output_resampler(&self) -> OutputResampler {
        let ratio = 1.0 / self.ratio;
        let inner = self
            .output_filter
            .build(ratio, self.hop, FixedAsync::Input, self.hop);
        OutputResampler {
            output_max: match &inner {
                Resampler::Polyphase(_) => (self.hop as f64 * ratio).ceil() as usize + 2,
                Resampler::Interpolated(inner) => inner.output_frames_max(),
            },
            inner,
            hop: self.hop,
        }
    }
}

/// Resamples one channel from the caller's rate to hops at the model's rate.
pub(crate) struct InputResampler {
    inner: Resampler,
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
            return 0;
        }
        match &self.inner {
            Resampler::Polyphase(inner) => inner.inputs_for(self.hop - self.silence),
            Resampler::Interpolated(inner) => inner.input_frames_next(),
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
            self.inner.process(input, signal);
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
        if let (Resampler::Interpolated(inner), 1..) = (&mut self.inner, signal) {
            inner
                .set_chunk_size(signal)
                .expect("at most the size it was made with");
        }
    }
}

/// Resamples one channel from hops at the model's rate to the caller's rate.
pub(crate) struct OutputResampler {
    inner: Resampler,
    hop: usize,
    output_max: usize,
}

impl OutputResampler {
    /// Caller samples of the next hop. Varies from hop to hop.
    pub(crate) fn output_frames_next(&self) -> usize {
        match &self.inner {
            Resampler::Polyphase(inner) => inner.outputs_for(self.hop),
            Resampler::Interpolated(inner) => inner.output_frames_next(),
        }
    }

    /// The maximum of [`Self::output_frames_next`].
    pub(crate) fn output_frames_max(&self) -> usize {
        self.output_max
    }

    /// Resamples one hop to `output_frames_next()` caller samples.
    pub(crate) fn process(&mut self, hop: &[f32], output: &mut [f32]) {
        self.inner.process(hop, output);
    }

    pub(crate) fn reset(&mut self) {
        self.inner.reset();
    }
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

    /// The outputs of `resampler` for noise, in hops of 480 samples.
    fn outputs(mut resampler: Resampler) -> Vec<f32> {
        let mut random = quietwire_testing::Random::new(5);
        let (mut hop, mut outputs) = (vec![0.0; 480], Vec::new());
        for _ in 0..20 {
            let needed = match &resampler {
                Resampler::Polyphase(inner) => inner.inputs_for(480),
                Resampler::Interpolated(inner) => inner.input_frames_next(),
            };
            let noise = || random.uniform() as f32 - 0.5;
            let input: Vec<f32> = std::iter::repeat_with(noise).take(needed).collect();
            resampler.process(&input, &mut hop);
            outputs.extend_from_slice(&hop);
        }
        outputs
    }

    #[test]
    fn filters_of_a_table_are_those_of_rubato() {
        for (input_hz, output_hz) in [
            (8_000, 48_000),
            (11_025, 48_000),
            (16_000, 48_000),
            (44_100, 48_000),
            (48_000, 44_100),
            (48_000, 16_000),
            (192_000, 48_000),
        ] {
            let filter = Filter::new(input_hz, output_hz);
            let ratio = f64::from(output_hz) / f64::from(input_hz);
            let parameters =
                SincInterpolationParameters::new(filter.taps, WindowFunction::BlackmanHarris)
                    .oversampling_factor(filter.phases)
                    .interpolation(SincInterpolationType::Nearest);
            let rubato = Async::new_sinc(ratio, 1.0, &parameters, 480, 1, FixedAsync::Output);
            let expected = outputs(Resampler::Interpolated(rubato.unwrap()));
            let inputs_max = (480.0 / ratio) as usize + 3;
            let found = outputs(filter.build(ratio, 480, FixedAsync::Output, inputs_max));
            let energy =
                |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>();
            let error = energy(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
            let error_db = 10.0 * (error / energy(&mut expected.iter().copied())).log10();
            println!("{input_hz} to {output_hz} Hz: {error_db:.1} dB");
            assert!(
                error_db < -100.0,
                "{input_hz} to {output_hz} Hz: {error_db:.1} dB"
            );
        }
    }

    /// The headroom for the counts of rubato's resamplers, which set the latency of each rate.
    fn rubato_headroom(plan: &RatePlan) -> usize {
        let make = |filter: &Filter, ratio: f64, fixed: FixedAsync| {
            let parameters =
                SincInterpolationParameters::new(filter.taps, WindowFunction::BlackmanHarris)
                    .oversampling_factor(4)
                    .interpolation(SincInterpolationType::Nearest);
            Async::<f32>::new_sinc(ratio, 1.0, &parameters, plan.hop, 1, fixed).unwrap()
        };
        let to_model = make(&plan.input_filter, plan.ratio, FixedAsync::Output);
        let to_caller = make(&plan.output_filter, 1.0 / plan.ratio, FixedAsync::Input);
        let mut to_model = InputResampler {
            input_max: to_model.input_frames_max(),
            inner: Resampler::Interpolated(to_model),
            hop: plan.hop,
            alignment_pad: plan.alignment_pad,
            silence: 0,
        };
        to_model.reset();
        let mut to_caller = OutputResampler {
            output_max: to_caller.output_frames_max(),
            inner: Resampler::Interpolated(to_caller),
            hop: plan.hop,
        };
        let (mut hop, mut read, mut written, mut headroom) = (vec![0.0; plan.hop], 0usize, 0, 0);
        for _ in 0..24 {
            let (needed, given) = (to_model.input_frames_next(), to_caller.output_frames_next());
            read += needed;
            headroom = headroom.max(read.saturating_sub(written));
            written += given;
            to_model.process(&vec![0.0; needed], &mut hop);
            to_caller.process(&hop, &mut vec![0.0; given]);
        }
        headroom + 2
    }

    #[test]
    fn headroom_is_that_of_the_sums_of_rubato() {
        let rates = (8_000..=192_000).step_by(4_000);
        for rate_hz in rates.chain([11_025, 22_050, 44_100, 88_200, 44_099, 8_001]) {
            for (model_hz, hop) in [(48_000, 480), (16_000, 256)] {
                let plan = RatePlan::new(rate_hz, model_hz, hop, 0);
                assert_eq!(
                    plan.headroom(),
                    rubato_headroom(&plan),
                    "{rate_hz} {model_hz}"
                );
            }
        }
    }

    #[test]
    fn counts_of_samples_stay_within_the_headroom() {
        for rate_hz in (8_000..=192_000)
            .step_by(500)
            .chain([11_025, 22_050, 44_100, 88_200])
        {
            let plan = RatePlan::new(rate_hz, 48_000, 480, 480);
            let (mut to_model, mut to_caller) = (plan.input_resampler(), plan.output_resampler());
            let (mut hop, mut written) = (vec![0.0; 480], plan.headroom());
            for _ in 0..40 {
                let needed = to_model.input_frames_next();
                assert!(needed <= to_model.input_frames_max(), "{rate_hz} Hz");
                to_model.process(&vec![0.0; needed], &mut hop);
                written = written
                    .checked_sub(needed)
                    .unwrap_or_else(|| panic!("{rate_hz} Hz"));
                let given = to_caller.output_frames_next();
                assert!(given <= to_caller.output_frames_max(), "{rate_hz} Hz");
                to_caller.process(&hop, &mut vec![0.0; given]);
                written += given;
            }
        }
    }
}
