//! One stream: samples in, samples out. [`Denoiser::advance`] and [`Denoiser::hop`] are the whole
//! of it; a [`Batch`](crate::Batch) does what `hop` does for many streams at once.

mod builder;

use std::sync::Arc;

use crate::block::{Block, Interleaved, Planar, SilenceInto};
use crate::flow::{Flow, Plan};
use crate::hop::Queue;
use crate::model::Model;
use crate::switch::{Source, Switch};
use crate::wide::wide;
use crate::{Error, Telemetry};
use builder::check_attenuation;
pub use builder::{ChannelMode, DenoiserBuilder};

/// Input beyond this (+36 dBFS) is taken for damage and limited to it.
const MOST_AMPLITUDE: f32 = 64.0;

/// One live stream: any block in, the same number of samples out, [`latency`](Self::latency)
/// samples later.
///
/// Blocks may have any length, and cutting a signal into other blocks does not change one bit of
/// the output. Samples are f32 in [-1, 1]; NaN and infinite samples count as 0.
pub struct Denoiser {
    rate_hz: u32,
    hop_frames: usize,
    latency: usize,
    /// blocks must be whole hops
    whole_hops: bool,
    /// one for each model, the best first
    flows: Vec<Flow>,
    switch: Switch,
    /// the model that was chosen, and how many after it an overload has stepped down
    model: usize,
    steps_down: usize,
    bypassed: bool,
    attenuation_db: f32,
    /// [channels] the input on its way to the output
    delayed: Vec<Queue>,
    /// frames of the block that are done, and of the part that is being done
    at: usize,
    chunk: Option<usize>,
    /// whether a block is being taken on, and the first thing that went wrong with it
    in_block: bool,
    outcome: Result<(), Error>,
    /// [largest chunk] one channel's input, then its output
    heard: Vec<f32>,
    /// [largest chunk] one channel's signal that is faded to, or that nobody hears yet
    other: Vec<f32>,
    telemetry: Telemetry,
    hops: u64,
    missed_hops: u64,
    repaired: u64,
}

impl Denoiser {
    /// Starts from `model`, with one channel at the model's own rate.
    pub fn builder(model: Arc<Model>) -> DenoiserBuilder {
        DenoiserBuilder::new(model)
    }

    fn new(options: DenoiserBuilder) -> Result<Self, Error> {
        let models = std::iter::once(&options.model).chain(&options.alternatives);
        let plans: Vec<Plan> = models.map(|model| Plan::new(model, &options)).collect();
        let spec = options.model.spec();
        if options.whole_hops {
            let hop = |plan: &Plan| plan.is_at_models_rate().then(|| plan.hop());
            if plans.iter().any(|plan| hop(plan) != Some(spec.hop())) {
                return Err(Error::WholeHops {
                    rate_hz: options.rate_hz,
                });
            }
        }
        let latency = plans.iter().map(Plan::latency).max().unwrap_or(0);
        let flows = plans.iter().map(|plan| Flow::new(plan, &options, latency));
        let flows: Vec<Flow> = flows.collect::<Result<_, Error>>()?;
        let hop_frames = spec.hop() as u64 * u64::from(options.rate_hz) / u64::from(spec.rate_hz());
        let hop_frames = (hop_frames as usize).max(1);
        let chunk = flows.iter().map(Flow::need_max).max().unwrap_or(1);
        let step = if options.whole_hops { hop_frames } else { 1 };
        let off = options.bypass || options.attenuation_db == 0.0;
        let source = if off { Source::Dry } else { Source::Flow(0) };
        let mut denoiser = Self {
            rate_hz: options.rate_hz,
            hop_frames,
            latency,
            whole_hops: options.whole_hops,
            flows,
            switch: Switch::new(options.rate_hz, latency, step, source),
            model: 0,
            steps_down: 0,
            bypassed: options.bypass,
            attenuation_db: options.attenuation_db,
            delayed: vec![Queue::new(latency + chunk); options.channels],
            at: 0,
            chunk: None,
            in_block: false,
            outcome: Ok(()),
            heard: vec![0.0; chunk],
            other: vec![0.0; chunk],
            telemetry: Telemetry::SILENCE,
            hops: 0,
            missed_hops: 0,
            repaired: 0,
        };
        denoiser.reset();
        Ok(denoiser)
    }

    /// Samples per channel from a sound in the input to the same sound in the output, at the
    /// caller's rate: constant for the life of the stream, whether on, off or in between.
    pub fn latency(&self) -> usize {
        self.latency
    }

    /// The most that may be removed, dB; see [`set_attenuation_db`](Self::set_attenuation_db).
    pub fn attenuation_db(&self) -> f32 {
        self.attenuation_db
    }

    /// Sample rate of the caller's blocks, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Channels of the caller's blocks.
    pub fn channels(&self) -> usize {
        self.delayed.len()
    }

