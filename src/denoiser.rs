//! One stream: samples in, samples out. The whole flow is in [`Denoiser::hop`].

mod builder;

use std::sync::Arc;

use crate::block::{Block, Interleaved, Planar, SilenceInto};
use crate::bypass::Bypass;
use crate::hop::Queue;
use crate::mask::Energies;
use crate::mind::{Channel, Mind};
use crate::model::Model;
use crate::resample::{RatePlan, ToCaller, ToModel};
use crate::stft::Transform;
use crate::{Error, Telemetry};
use builder::check_attenuation;
pub use builder::{ChannelMode, DenoiserBuilder};

/// Input beyond this (+36 dBFS) is taken for damage and limited to it.
const MOST_AMPLITUDE: f32 = 64.0;
/// -300 dBFS: smaller samples enter the stages as silence, so that no denormal numbers arise.
const LEAST_AMPLITUDE: f32 = 1e-15;

/// One live stream: any block in, the same number of samples out, [`latency`](Self::latency)
/// samples later.
///
/// Blocks may have any length, and cutting a signal into other blocks does not change one bit of
/// the output. Samples are f32 in [-1, 1]; NaN and infinite samples count as 0.
pub struct Denoiser {
    rate_hz: u32,
    hop_frames: usize,
    latency: usize,
    /// silence that the wet queues start with, so that they never run dry
    headroom: usize,
    lanes: Vec<Lane>,
    channels: Vec<Channel>,
    minds: Vec<Mind>,
    bypass: Bypass,
    bypassed: bool,
    attenuation_db: f32,
    /// caller samples gathered for the next hop, and how many it needs
    fill: usize,
    need: usize,
    /// [largest chunk] one channel's delayed input, then its output
    dry: Vec<f32>,
    /// [largest chunk] one channel's clean signal
    wet: Vec<f32>,
    power_scale: f32,
    telemetry: Telemetry,
    hops: u64,
    repaired: u64,
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
    delayed: Queue,
}

impl Denoiser {
    /// Starts from `model`, with one channel at the model's own rate.
    pub fn builder(model: Arc<Model>) -> DenoiserBuilder {
        DenoiserBuilder::new(model)
    }

    fn new(options: DenoiserBuilder) -> Result<Self, Error> {
        let spec = options.model.spec();
        let transform = Transform::new(spec);
        let between = spec.window() - spec.hop() + spec.lookahead() * spec.hop();
        let plan = (options.rate_hz != spec.rate_hz())
            .then(|| RatePlan::new(options.rate_hz, spec.rate_hz(), spec.hop(), between));
        let (headroom, delay) = match &plan {
            Some(plan) => (plan.headroom(), plan.delay()),
            None => (spec.hop(), between),
        };
        let latency = headroom + delay;
        let lane = || {
            let rates = plan
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
                delayed: Queue::new(latency + need_max),
            }
        };
        let lanes: Vec<Lane> = (0..options.channels).map(|_| lane()).collect();
        let shared = match options.channel_mode {
            ChannelMode::Independent => 1,
            ChannelMode::Linked => options.channels,
        };
        let channels = (0..options.channels)
            .map(|_| Channel::new(spec, &transform))
            .collect();
        let minds = (0..options.channels)
            .step_by(shared)
            .map(|first| {
                Mind::new(
                    &options.model,
                    first..first + shared,
                    transform.power_scale(),
                    options.attenuation_db,
                    options.gate,
                )
            })
            .collect::<Result<_, Error>>()?;
        let hop_frames = spec.hop() as u64 * u64::from(options.rate_hz) / u64::from(spec.rate_hz());
        let hop_frames = (hop_frames as usize).max(1);
        let chunk = lanes[0].gathered.len();
        let off = options.bypass || options.attenuation_db == 0.0;
        let mut denoiser = Self {
            rate_hz: options.rate_hz,
            hop_frames,
            latency,
            headroom,
            lanes,
            channels,
            minds,
            bypass: Bypass::new(options.rate_hz, latency, off),
            bypassed: options.bypass,
            attenuation_db: options.attenuation_db,
            fill: 0,
            need: 0,
            dry: vec![0.0; chunk],
            wet: vec![0.0; chunk],
            power_scale: transform.power_scale() / options.channels as f32,
            telemetry: Telemetry::SILENCE,
            hops: 0,
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
        self.lanes.len()
    }

    /// Caller samples per channel of one hop, rounded down: blocks of this length make at most one
    /// hop each, but for the first, which may make more while the stages fill.
    pub fn hop_frames(&self) -> usize {
        self.hop_frames
    }

