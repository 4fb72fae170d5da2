//! One model's path from caller samples to clean caller samples. [`Pipeline::begin_hop`], a run of
//! each [`ChannelGroup`] and [`Pipeline::finish_hop`] are one hop.

use std::sync::Arc;

use crate::error::Error;
use crate::fifo::Fifo;
use crate::hop_powers::HopPowers;
use crate::inference::{ChannelGroup, SpectralChannel};
use crate::model::Model;
use crate::options::{AttenuationLimit, ChannelMode, DenoiserOptions};
use crate::resample::{InputResampler, OutputResampler, RatePlan};
use crate::simd::simd_dispatch;
use crate::stft::Transform;

/// -300 dBFS. Smaller samples are replaced by 0, so that no stage computes with denormal numbers.
const DENORMAL_THRESHOLD: f32 = 1e-15;

/// The latency of one model at a caller rate, and its parts.
pub(crate) struct PipelinePlan {
    model: Arc<Model>,
    transform: Arc<Transform>,
    rates: Option<RatePlan>,
    /// initial silence of the output FIFOs, so that they never run empty
    headroom: usize,
    latency: usize,
}

impl PipelinePlan {
    pub(crate) fn new(model: &Arc<Model>, rate_hz: u32, hop_aligned: bool) -> Self {
        let manifest = model.manifest();
        let delay = manifest.window() - manifest.hop() + manifest.lookahead() * manifest.hop();
        let rates = (rate_hz != manifest.rate_hz())
            .then(|| RatePlan::new(rate_hz, manifest.rate_hz(), manifest.hop(), delay));
        let (headroom, delay) = match &rates {
            Some(rates) => (rates.headroom(), rates.delay()),
            // The hops of a block of whole hops run before their output is needed.
            None if hop_aligned => (0, delay),
            None => (manifest.hop(), delay),
        };
        Self {
            transform: Transform::shared(manifest),
            model: model.clone(),
            rates,
            headroom,
            latency: headroom + delay,
        }
    }

    /// Samples from input to output, at the caller's rate.
    pub(crate) fn latency(&self) -> usize {
        self.latency
    }

    /// Samples of a hop, at the model's rate.
    pub(crate) fn hop(&self) -> usize {
        self.model.manifest().hop()
    }

    /// Whether the caller's rate is the model's.
    pub(crate) fn is_at_model_rate(&self) -> bool {
        self.rates.is_none()
    }
}

/// See the module.
pub(crate) struct Pipeline {
    model: Arc<Model>,
    /// [channels]
    rates: Vec<ChannelRates>,
    /// [channels]
    channels: Vec<SpectralChannel>,
    groups: Vec<ChannelGroup>,
    headroom: usize,
    /// caller samples per channel that were pushed for the next hop, and that it needs
    pushed: usize,
    needed: usize,
    power_scale: f32,
}

/// The samples of one channel, at the caller's rate.
struct ChannelRates {
    resamplers: Option<(InputResampler, OutputResampler)>,
    /// [maximum of needed] input of the next hop, caller's rate
    input: Vec<f32>,
    /// [hop] model's rate
    hop: Vec<f32>,
    /// [maximum of a hop's output] output of the latest hop, caller's rate
    resampled: Vec<f32>,
    output: Fifo,
}

/// Measurements of one hop over all channels.
pub(crate) struct HopReport {
    pub(crate) powers: HopPowers,
    /// turns the sums of `powers` into mean squares
    pub(crate) power_scale: f32,
    /// largest probability of speech of all channels
    pub(crate) speech: Option<f32>,
    pub(crate) failed: bool,
}

