//! One model's way: caller's samples in, clean samples out. [`Flow::begin`], the minds, and
//! [`Flow::end`] are one hop.

use std::sync::Arc;

use crate::Error;
use crate::denoiser::{ChannelMode, DenoiserBuilder};
use crate::hop::Queue;
use crate::mask::Energies;
use crate::mind::{Channel, Mind};
use crate::model::Model;
use crate::resample::{RatePlan, ToCaller, ToModel};
use crate::stft::Transform;
use crate::wide::wide;

/// -300 dBFS: smaller samples enter the stages as silence, so that no denormal numbers arise.
const LEAST_AMPLITUDE: f32 = 1e-15;

/// What a model's latency is made of at a caller's rate.
pub(crate) struct Plan {
    model: Arc<Model>,
    transform: Transform,
    rates: Option<RatePlan>,
    /// silence that the output queues start with, so that they never run dry
    headroom: usize,
    latency: usize,
}

impl Plan {
    pub(crate) fn new(model: &Arc<Model>, options: &DenoiserBuilder) -> Self {
        let spec = model.spec();
        let between = spec.window() - spec.hop() + spec.lookahead() * spec.hop();
        let rates = (options.rate_hz != spec.rate_hz())
            .then(|| RatePlan::new(options.rate_hz, spec.rate_hz(), spec.hop(), between));
        let (headroom, delay) = match &rates {
            Some(rates) => (rates.headroom(), rates.delay()),
            // Whole hops are processed before they are asked for.
            None if options.whole_hops => (0, between),
            None => (spec.hop(), between),
        };
        Self {
            transform: Transform::new(spec),
            model: model.clone(),
            rates,
            headroom,
            latency: headroom + delay,
        }
    }

    /// Samples from input to output, caller's rate.
    pub(crate) fn latency(&self) -> usize {
        self.latency
    }

    /// Samples of a hop, model's rate.
    pub(crate) fn hop(&self) -> usize {
        self.model.spec().hop()
    }

    /// Whether caller's hops are the model's.
    pub(crate) fn is_at_models_rate(&self) -> bool {
        self.rates.is_none()
    }
}

/// See the module.
pub(crate) struct Flow {
    model: Arc<Model>,
    lanes: Vec<Lane>,
    channels: Vec<Channel>,
    minds: Vec<Mind>,
    headroom: usize,
    /// caller samples gathered for the next hop, and how many it needs
    fill: usize,
    need: usize,
    power_scale: f32,
}

/// What each channel has of its own at the caller's rate.
struct Lane {
    rates: Option<(ToModel, ToCaller)>,
    /// [largest need] input of the hop to come, caller's rate
    gathered: Vec<f32>,
    /// [hop] model's rate
    hop: Vec<f32>,
    /// [largest gift] output of the latest hop, caller's rate
    resampled: Vec<f32>,
    clean: Queue,
}

/// What a hop was like, over all channels.
pub(crate) struct Heard {
    pub(crate) energies: Energies,
    /// turns sums of `energies` into a mean square
    pub(crate) scale: f32,
    /// probability, of the likeliest channel
    pub(crate) speech: f32,
    pub(crate) failed: bool,
}