    /// The model in use, unless the stream is off or stepped down.
    pub fn model(&self) -> &Arc<Model> {
        self.flows[self.model].model()
    }

    /// The model that is heard now: another than [`model`](Self::model) while the stream is
    /// stepped down, none while the delayed input passes.
    pub fn model_heard(&self) -> Option<&Arc<Model>> {
        match self.switch.heard() {
            Source::Flow(flow) => Some(self.flows[flow].model()),
            Source::Dry => None,
        }
    }

    /// Caller samples per channel of one hop, rounded down: blocks of this length make at most one
    /// hop each, but for the first, which may make more while the stages fill.
    pub fn hop_frames(&self) -> usize {
        self.hop_frames
    }

    /// Cleans one interleaved block, `[frames][channels]`, into another of the same length.
    ///
    /// # Errors
    /// [`Error::BlockLength`] when the lengths differ or are not whole frames, or not whole hops
    /// where the stream takes only these: nothing was processed. [`Error::Inference`] when the
    /// model failed: the block is complete, with the delayed input in the place of the hops that
    /// failed.
    ///
    /// # Real-time
    /// No allocation, lock, log or syscall but the engine's own tensor allocations, once a hop.
    pub fn process(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), Error> {
        self.drive(Interleaved::new(Some(input), output, self.channels())?)
    }

    /// Like [`process`](Self::process), with the clean samples taking the place of the noisy ones.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    ///
    /// # Real-time
    /// As [`process`](Self::process).
    pub fn process_in_place(&mut self, block: &mut [f32]) -> Result<(), Error> {
        self.drive(Interleaved::new(None, block, self.channels())?)
    }

    /// Cleans one planar block, `[channels][frames]`, into another of the same shape.
    ///
    /// # Errors
    /// [`Error::ChannelSlices`] for another number of slices than channels; else as
    /// [`process`](Self::process).
    ///
    /// # Real-time
    /// As [`process`](Self::process).
    pub fn process_planar(
        &mut self,
        input: &[&[f32]],
        output: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        self.drive(Planar::new(Some(input), output, self.channels())?)
    }

    /// Like [`process_planar`](Self::process_planar), in place.
    ///
    /// # Errors
    /// As [`process_planar`](Self::process_planar).
    ///
    /// # Real-time
    /// As [`process`](Self::process).
    pub fn process_planar_in_place(&mut self, block: &mut [&mut [f32]]) -> Result<(), Error> {
        self.drive(Planar::new(None, block, self.channels())?)
    }

    /// Gives the end of the signal: the last `latency()` frames, interleaved. The stream goes on
    /// as if it had heard as much silence; [`reset`](Self::reset) begins another signal.
    ///
    /// # Errors
    /// [`Error::BlockLength`] when `tail` does not hold `latency() * channels()` samples; else as
    /// [`process`](Self::process).
    pub fn flush(&mut self, tail: &mut [f32]) -> Result<(), Error> {
        let expected = self.latency * self.channels();
        if tail.len() != expected {
            return Err(Error::BlockLength {
                expected,
                found: tail.len(),
            });
        }
        let channels = self.channels();
        self.drive(SilenceInto(Interleaved::new(None, tail, channels)?))
    }

    /// Forgets everything heard; settings stay. The stream then equals a new one with them.
    ///
    /// # Real-time
    /// No allocation, lock or syscall.
    pub fn reset(&mut self) {
        for delayed in &mut self.delayed {
            delayed.prime(self.latency);
        }
        self.switch.reset();
        for flow in &mut self.flows {
            flow.reset();
        }
        self.telemetry = Telemetry::SILENCE;
        self.hops = 0;
        self.missed_hops = 0;
        self.repaired = 0;
    }

    /// The most that may be removed, in dB from 0 (change nothing) to infinity (no limit): this
    /// much below the input a natural noise floor remains. Takes hold over 50 ms; 0 is as
    /// [`set_bypass`](Self::set_bypass).
    ///
    /// Nothing is turned down further than to 40 dB below the talker, or to the limit below the talker
    /// if that is more, nor at first, before anybody has talked, below -66 dBFS: a quiet room stays as it is.
    /// Without a limit there is no such floor.
    ///
    /// # Errors
    /// [`Error::Attenuation`] for a negative number or NaN; the old limit stays.
    ///
    /// # Real-time
    /// No allocation, lock or syscall.
    pub fn set_attenuation_db(&mut self, attenuation_db: f32) -> Result<(), Error> {
        check_attenuation(attenuation_db)?;
        self.attenuation_db = attenuation_db;
        for flow in &mut self.flows {
            flow.set_attenuation_db(attenuation_db);
        }
        self.update_source();
        Ok(())
    }