impl Pipeline {
    /// A pipeline with a latency of `latency` samples, at least that of the plan.
    pub(crate) fn new(
        plan: &PipelinePlan,
        options: &DenoiserOptions,
        latency: usize,
    ) -> Result<Self, Error> {
        let manifest = plan.model.manifest();
        let headroom = plan.headroom + latency - plan.latency;
        let silent_hops = plan.rates.as_ref().map_or(0, RatePlan::silent_hops);
        let channel_rates = || {
            let resamplers = plan
                .rates
                .as_ref()
                .map(|plan| (plan.input_resampler(), plan.output_resampler()));
            let (input_max, output_max) = resamplers
                .as_ref()
                .map_or((manifest.hop(), manifest.hop()), |(input, output)| {
                    (input.input_frames_max(), output.output_frames_max())
                });
            ChannelRates {
                resamplers,
                input: vec![0.0; input_max],
                hop: vec![0.0; manifest.hop()],
                resampled: vec![0.0; output_max],
                output: Fifo::new(headroom + (4 + silent_hops) * output_max),
            }
        };
        let group_size = match options.channel_mode {
            ChannelMode::Independent => 1,
            ChannelMode::Linked => options.channels,
        };
        let power_scale = plan.transform.power_scale();
        let groups = (0..options.channels).step_by(group_size).map(|first| {
            ChannelGroup::new(&plan.model, options, first..first + group_size, power_scale)
        });
        let channel = |_| SpectralChannel::new(manifest, &plan.transform);
        let mut pipeline = Self {
            model: plan.model.clone(),
            rates: (0..options.channels).map(|_| channel_rates()).collect(),
            channels: (0..options.channels).map(channel).collect(),
            groups: groups.collect::<Result<_, Error>>()?,
            headroom,
            pushed: 0,
            needed: 0,
            power_scale: power_scale / options.channels as f32,
        };
        pipeline.reset();
        Ok(pipeline)
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Empties every stage.
    pub(crate) fn reset(&mut self) {
        for channel in &mut self.rates {
            if let Some((input, output)) = &mut channel.resamplers {
                input.reset();
                output.reset();
            }
            channel.output.prime(self.headroom);
        }
        for channel in &mut self.channels {
            channel.reset();
        }
        for group in &mut self.groups {
            group.reset();
        }
        self.pushed = 0;
        self.needed = self.rates[0].input_frames_next();
    }

    pub(crate) fn set_limit(&mut self, limit: AttenuationLimit) {
        for group in &mut self.groups {
            group.set_limit(limit);
        }
    }

    /// The engine's reason for the latest failure of one of the stream's own sessions.
    pub(crate) fn last_failure(&self) -> Option<String> {
        self.groups.iter().find_map(ChannelGroup::last_failure)
    }

    /// The largest number of caller samples per channel that a hop needs.
    pub(crate) fn input_frames_max(&self) -> usize {
        self.rates[0].input.len()
    }

    /// Samples per channel until a hop is due.
    pub(crate) fn frames_until_hop(&self) -> usize {
        self.needed - self.pushed
    }

    pub(crate) fn is_due(&self) -> bool {
        self.pushed == self.needed
    }

    /// Pushes the next samples of one channel, at most [`Self::frames_until_hop`].
    pub(crate) fn push(&mut self, channel: usize, samples: &[f32]) {
        let input = &mut self.rates[channel].input[self.pushed..];
        flush_denormals(samples, input);
    }

    /// Ends a push of `frames` samples to each channel.
    pub(crate) fn advance(&mut self, frames: usize) {
        self.pushed += frames;
    }

    /// Pops the next samples of one channel.
    pub(crate) fn pop(&mut self, channel: usize, samples: &mut [f32]) {
        self.rates[channel].output.pop(samples);
    }

    /// First half of a hop that is due: caller samples to spectra.
    pub(crate) fn begin_hop(&mut self) {
        for (rates, channel) in self.rates.iter_mut().zip(&mut self.channels) {
            let input = &rates.input[..self.needed];
            channel.analyze(match &mut rates.resamplers {
                Some((resampler, _)) => {
                    resampler.process(input, &mut rates.hop);
                    &rates.hop
                }
                None => input,
            });
        }
    }

    /// Channel groups. Each runs one inference between the two halves of a hop.
    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Whether the groups can take part in the steps of a batch.
    pub(crate) fn can_batch(&self) -> bool {
        self.groups.iter().all(ChannelGroup::can_batch)
    }

    /// One group, and the channels of all groups.
    pub(crate) fn group(&mut self, at: usize) -> (&mut ChannelGroup, &mut [SpectralChannel]) {
        (&mut self.groups[at], &mut self.channels)
    }

    /// Second half of a hop: spectra to caller samples.
    pub(crate) fn finish_hop(&mut self) -> HopReport {
        for (rates, channel) in self.rates.iter_mut().zip(&mut self.channels) {
            channel.synthesize(&mut rates.hop);
            let output = match &mut rates.resamplers {
                Some((_, resampler)) => {
                    let output = &mut rates.resampled[..resampler.output_frames_next()];
                    resampler.process(&rates.hop, output);
                    &*output
                }
                None => &rates.hop,
            };
            rates.output.push(output);
        }
        self.pushed = 0;
        self.needed = self.rates[0].input_frames_next();
        let mut report = HopReport {
            powers: HopPowers::default(),
            power_scale: self.power_scale,
            speech: None,
            failed: false,
        };
        for group in &self.groups {
            report.powers += group.powers();
            report.speech = report
                .speech
                .into_iter()
                .chain(group.speech())
                .reduce(f32::max);
            report.failed |= group.failed();
        }
        report
    }
}

impl ChannelRates {
    fn input_frames_next(&self) -> usize {
        self.resamplers
            .as_ref()
            .map_or(self.hop.len(), |(input, _)| input.input_frames_next())
    }
}

simd_dispatch! {
    fn flush_denormals<'a>(samples: &'a [f32], out: &'a mut [f32]) {
        for (to, x) in out.iter_mut().zip(samples) {
            *to = if x.abs() < DENORMAL_THRESHOLD { 0.0 } else { *x };
        }
    }
}