    /// Cleans one interleaved block, `[frames][channels]`, into another of the same length.
    ///
    /// # Errors
    /// [`Error::BlockLength`] when the lengths differ or are not whole frames: nothing was
    /// processed. [`Error::Inference`] when the model failed: the block is complete, with the
    /// delayed input in the place of the hops that failed.
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
        for lane in &mut self.lanes {
            lane.delayed.prime(self.latency);
        }
        self.bypass.reset();
        self.telemetry = Telemetry::SILENCE;
        self.hops = 0;
        self.repaired = 0;
        self.restart();
    }

    /// The most that may be removed, in dB from 0 (change nothing) to infinity (no limit): this
    /// much below the input a natural noise floor remains. Takes hold over 50 ms; 0 is as
    /// [`set_bypass`](Self::set_bypass).
    ///
    /// # Errors
    /// [`Error::Attenuation`] for a negative number or NaN; the old limit stays.
    ///
    /// # Real-time
    /// No allocation, lock or syscall.
    pub fn set_attenuation_db(&mut self, attenuation_db: f32) -> Result<(), Error> {
        check_attenuation(attenuation_db)?;
        self.attenuation_db = attenuation_db;
        for mind in &mut self.minds {
            mind.set_attenuation_db(attenuation_db);
        }
        self.switch();
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
        self.switch();
    }

    /// The latest hop. While the stream is off it is the last one before.
    pub fn telemetry(&self) -> Telemetry {
        self.telemetry
    }

    /// Hops run since the start or the last reset.
    pub fn hops(&self) -> u64 {
        self.hops
    }

    fn switch(&mut self) {
        if self.bypass.set(self.bypassed || self.attenuation_db == 0.0) {
            self.restart();
        }
    }

    /// Empties every stage; the delayed input stays.
    fn restart(&mut self) {
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

    fn drive(&mut self, mut block: impl Block) -> Result<(), Error> {
        let frames = block.frames();
        let mut at = 0;
        let mut result = Ok(());
        while at < frames {
            let awake = self.bypass.is_awake();
            let mut chunk = (frames - at)
                .min(self.dry.len())
                .min(self.bypass.until_change());
            if awake {
                chunk = chunk.min(self.need - self.fill);
            }
            let (dry, wet) = (&mut self.dry[..chunk], &mut self.wet[..chunk]);
            for (channel, lane) in self.lanes.iter_mut().enumerate() {
                block.read(channel, at, dry);
                self.repaired += repair(dry);
                lane.delayed.push(dry);
                if awake {
                    for (to, sample) in lane.gathered[self.fill..].iter_mut().zip(&*dry) {
                        *to = if sample.abs() < LEAST_AMPLITUDE {
                            0.0
                        } else {
                            *sample
                        };
                    }
                    lane.clean.pop(wet);
                }
                lane.delayed.pop(dry);
                if awake {
                    self.bypass.mix(dry, wet);
                }
                block.write(channel, at, dry);
            }
            self.bypass.advance(chunk);
            at += chunk;
            if awake {
                self.fill += chunk;
                while self.fill == self.need {
                    result = result.and(self.hop());
                }
            }
        }
        result
    }

    /// The flow: caller's samples, model's rate, spectrum, features, model, mask, and back.
    fn hop(&mut self) -> Result<(), Error> {
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

        let mut failed = false;
        let mut energies = Energies::default();
        let mut speech = 0.0f32;
        for mind in &mut self.minds {
            let ran = mind.run(&mut self.channels);
            failed |= ran.is_err();
            energies += ran.unwrap_or_else(|_| mind.passed(&self.channels));
            speech = speech.max(mind.speech());
        }

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
        self.hops += 1;
        self.telemetry = Telemetry::new(energies, self.power_scale, speech, self.repaired);
        if failed {
            Err(Error::Inference { hop: self.hops - 1 })
        } else {
            Ok(())
        }
    }
}

impl Lane {
    fn need(&self) -> usize {
        self.rates
            .as_ref()
            .map_or(self.hop.len(), |(up, _)| up.need())
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

/// Makes every sample finite and of a sane size; says how many were not.
fn repair(samples: &mut [f32]) -> u64 {
    let mut repaired = 0;
    for sample in samples {
        let sane = sample.abs() <= MOST_AMPLITUDE; // false for NaN
        if !sane {
            *sample = if sample.is_finite() {
                MOST_AMPLITUDE.copysign(*sample)
            } else {
                0.0
            };
            repaired += 1;
        }
    }
    repaired
}
