//! One stream: samples in, samples out. This file has its settings; `denoiser/hop_loop.rs` has the path
//! of a block. A [`Batch`](crate::Batch) replaces single inferences by steps that many streams share.

mod builder;
mod cursor;
mod hop_loop;

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::block::{Interleaved, InterleavedI16, Planar, SilenceInto};
use crate::crossfade::{Crossfade, Source};
use crate::error::Error;
use crate::fifo::Fifo;
use crate::model::Model;
use crate::options::{
    AttenuationLimit, ChannelMode, DenoiserOptions, MAX_CHANNELS, MAX_TELEMETRY_HOPS, RATE_RANGE_HZ,
};
use crate::pipeline::{Pipeline, PipelinePlan};
use crate::telemetry::{DenoiserStats, Telemetry, TelemetryRing};

pub use builder::DenoiserBuilder;
pub(crate) use cursor::{BlockCursor, HopOutcome};

/// One live stream: each block comes back with the same number of samples, delayed by
/// [`latency`](Self::latency) samples.
///
/// Blocks may have any length. The way in which a signal is split into blocks does not change one bit
/// of the output. Samples are f32 in [-1, 1], or i16. NaN and infinite samples are replaced by 0, and
/// samples beyond ±64 by ±64; [`DenoiserStats::repaired_samples`] counts them. Divide 16-bit samples
/// by 32768, or pass them to the `_i16` methods.
///
/// A `Denoiser` is `Send` and unwind safe, and not `Sync`: one thread at a time processes a stream. If
/// a panic unwinds out of a call, the next block resets the stream first.
pub struct Denoiser {
    rate_hz: u32,
    hop_frames: usize,
    latency: usize,
    /// blocks must be whole hops
    hop_aligned: bool,
    channel_mode: ChannelMode,
    snr_gating: bool,
    /// [models]
    pipelines: Vec<Pipeline>,
    crossfade: Crossfade,
    /// index of the requested model, and how many models after it an overload has stepped down
    model: usize,
    fallback_level: usize,
    bypass: bool,
    attenuation: AttenuationLimit,
    /// [channels] the input on its way to the output
    delayed: Vec<Fifo>,
    /// a block is being processed; still set when a panic has cut it short
    in_block: bool,
    /// [maximum chunk] one channel's input, then its output
    io_scratch: Vec<f32>,
    /// [maximum chunk] one channel of a signal that fades in or is not output yet
    fade_scratch: Vec<f32>,
    telemetry: Telemetry,
    telemetry_ring: TelemetryRing,
    telemetry_hops: usize,
    stats: DenoiserStats,
}

// A caught panic leaves `in_block` set, and the next block then resets every part that could have been
// left half changed.
impl UnwindSafe for Denoiser {}
impl RefUnwindSafe for Denoiser {}

impl Denoiser {
    /// Creates a stream with one or more models, the best first; the others are for
    /// [`set_model`](Self::set_model) and for overload. Allocates all memory of the stream.
    ///
    /// At rates other than the model's, this computes filter tables, which takes up to some
    /// milliseconds per channel (`cargo bench --bench stream -- load`). Create streams outside the
    /// audio thread.
    ///
    /// # Errors
    /// [`Error::NoModel`] without a model. [`Error::Rate`], [`Error::Channels`],
    /// [`Error::Attenuation`] or [`Error::TelemetryHops`] for an option out of range.
    /// [`Error::Linked`], [`Error::Gate`] or [`Error::HopAligned`] for an option that a model does
    /// not support. [`Error::Engine`] when the engine cannot create a session.
    pub fn new(models: &[Arc<Model>], options: &DenoiserOptions) -> Result<Self, Error> {
        let first = models.first().ok_or(Error::NoModel)?.manifest();
        let rate_hz = options.rate_hz.unwrap_or(first.rate_hz());
        let mut options = options.clone();
        options.attenuation = check_options(models, &options, rate_hz)?;
        let plan = |model| PipelinePlan::new(model, rate_hz, options.hop_aligned);
        let plans: Vec<PipelinePlan> = models.iter().map(plan).collect();
        if options.hop_aligned {
            let hop = |plan: &PipelinePlan| plan.is_at_model_rate().then(|| plan.hop());
            if plans.iter().any(|plan| hop(plan) != Some(first.hop())) {
                return Err(Error::HopAligned { rate_hz });
            }
        }
        let latency = plans.iter().map(PipelinePlan::latency).max().unwrap_or(0);
        let pipelines = plans
            .iter()
            .map(|plan| Pipeline::new(plan, &options, latency));
        let pipelines: Vec<Pipeline> = pipelines.collect::<Result<_, Error>>()?;
        let hop_frames = first.hop() as u64 * u64::from(rate_hz) / u64::from(first.rate_hz());
        let hop_frames = (hop_frames as usize).max(1);
        let chunk = pipelines.iter().map(Pipeline::input_frames_max).max();
        let chunk = chunk.unwrap_or(1);
        let step = if options.hop_aligned { hop_frames } else { 1 };
        let off = options.bypass || options.attenuation.is_zero();
        let source = if off {
            Source::Dry
        } else {
            Source::Pipeline(0)
        };
        let mut denoiser = Self {
            rate_hz,
            hop_frames,
            latency,
            hop_aligned: options.hop_aligned,
            channel_mode: options.channel_mode,
            snr_gating: options.snr_gating,
            pipelines,
            crossfade: Crossfade::new(rate_hz, latency, step, source),
            model: 0,
            fallback_level: 0,
            bypass: options.bypass,
            attenuation: options.attenuation,
            delayed: vec![Fifo::new(latency + chunk); options.channels],
            in_block: false,
            io_scratch: vec![0.0; chunk],
            fade_scratch: vec![0.0; chunk],
            telemetry: Telemetry::SILENCE,
            telemetry_ring: TelemetryRing::new(options.telemetry_hops),
            telemetry_hops: options.telemetry_hops,
            stats: DenoiserStats::default(),
        };
        denoiser.reset();
        Ok(denoiser)
    }