impl Flow {
    /// A flow that takes `latency` samples, at least those of the plan.
    pub(crate) fn new(
        plan: &Plan,
        options: &DenoiserBuilder,
        latency: usize,
    ) -> Result<Self, Error> {
        let spec = plan.model.spec();
        let headroom = plan.headroom + latency - plan.latency;
        let lane = || {
            let rates = plan
                .rates
                .as_ref()
                .map(|plan| (plan.to_model(), plan.to_caller()));
            let (need_max, gives_max) = rates
                .as_ref()
                .map_or((spec.hop(), spec.hop()), |(up, down)| {
                    (up.need_max(), down.gives_max())
                });
            Lane {
                rates,
                gathered: vec![0.0; need_max],
                hop: vec![0.0; spec.hop()],
                resampled: vec![0.0; gives_max],
                clean: Queue::new(headroom + 4 * gives_max),
            }
        };
        let shared = match options.channel_mode {
            ChannelMode::Independent => 1,
            ChannelMode::Linked => options.channels,
        };
        let power_scale = plan.transform.power_scale();
        let minds = (0..options.channels).step_by(shared).map(|first| {
            Mind::new(
                &plan.model,
                first..first + shared,
                power_scale,
                options.attenuation_db,
                options.gate,
            )
        });
        let channels = (0..options.channels).map(|_| Channel::new(spec, &plan.transform));
        let mut flow = Self {
            model: plan.model.clone(),
            lanes: (0..options.channels).map(|_| lane()).collect(),
            channels: channels.collect(),
            minds: minds.collect::<Result<_, Error>>()?,
            headroom,
            fill: 0,
            need: 0,
            power_scale: power_scale / options.channels as f32,
        };
        flow.reset();
        Ok(flow)
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Empties every stage.
    pub(crate) fn reset(&mut self) {
        for lane in &mut self.lanes {
            if let Some((up, down)) = &mut lane.rates {
                up.reset();
                down.reset();
            }
            lane.clean.prime(self.headroom);
        }
        for channel in &mut self.channels {
            channel.reset();
        }
        for mind in &mut self.minds {
            mind.reset();
        }
        self.fill = 0;
        self.need = self.lanes[0].need();
    }

    pub(crate) fn set_attenuation_db(&mut self, attenuation_db: f32) {
        for mind in &mut self.minds {
            mind.set_attenuation_db(attenuation_db);
        }
    }

    /// The most samples of a channel that a hop needs.
    pub(crate) fn need_max(&self) -> usize {
        self.lanes[0].gathered.len()
    }

    /// Samples of each channel until a hop is due.
    pub(crate) fn room(&self) -> usize {
        self.need - self.fill
    }

    pub(crate) fn is_due(&self) -> bool {
        self.fill == self.need
    }

    /// Takes the next samples of one channel, at most [`Self::room`].
    pub(crate) fn hear(&mut self, channel: usize, samples: &[f32]) {
        let gathered = &mut self.lanes[channel].gathered[self.fill..];
        gather(samples, gathered);
    }

    /// Every channel has taken `samples`.
    pub(crate) fn advance(&mut self, samples: usize) {
        self.fill += samples;
    }

    /// Writes the next samples of one channel.
    pub(crate) fn say(&mut self, channel: usize, samples: &mut [f32]) {
        self.lanes[channel].clean.pop(samples);
    }

    /// First half of a hop that is due: caller's samples, model's rate, spectrum.
    pub(crate) fn begin(&mut self) {
        for (lane, channel) in self.lanes.iter_mut().zip(&mut self.channels) {
            let gathered = &lane.gathered[..self.need];
            channel.hear(match &mut lane.rates {
                Some((up, _)) => {
                    up.run(gathered, &mut lane.hop);
                    &lane.hop
                }
                None => gathered,
            });
        }
    }

    /// How many minds have to think between the halves.
    pub(crate) fn minds(&self) -> usize {
        self.minds.len()
    }

    /// One of them, and the channels of all.
    pub(crate) fn mind(&mut self, at: usize) -> (&mut Mind, &mut [Channel]) {
        (&mut self.minds[at], &mut self.channels)
    }

    /// Second half of a hop: spectrum, and back to the caller's samples.
    pub(crate) fn end(&mut self) -> Heard {
        for (lane, channel) in self.lanes.iter_mut().zip(&mut self.channels) {
            channel.say(&mut lane.hop);
            let output = match &mut lane.rates {
                Some((_, down)) => {
                    let output = &mut lane.resampled[..down.gives()];
                    down.run(&lane.hop, output);
                    &*output
                }
                None => &lane.hop,
            };
            lane.clean.push(output);
        }
        self.fill = 0;
        self.need = self.lanes[0].need();
        let mut heard = Heard {
            energies: Energies::default(),
            scale: self.power_scale,
            speech: 0.0,
            failed: false,
        };
        for mind in &self.minds {
            heard.energies += mind.energies();
            heard.speech = heard.speech.max(mind.speech());
            heard.failed |= mind.failed();
        }
        heard
    }
}

impl Lane {
    fn need(&self) -> usize {
        self.rates
            .as_ref()
            .map_or(self.hop.len(), |(up, _)| up.need())
    }
}

wide! {
    fn gather<'a>(samples: &'a [f32], gathered: &'a mut [f32]) {
        for (to, x) in gathered.iter_mut().zip(samples) {
            *to = if x.abs() < LEAST_AMPLITUDE { 0.0 } else { *x };
        }
    }
}
