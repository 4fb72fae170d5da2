//! The worker's work: hops from the input to the outputs. Takes the time as an argument.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rtrb::Producer;

use crate::auto_attenuation::AutoAttenuation;
use crate::echo::EchoPath;
use crate::levels::{LevelRange, SILENCE_DBFS, level_dbfs};
use crate::link::{CaptureReader, PlayoutWriter};
use crate::playout::Playout;
use crate::processor::Processor;
use crate::raw_path::{Ramp, RawPath};
use crate::settings::Settings;
use crate::status::{Levels, Status};
use crate::wait::Wait;

/// Hops of a second without a denoiser; with one, its hop is used.
const HOPS_PER_SECOND: u32 = 100;
/// Latency before the denoiser is loaded, as that of the embedded models at their rate, s.
const EXPECTED_LATENCY_S: f64 = 0.01;
/// Longest delay of the worker, or of the blocks of the device, that the queue covers, s.
const MAX_LATE_S: f64 = 0.03;
/// Hops of one call: a call ends although new hops come all the time.
const MAX_HOPS: usize = 8;
/// Time that a hop must always have, s: enough to pass the delayed input.
const BUDGET_MARGIN_S: f64 = 0.001;

/// Changes of a path that other threads send to the worker.
#[derive(Debug)]
pub enum Command {
    /// The input device was opened, or has gone.
    Capture(Option<CaptureReader>),
    /// An output device was opened, or has gone: its index (0 is the output, 1 the monitor).
    Playout(usize, Option<PlayoutWriter>),
    /// A denoiser is ready.
    Processor(Box<Processor>),
    /// The device of the echo reference was opened, or has gone. Paths of one channel at 16, 32 or
    /// 48 kHz with hops of 10 ms use it.
    EchoReference(Option<CaptureReader>),
    /// Both sides of the path go to this ring: input, output, input, ... one channel each, aligned.
    Record(Option<Producer<f32>>),
    /// As `Record`, for a display.
    Display(Option<Producer<f32>>),
}

/// The worker's state: one input, up to two outputs, one denoiser.
#[derive(Debug)]
pub struct Engine {
    settings: Arc<Settings>,
    channels: usize,
    capture: Option<CaptureReader>,
    playouts: [Option<Playout>; 2],
    processor: Option<Box<Processor>>,
    echo: Option<EchoPath>,
    raw_path: RawPath,
    mute: Ramp,
    monitor: Ramp,
    /// recording, display
    taps: [Option<Producer<f32>>; 2],
    rate_hz: u32,
    hop_frames: usize,
    /// interleaved channels of the device
    device_hop: Vec<f32>,
    /// [hop, channels]
    hop: Vec<f32>,
    raw: Vec<f32>,
    output: Vec<f32>,
    monitored: Vec<f32>,
    /// of the input and the output
    ranges: [LevelRange; 2],
    auto_attenuation: AutoAttenuation,
    wait: Wait,
    status: Status,
}

impl Engine {
    /// A path with `channels` (1 or 2) between the devices.
    pub fn new(settings: Arc<Settings>, channels: usize) -> Self {
        let mut engine = Self {
            settings,
            channels: channels.clamp(1, 2),
            capture: None,
            playouts: [None, None],
            processor: None,
            echo: None,
            raw_path: RawPath::new(0, 1, 48_000),
            mute: Ramp::new(1.0, 48_000),
            monitor: Ramp::new(0.0, 48_000),
            taps: [None, None],
            rate_hz: 48_000,
            hop_frames: 480,
            device_hop: Vec::new(),
            hop: Vec::new(),
            raw: Vec::new(),
            output: Vec::new(),
            monitored: Vec::new(),
            ranges: [LevelRange::default(); 2],
            auto_attenuation: AutoAttenuation::default(),
            wait: Wait::default(),
            status: Status::default(),
        };
        let levels = &mut engine.status.levels;
        (levels.input_dbfs, levels.output_dbfs) = (SILENCE_DBFS, SILENCE_DBFS);
        engine.set_rate(48_000);
        engine
    }

    /// Applies a change. Allocates.
    pub fn apply(&mut self, command: Command) {
        match command {
            Command::Capture(capture) => {
                let rate_hz = capture
                    .as_ref()
                    .map_or(self.rate_hz, |c| c.format().rate_hz);
                self.capture = capture;
                self.wait = Wait::default();
                if rate_hz != self.rate_hz {
                    // A denoiser for the new rate follows.
                    self.processor = None;
                    self.echo = self
                        .echo
                        .take()
                        .and_then(|echo| EchoPath::new(echo.into_reader(), rate_hz));
                    self.set_rate(rate_hz);
                }
                self.size_buffers();
            }
            Command::Playout(at, writer) => {
                if let Some(place) = self.playouts.get_mut(at) {
                    *place = writer.map(|writer| {
                        Playout::new(writer, self.rate_hz, self.channels, self.hop_frames)
                    });
                }
            }
            Command::Processor(processor) => {
                if processor.rate_hz() != self.rate_hz || processor.channels() != self.channels {
                    return;
                }
                if processor.hop_frames() != self.hop_frames {
                    self.hop_frames = processor.hop_frames();
                    self.rebuild_playouts();
                    self.size_buffers();
                }
                self.raw_path.start(processor.latency_frames());
                self.processor = Some(processor);
            }
            Command::EchoReference(reader) => {
                let rate_hz = self.rate_hz;
                let reader = reader.filter(|_| self.channels == 1);
                self.echo = reader.and_then(|reader| EchoPath::new(reader, rate_hz));
            }
            Command::Record(ring) => self.taps[0] = ring,
            Command::Display(ring) => self.taps[1] = ring,
        }
    }