    /// Goes on with another of the stream's models: 0 is the builder's own, then its
    /// [alternatives](DenoiserBuilder::alternative) in their order. The new one hears the stream
    /// for `latency()` samples and 100 ms, then they cross-fade over 20 ms.
    ///
    /// # Errors
    /// [`Error::ModelIndex`] for a number that the stream has no model for; nothing changes.
    ///
    /// # Real-time
    /// No allocation, lock or syscall.
    pub fn set_model(&mut self, index: usize) -> Result<(), Error> {
        if index >= self.flows.len() {
            return Err(Error::ModelIndex {
                found: index,
                models: self.flows.len(),
            });
        }
        self.model = index;
        self.update_source();
        Ok(())
    }

    /// Off (true): the output is the input, bit by bit, with the same latency, and no stage runs.
    /// Cross-fades over 20 ms; going on again is heard `latency()` samples and 100 ms later, when
    /// the model has heard enough of the stream.
    ///
    /// # Real-time
    /// No allocation, lock or syscall.
    pub fn set_bypass(&mut self, bypass: bool) {
        self.bypassed = bypass;
        self.update_source();
    }

    /// Whether the stream was switched off; see [`set_bypass`](Self::set_bypass).
    pub fn bypass(&self) -> bool {
        self.bypassed
    }

    /// Whether what comes out is the delayed input, and nothing runs.
    pub fn is_dry(&self) -> bool {
        self.switch.heard() == Source::Dry && self.switch.fading_to().is_none()
    }

    /// The latest hop. While the stream is off it is the last one before.
    pub fn telemetry(&self) -> Telemetry {
        self.telemetry
    }

    /// Hops run since the start or the last reset.
    pub fn hops(&self) -> u64 {
        self.hops
    }

    /// Hops that were the delayed input because there was no time for the model; see
    /// [`Batch`](crate::Batch).
    pub fn missed_hops(&self) -> u64 {
        self.missed_hops
    }

    /// How far an overload has stepped the stream down from its model: by one for each
    /// alternative, and by one more for the delayed input.
    pub fn steps_down(&self) -> usize {
        self.steps_down
    }

    /// The most steps down that there are, from the model that was chosen.
    pub(crate) fn most_steps_down(&self) -> usize {
        self.flows.len() - self.model
    }

    pub(crate) fn set_steps_down(&mut self, steps: usize) {
        if steps > self.steps_down {
            // By way of the input, so that no two models run while there is no time for one.
            let woken = self.switch.set(Source::Dry);
            debug_assert!(woken.is_none(), "no stage runs for the input");
        }
        self.steps_down = steps;
        self.update_source();
    }

    fn update_source(&mut self) {
        let flow = self.model + self.steps_down;
        let off = self.bypassed || self.attenuation_db == 0.0 || flow >= self.flows.len();
        let source = if off { Source::Dry } else { Source::Flow(flow) };
        if let Some(flow) = self.switch.set(source) {
            self.flows[flow].reset();
        }
    }

    fn drive(&mut self, mut block: impl Block) -> Result<(), Error> {
        self.begin_block(self.check_block(&block));
        while self.in_block && !self.advance(&mut block) {
            for flow in 0..self.flows.len() {
                if self.is_due(flow) {
                    self.hop(flow);
                }
            }
        }
        self.end_block()
    }

    pub(crate) fn check_block(&self, block: &impl Block) -> Result<(), Error> {
        let (frames, channels) = (block.frames(), self.channels());
        if self.whole_hops && !frames.is_multiple_of(self.hop_frames) {
            return Err(Error::BlockLength {
                expected: frames.next_multiple_of(self.hop_frames) * channels,
                found: frames * channels,
            });
        }
        Ok(())
    }

    /// Takes a block on until a hop is due (false) or the block is done (true). After each stop
    /// the hops that are due must run before it is called again, with the same block.
    pub(crate) fn advance(&mut self, block: &mut impl Block) -> bool {
        let frames = block.frames();
        loop {
            let chunk = match self.chunk {
                Some(chunk) => chunk,
                None if self.at == frames => {
                    self.at = 0;
                    self.in_block = false;
                    return true;
                }
                None => self.take(block),
            };
            if (0..self.flows.len()).any(|flow| self.is_due(flow)) {
                return false;
            }
            self.give(block, chunk);
        }
    }

