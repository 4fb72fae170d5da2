//! One output: follows its clock, keeps the queue at its target, and writes to its link.

use std::time::Duration;

use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable, Async, FixedAsync, Resampler, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use crate::drift::DriftControl;
use crate::link::PlayoutWriter;
use crate::splice::Splice;
use crate::status::PlayoutStatus;

/// Reserve for the computation and for callbacks that run late, s.
const RESERVE_S: f64 = 0.0035;
/// The reserve grows by this after an underrun, s.
const RESERVE_STEP_S: f64 = 0.005;
const MAX_RESERVE_S: f64 = 0.06;
/// Time without an underrun after which the reserve shrinks by 1 ms, s.
const SHRINK_AFTER_S: f64 = 20.0;
/// Queued audio above the target that is dropped instead of resampled away, s.
const DROP_ABOVE_S: f64 = 0.02;
/// Queued audio behind the computation below which a hop is tight, s.
const TIGHT_S: f64 = 0.001;
/// Tight hops after which the reserve grows.
const MAX_TIGHT: u32 = 10;
/// Hops in a row that must be off the target before audio is inserted or dropped.
const PATIENCE: u32 = 5;
/// Filter taps for each direction at equal rates.
const TAPS: usize = 64;
/// Largest relative change of the ratio that the resampler must allow.
const MAX_RELATIVE: f64 = 1.01;

/// The path to one output device.
pub(crate) struct Playout {
    writer: PlayoutWriter,
    resampler: Async<f32>,
    channels: usize,
    hop_s: f64,
    resampler_s: f64,
    drift: DriftControl,
    reserve_s: f64,
    quiet_s: f64,
    underruns: u64,
    tight: u32,
    above: u32,
    below: u32,
    has_started: bool,
    splice: Splice,
    /// interleaved output of the resampler
    resampled: Vec<f32>,
    /// [channels of the device]
    frame: Vec<f32>,
    status: PlayoutStatus,
}