    /// Processes the hops that are complete, at most 8. Returns their number. `now` reads the clock of the
    /// callbacks.
    ///
    /// # Real-time
    /// No allocation, lock, log or system call, except in the inference engine and what `now` does.
    pub fn step(&mut self, now: &mut impl FnMut() -> Duration) -> usize {
        let mut hops = 0;
        while hops < MAX_HOPS && self.step_hop(hops == 0, now) {
            hops += 1;
        }
        hops
    }

    fn step_hop(&mut self, is_first: bool, now: &mut impl FnMut() -> Duration) -> bool {
        let Some(capture) = &mut self.capture else {
            return false;
        };
        if !capture.read(&mut self.device_hop) {
            return false;
        }
        let start = now();
        let before_s = capture.queued_s(start);
        let rate_hz = f64::from(self.rate_hz);
        let hop_s = self.hop_frames as f64 / rate_hz;
        let block_frames = capture.block_frames();
        self.status.input.block_frames = block_frames;
        // A frame waits for the end of its block and of its hop.
        let at_least = block_frames + self.hop_frames - gcd(block_frames, self.hop_frames);
        let at_least_s = at_least as f64 / rate_hz;
        // The first hop of a call has waited longest.
        let waited_s = if is_first { before_s + hop_s } else { 0.0 };
        let waited_s = waited_s.min(at_least_s + MAX_LATE_S);
        let wait_s = self.wait.update(waited_s, hop_s).max(at_least_s);
        let device_channels = capture.format().channels;
        mix_down(
            &self.device_hop,
            device_channels,
            &mut self.hop,
            self.channels,
        );

        if let Some(echo) = &mut self.echo {
            echo.process(&mut self.hop, start);
        }
        let mut slack_s = f64::INFINITY;
        for playout in self.playouts.iter_mut().flatten() {
            slack_s = slack_s.min(playout.slack_s(start).unwrap_or(f64::INFINITY));
        }
        let budget_s = (slack_s - BUDGET_MARGIN_S).clamp(0.0, hop_s);
        self.raw.copy_from_slice(&self.hop);
        self.raw_path.delay(&mut self.raw);
        let clean = self.processor.as_mut().map(|processor| {
            let budget = Duration::from_secs_f64(budget_s);
            processor.process(&self.hop, &self.settings, budget, &mut *now)
        });
        let raw_gain = if self.settings.silence_while_loading() {
            0.0
        } else {
            1.0
        };
        self.raw_path
            .mix(&self.raw, raw_gain, clean, &mut self.output);
        let processed = now();
        self.measure(processed.saturating_sub(start), hop_s);

        let gain = |on: bool| if on { 1.0 } else { 0.0 };
        let (mute_gain, monitor_gain) =
            (gain(!self.settings.muted()), gain(self.settings.monitor()));
        self.mute.apply(mute_gain, &mut self.output, self.channels);
        self.monitored.copy_from_slice(&self.output);
        self.monitor
            .apply(monitor_gain, &mut self.monitored, self.channels);
        self.record();
        let elapsed_s = processed.saturating_sub(start).as_secs_f64();
        let signals = [&self.output, &self.monitored];
        for (playout, signal) in self.playouts.iter_mut().zip(signals) {
            if let Some(playout) = playout {
                // `before_s` has grown by the time of the computation.
                playout.push(signal, before_s + elapsed_s, wait_s, processed);
            }
        }
        true
    }