    /// Takes in as much of the block as can be before something changes.
    fn take(&mut self, block: &impl Block) -> usize {
        let mut chunk = (block.frames() - self.at)
            .min(self.heard.len())
            .min(self.switch.until_change());
        let switch = &self.switch;
        for (at, flow) in self.flows.iter().enumerate() {
            if switch.is_awake(at) {
                chunk = chunk.min(flow.room());
            }
        }
        let samples = &mut self.heard[..chunk];
        for (channel, delayed) in self.delayed.iter_mut().enumerate() {
            block.read(channel, self.at, samples);
            self.repaired += repair(samples);
            delayed.push(samples);
            for (at, flow) in self.flows.iter_mut().enumerate() {
                if switch.is_awake(at) {
                    flow.hear(channel, samples);
                }
            }
        }
        for (at, flow) in self.flows.iter_mut().enumerate() {
            if switch.is_awake(at) {
                flow.advance(chunk);
            }
        }
        self.chunk = Some(chunk);
        chunk
    }

    /// Gives out what [`Self::take`] took in, `latency` samples before.
    fn give(&mut self, block: &mut impl Block, chunk: usize) {
        let (heard, other) = (&mut self.heard[..chunk], &mut self.other[..chunk]);
        let source = self.switch.heard();
        let next = self.switch.fading_to();
        for (channel, delayed) in self.delayed.iter_mut().enumerate() {
            delayed.pop(heard);
            if next == Some(Source::Dry) {
                other.copy_from_slice(heard);
            }
            if let Source::Flow(flow) = source {
                self.flows[flow].say(channel, heard);
            }
            for (at, flow) in self.flows.iter_mut().enumerate() {
                if self.switch.is_awake(at) && source != Source::Flow(at) {
                    flow.say(channel, other);
                }
            }
            self.switch.blend(heard, other);
            block.write(channel, self.at, heard);
        }
        if let Some(flow) = self.switch.advance(chunk) {
            self.flows[flow].reset();
        }
        self.at += chunk;
        self.chunk = None;
    }

    /// Begins a block that was `checked`; none of one that does not fit is processed.
    pub(crate) fn begin_block(&mut self, checked: Result<(), Error>) {
        self.in_block = checked.is_ok();
        self.outcome = checked;
    }

    pub(crate) fn is_in_block(&self) -> bool {
        self.in_block
    }

    /// [`Self::advance`] for a block of a batch, which was checked.
    pub(crate) fn advance_interleaved(&mut self, block: &mut [f32]) -> bool {
        self.advance(&mut Interleaved {
            input: None,
            output: block,
            channels: self.channels(),
        })
    }

    /// Ends a block: how it went.
    pub(crate) fn end_block(&mut self) -> Result<(), Error> {
        std::mem::replace(&mut self.outcome, Ok(()))
    }

    /// Whether a flow has gathered a hop.
    pub(crate) fn is_due(&self, flow: usize) -> bool {
        self.switch.is_awake(flow) && self.flows[flow].is_due()
    }

    pub(crate) fn flows(&self) -> &[Flow] {
        &self.flows
    }

    pub(crate) fn flow_mut(&mut self, flow: usize) -> &mut Flow {
        &mut self.flows[flow]
    }

    /// One hop: caller's samples, model's rate, spectrum, features, model, mask, and back.
    pub(crate) fn hop(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        flow.begin();
        for mind in 0..flow.minds() {
            let (mind, channels) = flow.mind(mind);
            mind.run(channels);
        }
        self.end_hop(at);
    }

    /// A hop that is the delayed input, for there is no time for the model.
    pub(crate) fn miss_hop(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        flow.begin();
        for mind in 0..flow.minds() {
            let (mind, channels) = flow.mind(mind);
            mind.skip(channels, false);
        }
        self.note_missed_hop();
        self.end_hop(at);
    }

    /// Counts a hop of a batch that there was no time for.
    pub(crate) fn note_missed_hop(&mut self) {
        self.missed_hops += 1;
    }

    /// What every hop ends with.
    pub(crate) fn end_hop(&mut self, at: usize) {
        let heard = self.flows[at].end();
        if heard.failed && self.outcome.is_ok() {
            self.outcome = Err(Error::Inference { hop: self.hops });
        }
        self.hops += 1;
        if [Source::Dry, Source::Flow(at)].contains(&self.switch.heard()) {
            self.telemetry =
                Telemetry::new(heard.energies, heard.scale, heard.speech, self.repaired);
        }
    }
}

impl std::fmt::Debug for Denoiser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Denoiser")
            .field("rate_hz", &self.rate_hz)
            .field("channels", &self.channels())
            .field("latency", &self.latency)
            .finish_non_exhaustive()
    }
}

wide! {
    /// Makes every sample finite and of a sane size; says how many were not.
    fn repair<'a>(samples: &'a mut [f32]) -> u64 {
        let mut repaired = 0u32;
        for sample in samples {
            let x = *sample;
            let is_sane = x.abs() <= MOST_AMPLITUDE; // false for NaN
            let most = if x.is_finite() { MOST_AMPLITUDE } else { 0.0 };
            *sample = if is_sane { x } else { most.copysign(x) };
            repaired += u32::from(!is_sane);
        }
        u64::from(repaired)
    }
}