    /// Options as a chain of calls. Default: one channel at the model's own rate.
    pub fn builder(model: Arc<Model>) -> DenoiserBuilder {
        DenoiserBuilder::new(model)
    }

    /// Creates a stream with this stream's models and present settings and with changed options, for
    /// example another [`hop_aligned`](DenoiserOptions::hop_aligned). The new stream is empty.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn rebuild(&self, change: impl FnOnce(&mut DenoiserOptions)) -> Result<Self, Error> {
        let models: Vec<_> = self.pipelines.iter().map(|p| p.model().clone()).collect();
        let mut options = self.options();
        change(&mut options);
        let mut new = Self::new(&models, &options)?;
        new.model = self.model;
        new.fallback_level = self.fallback_level;
        new.update_source();
        new.reset_signal();
        Ok(new)
    }

    /// The options that create a stream with the present settings.
    pub fn options(&self) -> DenoiserOptions {
        DenoiserOptions {
            rate_hz: Some(self.rate_hz),
            channels: self.channels(),
            channel_mode: self.channel_mode,
            attenuation: self.attenuation,
            bypass: self.bypass,
            snr_gating: self.snr_gating,
            hop_aligned: self.hop_aligned,
            telemetry_hops: self.telemetry_hops,
        }
    }

    /// Delay from the input to the output, samples per channel at the caller's rate. Constant for
    /// the life of the stream: on, off and during every transition.
    pub fn latency(&self) -> usize {
        self.latency
    }

    /// Sample rate of the caller's blocks, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Channels of the caller's blocks.
    pub fn channels(&self) -> usize {
        self.delayed.len()
    }

    /// Caller samples per channel of one hop, rounded down. A block of this length completes at most
    /// one hop, except the first block of a stream at another rate than the model's.
    pub fn hop_frames(&self) -> usize {
        self.hop_frames
    }

    /// The largest attenuation; see [`set_attenuation`](Self::set_attenuation).
    pub fn attenuation(&self) -> AttenuationLimit {
        self.attenuation
    }

    /// The requested model: the first, or that of [`set_model`](Self::set_model).
    pub fn model(&self) -> &Arc<Model> {
        self.pipelines[self.model].model()
    }

    /// The model whose output the stream outputs now. It differs from [`model`](Self::model) during
    /// transitions and at a [`fallback_level`](Self::fallback_level) above 0. `None`: the output is
    /// the delayed input.
    pub fn active_model(&self) -> Option<&Arc<Model>> {
        match self.crossfade.active() {
            Source::Pipeline(pipeline) => Some(self.pipelines[pipeline].model()),
            Source::Dry => None,
        }
    }

    /// Processes one interleaved block, `[frames][channels]`, into another of the same length.
    ///
    /// # Errors
    /// [`Error::BlockLength`] when the lengths differ, or are not whole frames, or not whole hops of a
    /// [`hop_aligned`](DenoiserOptions::hop_aligned) stream; nothing was processed then.
    /// [`Error::Inference`] when the model failed: the block is complete, and the output of the failed
    /// hops is the delayed input.
    ///
    /// # Real-time
    /// No allocation, lock, log or system call, except the tensors of models that run in tract
    /// ([`Model::graph_engines`]).
    pub fn process(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), Error> {
        self.process_block(Interleaved::new(Some(input), output, self.channels())?)
    }

    /// [`process`](Self::process) in place.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    ///
    /// # Real-time
    /// As [`process`](Self::process).
    pub fn process_in_place(&mut self, block: &mut [f32]) -> Result<(), Error> {
        self.process_block(Interleaved::new(None, block, self.channels())?)
    }

    /// [`process`](Self::process) for 16-bit samples, full scale 32768. The output is rounded and
    /// saturates.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    ///
    /// # Real-time
    /// As [`process`](Self::process).
    pub fn process_i16(&mut self, input: &[i16], output: &mut [i16]) -> Result<(), Error> {
        self.process_block(InterleavedI16::new(Some(input), output, self.channels())?)
    }

    /// [`process_i16`](Self::process_i16) in place.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    ///
    /// # Real-time
    /// As [`process`](Self::process).
    pub fn process_i16_in_place(&mut self, block: &mut [i16]) -> Result<(), Error> {
        self.process_block(InterleavedI16::new(None, block, self.channels())?)
    }

    /// Processes one planar block, `[channels][frames]`, into another of the same shape.
    ///
    /// # Errors
    /// [`Error::ChannelSlices`] for another number of slices than channels; otherwise as
    /// [`process`](Self::process).
    ///
    /// # Real-time
    /// As [`process`](Self::process).
    pub fn process_planar(
        &mut self,
        input: &[&[f32]],
        output: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        self.process_block(Planar::new(Some(input), output, self.channels())?)
    }

    /// [`process_planar`](Self::process_planar) in place.
    ///
    /// # Errors
    /// As [`process_planar`](Self::process_planar).
    ///
    /// # Real-time
    /// As [`process`](Self::process).
    pub fn process_planar_in_place(&mut self, block: &mut [&mut [f32]]) -> Result<(), Error> {
        self.process_block(Planar::new(None, block, self.channels())?)
    }

    /// Writes the end of the signal: the last `latency()` frames, interleaved. The stream continues as
    /// after as much silence; [`reset`](Self::reset) starts another signal.
    ///
    /// # Errors
    /// [`Error::BlockLength`] when `tail` does not hold `latency() * channels()` samples; otherwise as
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
        self.process_block(SilenceInto(Interleaved::new(None, tail, channels)?))
    }

    /// Empties the stream, clears its statistics and leaves any fallback level. Settings stay. The
    /// stream then equals a new one with these settings, bit by bit.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn reset(&mut self) {
        self.fallback_level = 0;
        self.update_source();
        self.reset_signal();
        self.stats = DenoiserStats::default();
    }

    /// Empties every stage; keeps the fallback level and the statistics.
    fn reset_signal(&mut self) {
        for delayed in &mut self.delayed {
            delayed.prime(self.latency);
        }
        self.crossfade.reset();
        for pipeline in &mut self.pipelines {
            pipeline.reset();
        }
        self.in_block = false;
        self.telemetry = Telemetry::SILENCE;
        self.telemetry_ring.clear();
    }

    /// Sets the largest attenuation: a number of dB, a [`Strength`](crate::Strength) or
    /// [`AttenuationLimit::Unlimited`]. Takes effect over 50 ms. A limit of 0 dB acts as
    /// [`set_bypass`](Self::set_bypass).
    ///
    /// Residual noise never falls below max(40 dB, limit) under the running speech level; before the
    /// first speech, not below -66 dBFS. So a quiet room keeps its sound. Without a limit there is no
    /// such floor.
    ///
    /// # Errors
    /// [`Error::Attenuation`] for a negative number or NaN; the old limit stays.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn set_attenuation(&mut self, limit: impl Into<AttenuationLimit>) -> Result<(), Error> {
        self.attenuation = limit.into().checked()?;
        for pipeline in &mut self.pipelines {
            pipeline.set_limit(self.attenuation);
        }
        self.update_source();
        Ok(())
    }

    /// Switches to another of the stream's models, by its index in [`new`](Self::new). The new
    /// model runs for `latency()` samples and 100 ms before it is output; then both cross-fade over
    /// 20 ms.
    ///
    /// # Errors
    /// [`Error::ModelIndex`] for an index that the stream does not have; nothing changes.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn set_model(&mut self, index: usize) -> Result<(), Error> {
        if index >= self.pipelines.len() {
            return Err(Error::ModelIndex {
                found: index,
                models: self.pipelines.len(),
            });
        }
        self.model = index;
        self.fallback_level = self.fallback_level.min(self.max_fallback_level());
        self.update_source();
        Ok(())
    }

    /// Switches the stream off (true) or on. Off: the output is the input with the same latency, bit
    /// by bit except for repaired samples, and no stage runs. The change cross-fades over 20 ms; after
    /// switching on, it starts when the model has run for `latency()` samples and 100 ms.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn set_bypass(&mut self, bypass: bool) {
        self.bypass = bypass;
        self.update_source();
    }

    /// The latest [`set_bypass`](Self::set_bypass). See [`is_bypassed`](Self::is_bypassed) for the
    /// present output.
    pub fn bypass_requested(&self) -> bool {
        self.bypass
    }

    /// Whether the output is the delayed input and no stage runs: switched off, a limit of 0 dB, or
    /// stepped down to the delayed input, and all cross-fades are over.
    pub fn is_bypassed(&self) -> bool {
        self.crossfade.active() == Source::Dry && self.crossfade.fading_to().is_none()
    }

    /// How far an overload has stepped the stream down: 0 is the requested model, each further level
    /// the next model, and the last level the delayed input.
    pub fn fallback_level(&self) -> usize {
        self.fallback_level
    }

    /// The level at which the output is the delayed input.
    pub fn max_fallback_level(&self) -> usize {
        self.pipelines.len() - self.model
    }

    /// Sets the [`fallback_level`](Self::fallback_level), for callers that detect overload themselves.
    /// A way down passes the delayed input first, so that two models never run while there is no
    /// time for one.
    ///
    /// # Errors
    /// [`Error::FallbackLevel`] for a level above [`max_fallback_level`](Self::max_fallback_level);
    /// nothing changes.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn set_fallback_level(&mut self, level: usize) -> Result<(), Error> {
        let max = self.max_fallback_level();
        if level > max {
            return Err(Error::FallbackLevel { found: level, max });
        }
        if level > self.fallback_level {
            let started = self.crossfade.request(Source::Dry);
            debug_assert!(
                started.is_none(),
                "no pipeline starts for the delayed input"
            );
        }
        self.fallback_level = level;
        self.update_source();
        Ok(())
    }

    /// The latest hop. While the stream is off, the last hop before.
    pub fn telemetry(&self) -> Telemetry {
        self.telemetry
    }

    /// Removes and returns the hops since the last call, oldest first, at most
    /// [`DenoiserOptions::telemetry_hops`] of them: every hop of a block that completes several.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn drain_telemetry(&mut self) -> impl Iterator<Item = Telemetry> + '_ {
        std::iter::from_fn(|| self.telemetry_ring.pop())
    }

    /// Counts since the stream was created or reset.
    pub fn stats(&self) -> DenoiserStats {
        self.stats
    }

    /// The engine's reason for the latest [`Error::Inference`] of this stream, for a log. A stream
    /// that was processed by a [`Batch`](crate::Batch) may have its reason in
    /// [`Batch::last_failure`](crate::Batch::last_failure). Allocates: not for the audio thread.
    pub fn last_failure(&self) -> Option<String> {
        self.pipelines.iter().find_map(Pipeline::last_failure)
    }

    fn update_source(&mut self) {
        let pipeline = self.model + self.fallback_level;
        let off = self.bypass || self.attenuation.is_zero() || pipeline >= self.pipelines.len();
        let source = if off {
            Source::Dry
        } else {
            Source::Pipeline(pipeline)
        };
        if let Some(pipeline) = self.crossfade.request(source) {
            self.pipelines[pipeline].reset();
        }
    }
}