impl std::fmt::Debug for Playout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Playout")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Playout {
    /// From hops of `hop_frames` at `rate_hz` to the device of `writer`. Allocates.
    pub(crate) fn new(
        writer: PlayoutWriter,
        rate_hz: u32,
        channels: usize,
        hop_frames: usize,
    ) -> Self {
        let format = writer.format();
        let lower_hz = rate_hz.min(format.rate_hz);
        let taps = (TAPS * rate_hz.div_ceil(lower_hz) as usize).next_multiple_of(8);
        let parameters = SincInterpolationParameters::new(taps, WindowFunction::BlackmanHarris2)
            .oversampling_factor(128)
            .interpolation(SincInterpolationType::Cubic);
        let ratio = f64::from(format.rate_hz) / f64::from(rate_hz);
        let resampler = Async::new_sinc(
            ratio,
            MAX_RELATIVE,
            &parameters,
            hop_frames,
            channels,
            FixedAsync::Input,
        )
        .expect("rates are positive, and the range of the ratio is above 1");
        let resampler_s = resampler.output_delay() as f64 / f64::from(format.rate_hz);
        let resampled = vec![0.0; resampler.output_frames_max() * channels];
        Self {
            resampler,
            channels,
            hop_s: hop_frames as f64 / f64::from(rate_hz),
            resampler_s,
            drift: DriftControl::default(),
            reserve_s: RESERVE_S,
            quiet_s: 0.0,
            underruns: 0,
            tight: 0,
            above: 0,
            below: 0,
            has_started: false,
            splice: Splice::new(format.channels, format.rate_hz),
            resampled,
            frame: vec![0.0; format.channels],
            status: PlayoutStatus::default(),
            writer,
        }
    }

    /// The link, for another input format.
    pub(crate) fn into_writer(self) -> PlayoutWriter {
        self.writer
    }

    pub(crate) fn status(&self) -> PlayoutStatus {
        self.status
    }

    pub(crate) fn resampler_s(&self) -> f64 {
        self.resampler_s
    }

    pub(crate) fn device_latency_s(&self) -> f64 {
        self.writer.device_latency_s()
    }

    /// Time until the device finds no audio, s. `None` while it does not run.
    pub(crate) fn slack_s(&mut self, now: Duration) -> Option<f64> {
        self.writer.slack_s(now)
    }

    /// Writes one hop, interleaved. `before_s` is the audio that is queued before this hop, and
    /// `wait_s` the longest time that a frame waits there.
    pub(crate) fn push(&mut self, hop: &[f32], before_s: f64, wait_s: f64, now: Duration) {
        let (Some(after_s), Some(slack_s)) = (self.writer.queued_s(now), self.writer.slack_s(now))
        else {
            // The device does not run yet. Nothing is queued for it.
            return;
        };
        self.update_reserve(slack_s);
        let rate_hz = f64::from(self.writer.format().rate_hz);
        let block_s = self.writer.block_frames() as f64 / rate_hz;
        let target_s = wait_s + self.reserve_s + block_s;
        let queue_s = before_s + self.hop_s + after_s;
        let error_s = queue_s - target_s;
        self.above = if error_s > DROP_ABOVE_S {
            self.above + 1
        } else {
            0
        };
        self.below = if error_s < -0.75 * self.reserve_s {
            self.below + 1
        } else {
            0
        };
        let mut drop_frames = 0;
        if !self.has_started || self.below >= PATIENCE {
            self.has_started = true;
            self.insert((-error_s * rate_hz).max(0.0) as usize);
        } else if self.above >= PATIENCE {
            drop_frames = (error_s * rate_hz) as usize;
        } else {
            let factor = self.drift.update(error_s, self.hop_s);
            self.resampler
                .set_resample_ratio_relative(factor, true)
                .expect("the correction is below 1 %");
        }
        self.status.queue_ms = 1e3 * queue_s;
        self.status.target_ms = 1e3 * target_s;
        self.status.drift_ppm = self.drift.drift_ppm();
        self.status.underruns = self.underruns;

        let frames = hop.len() / self.channels;
        let output_frames = self.resampler.output_frames_next();
        let output = &mut self.resampled[..output_frames * self.channels];
        let from = InterleavedSlice::new(hop, self.channels, frames).expect("one hop");
        let mut to = InterleavedSlice::new_mut(output, self.channels, output_frames).expect("fits");
        self.resampler
            .process_into_buffer(&from, &mut to, None)
            .expect("the resampler gave these lengths");
        let skipped = drop_frames.min(output_frames);
        if skipped > 0 {
            self.status.dropped_frames += skipped as u64;
            self.drift.restart();
            self.splice.join();
            if skipped == drop_frames {
                self.above = 0;
            }
        }
        for n in skipped..output_frames {
            map_channels(
                &self.resampled[n * self.channels..(n + 1) * self.channels],
                &mut self.frame,
            );
            self.write_frame();
        }
    }

    fn insert(&mut self, frames: usize) {
        self.splice.join();
        for _ in 0..frames {
            self.frame.fill(0.0);
            self.write_frame();
        }
        self.splice.join();
        self.status.inserted_frames += frames as u64;
        self.below = 0;
        self.drift.restart();
    }

    fn write_frame(&mut self) {
        self.splice.apply(&mut self.frame);
        if !self.writer.write(&self.frame) {
            self.splice.join();
            self.status.dropped_frames += 1;
        }
    }

    /// More reserve after an underrun or when the audio often comes just in time, less after a quiet
    /// time.
    fn update_reserve(&mut self, slack_s: f64) {
        let underruns = self
            .writer
            .counters()
            .underruns
            .load(std::sync::atomic::Ordering::Relaxed);
        self.tight += u32::from(self.has_started && slack_s < TIGHT_S);
        if underruns > self.underruns || self.tight > MAX_TIGHT {
            // The first underrun may come from the start.
            if self.underruns > 0 || self.tight > MAX_TIGHT {
                self.reserve_s = (self.reserve_s + RESERVE_STEP_S).min(MAX_RESERVE_S);
            }
            self.underruns = underruns;
            self.tight = 0;
            self.quiet_s = 0.0;
        }
        self.quiet_s += self.hop_s;
        if self.quiet_s > SHRINK_AFTER_S && self.reserve_s > RESERVE_S {
            self.reserve_s = (self.reserve_s - 0.001).max(RESERVE_S);
            self.quiet_s -= 1.0;
            self.tight = 0;
        }
    }
}

/// One channel goes to all channels of the device. Of two, a device with one channel gets the mean,
/// and a device with more has silence on the others.
fn map_channels(from: &[f32], to: &mut [f32]) {
    match (from.len(), to.len()) {
        (1, _) => to.fill(from[0]),
        (_, 1) => to[0] = from.iter().sum::<f32>() / from.len() as f32,
        _ => {
            for (n, sample) in to.iter_mut().enumerate() {
                *sample = from.get(n).copied().unwrap_or(0.0);
            }
        }
    }
}