    /// The latest measurements. What the engine cannot measure is left as it is.
    pub fn update_status(&self, status: &mut Status) {
        let own = &self.status;
        status.hops = own.hops;
        status.hop_ms = 1e3 * self.hop_frames as f64 / f64::from(self.rate_hz);
        status.hop_cost_ms = own.hop_cost_ms;
        status.levels = own.levels;
        status.bypass = self.settings.bypass();
        status.muted = self.settings.muted();
        let attenuation_db = self.settings.attenuation_db();
        status.attenuation_db = attenuation_db.is_finite().then_some(attenuation_db);
        status.auto_attenuation = self.settings.auto_attenuation();
        let processor = self.processor.as_ref().filter(|_| self.raw_path.is_clean());
        let model = processor.and_then(|p| p.active_model());
        if status.model.as_deref() != model {
            status.model = model.map(str::to_owned);
        }
        if let Some(processor) = &self.processor {
            let stats = processor.stats();
            status.fallback_level = processor.fallback_level();
            status.deadline_misses = stats.deadline_misses;
            status.step_downs = stats.step_downs;
            status.step_ups = stats.step_ups;
            status.failed_hops = processor.failed_hops();
        }
        status.echo_return_loss_enhancement_db = self.echo.as_ref().and_then(EchoPath::erle_db);
        let latency = &mut status.latency;
        latency.echo_canceller_ms = self
            .echo
            .as_ref()
            .map_or(0.0, |_| 1e3 * EchoPath::latency_s());
        latency.denoiser_ms = 1e3 * self.raw_path.latency_s();
        if let Some(capture) = &self.capture {
            status.input.block_frames = own.input.block_frames;
            status.overrun_frames = capture.counters().missed_frames.load(Relaxed);
            latency.input_device_ms = 1e3 * capture.device_latency_s();
        }
        if let Some(playout) = &self.playouts[0] {
            status.playout = playout.status();
            latency.queue_ms = status.playout.queue_ms;
            latency.resampler_ms = 1e3 * playout.resampler_s();
            latency.output_device_ms = 1e3 * playout.device_latency_s();
        }
        latency.total_ms = latency.input_device_ms
            + latency.queue_ms
            + latency.echo_canceller_ms
            + latency.denoiser_ms
            + latency.resampler_ms
            + latency.output_device_ms;
    }

    fn measure(&mut self, took: Duration, hop_s: f64) {
        let status = &mut self.status;
        status.hops += 1;
        let cost_ms = 1e3 * took.as_secs_f64();
        status.hop_cost_ms += 0.05 * (cost_ms - status.hop_cost_ms);
        let [input_dbfs, output_dbfs] = [&self.raw, &self.output].map(|signal| level_dbfs(signal));
        let [input, output] = &mut self.ranges;
        let (input_floor_dbfs, input_highest_dbfs) = input.update(input_dbfs, hop_s);
        let (output_floor_dbfs, output_highest_dbfs) = output.update(output_dbfs, hop_s);
        let mut levels = Levels {
            input_dbfs,
            output_dbfs,
            input_floor_dbfs,
            output_floor_dbfs,
            input_highest_dbfs,
            output_highest_dbfs,
            ..Levels::default()
        };
        if self.settings.auto_attenuation() {
            let attenuation_db =
                self.auto_attenuation
                    .update(input_floor_dbfs, input_highest_dbfs, hop_s);
            self.settings.follow_attenuation_db(attenuation_db);
        }
        if let Some(processor) = &self.processor {
            let telemetry = processor.telemetry();
            levels.snr_db = telemetry.snr_db;
            levels.gain_db = telemetry.gain_db;
            levels.speech_probability = telemetry.speech_probability;
        }
        status.levels = levels;
    }

    /// Both sides of the hop. A reader that does not keep up loses complete hops.
    fn record(&mut self) {
        let channels = self.channels;
        let (raw, output) = (&self.raw, &self.output);
        let mean = |signal: &[f32], n: usize| {
            signal[n * channels..(n + 1) * channels].iter().sum::<f32>() / channels as f32
        };
        for ring in self.taps.iter_mut().flatten() {
            if let Ok(chunk) = ring.write_chunk_uninit(2 * self.hop_frames) {
                let frames = 0..self.hop_frames;
                chunk.fill_from_iter(frames.flat_map(|n| [mean(raw, n), mean(output, n)]));
            }
        }
    }

    fn set_rate(&mut self, rate_hz: u32) {
        self.rate_hz = rate_hz;
        self.hop_frames = (rate_hz / HOPS_PER_SECOND) as usize;
        let latency = (EXPECTED_LATENCY_S * f64::from(rate_hz)) as usize;
        self.raw_path = RawPath::new(latency, self.channels, rate_hz);
        self.mute = Ramp::new(if self.settings.muted() { 0.0 } else { 1.0 }, rate_hz);
        self.monitor = Ramp::new(0.0, rate_hz);
        self.rebuild_playouts();
        self.size_buffers();
    }

    fn rebuild_playouts(&mut self) {
        for place in &mut self.playouts {
            *place = place.take().map(|playout| {
                let writer = playout.into_writer();
                Playout::new(writer, self.rate_hz, self.channels, self.hop_frames)
            });
        }
    }

    fn size_buffers(&mut self) {
        let device_channels = self.capture.as_ref().map_or(1, |c| c.format().channels);
        self.device_hop
            .resize(self.hop_frames * device_channels, 0.0);
        let samples = self.hop_frames * self.channels;
        for buffer in [
            &mut self.hop,
            &mut self.raw,
            &mut self.output,
            &mut self.monitored,
        ] {
            buffer.resize(samples, 0.0);
        }
    }
}

/// One channel: the mean of the device's channels. Two: its first two.
fn mix_down(from: &[f32], from_channels: usize, to: &mut [f32], to_channels: usize) {
    let frames = from.chunks_exact(from_channels);
    for (from, to) in frames.zip(to.chunks_exact_mut(to_channels)) {
        if to_channels == 1 {
            to[0] = from.iter().sum::<f32>() / from_channels as f32;
        } else {
            for (n, sample) in to.iter_mut().enumerate() {
                *sample = from[n.min(from_channels - 1)];
            }
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