/// Checks the options of a stream and returns the attenuation limit.
fn check_options(
    models: &[Arc<Model>],
    options: &DenoiserOptions,
    rate_hz: u32,
) -> Result<AttenuationLimit, Error> {
    let (min_hz, max_hz) = RATE_RANGE_HZ;
    if !(min_hz..=max_hz).contains(&rate_hz) {
        return Err(Error::Rate {
            found_hz: rate_hz,
            min_hz,
            max_hz,
        });
    }
    if !(1..=MAX_CHANNELS).contains(&options.channels) {
        return Err(Error::Channels {
            found: options.channels,
            max: MAX_CHANNELS,
        });
    }
    if options.telemetry_hops > MAX_TELEMETRY_HOPS {
        return Err(Error::TelemetryHops {
            found: options.telemetry_hops,
            max: MAX_TELEMETRY_HOPS,
        });
    }
    let linked = options.channel_mode == ChannelMode::Linked && options.channels > 1;
    for manifest in models.iter().map(|model| model.manifest()) {
        if linked && !manifest.can_link_channels() {
            return Err(Error::Linked {
                model: manifest.id().into(),
            });
        }
        if options.snr_gating && !manifest.has_gate() {
            return Err(Error::Gate {
                model: manifest.id().into(),
            });
        }
    }
    options.attenuation.checked()
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
