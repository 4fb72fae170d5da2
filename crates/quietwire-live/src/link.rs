//! The lock-free rings between the callbacks of the audio devices and the worker thread.
//!
//! Besides its samples each link carries a stamp of every callback: the time and the number of frames
//! so far. With them the worker computes how many frames are queued at any moment, as if the device
//! moved them one by one. The number does not jump with the blocks of the device.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::splice::Splice;

/// Callbacks whose stamps fit into the ring of a link. The worker reads them every millisecond.
const STAMPS: usize = 256;
/// Callbacks over which the largest block is searched.
const BLOCK_CALLBACKS: u32 = 500;
/// Weight of a new callback in the smoothed latency of the device.
const LATENCY_SMOOTHING: f64 = 0.02;

/// The format in which a device moves samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamFormat {
    /// Sample rate, Hz.
    pub rate_hz: u32,
    /// Interleaved channels.
    pub channels: usize,
    /// Frames of a callback as requested. A device may move others.
    pub block_frames: usize,
}

/// What a callback counts. Written by the callback, read by any thread.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// Callbacks so far.
    pub callbacks: AtomicU64,
    /// Capture: frames for which the ring had no room. Playout: frames of silence because the ring
    /// was empty.
    pub missed_frames: AtomicU64,
    /// Playout: times that the ring ran empty.
    pub underruns: AtomicU64,
    /// Overruns and underruns that the device reported.
    pub device_xruns: AtomicU64,
}

/// One callback.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    /// frames of the link up to and including this callback
    frames: u64,
    block_frames: usize,
    at: Duration,
    device_latency: Duration,
}

/// The time of the latest callback and what follows from it.
#[derive(Debug)]
struct Clock {
    stamps: Consumer<Stamp>,
    latest: Option<Stamp>,
    rate_hz: f64,
    /// largest block of the latest callbacks, and of the ones that are counted now
    block_frames: [usize; 2],
    callbacks: u32,
    /// smoothed, s
    device_latency_s: Option<f64>,
}

impl Clock {
    fn update(&mut self) {
        while let Ok(stamp) = self.stamps.pop() {
            self.callbacks += 1;
            if self.callbacks.is_multiple_of(BLOCK_CALLBACKS) {
                self.block_frames = [self.block_frames[1], 0];
            }
            self.block_frames[1] = self.block_frames[1].max(stamp.block_frames);
            let latency_s = stamp.device_latency.as_secs_f64();
            let old_s = self.device_latency_s.unwrap_or(latency_s);
            self.device_latency_s = Some(old_s + LATENCY_SMOOTHING * (latency_s - old_s));
            self.latest = Some(stamp);
        }
    }

    /// Frames of the device's blocks: the largest of the latest.
    fn block_frames(&self) -> usize {
        self.block_frames[0].max(self.block_frames[1]).max(1)
    }

    /// Frames that the device has moved at `now`, between two callbacks too. At most two blocks after
    /// the latest callback: a device that has stopped does not move frames.
    fn frames(&self, now: Duration) -> f64 {
        let Some(latest) = self.latest else {
            return 0.0;
        };
        let since = now.saturating_sub(latest.at).as_secs_f64() * self.rate_hz;
        latest.frames as f64 + since.min(2.0 * self.block_frames() as f64)
    }

    fn device_latency_s(&self) -> f64 {
        self.device_latency_s.unwrap_or(0.0)
    }
}

/// The side of a capture link in the callback of the input device.
#[derive(Debug)]
pub struct CaptureCallback {
    samples: Producer<f32>,
    stamps: Producer<Stamp>,
    counters: Arc<LinkCounters>,
    channels: usize,
    frames: u64,
}

impl CaptureCallback {
    /// Takes a block of the device, interleaved. `at` is the time of the callback on the clock of the
    /// worker; `device_latency` is the age of the newest frame.
    ///
    /// # Real-time
    /// No allocation, lock, log or system call.
    pub fn on_block<T: Copy>(
        &mut self,
        block: &[T],
        to_f32: impl Fn(T) -> f32,
        at: Duration,
        device_latency: Duration,
    ) {
        let frames = block.len() / self.channels;
        let room = self.samples.slots() / self.channels;
        let taken = frames.min(room);
        if let Ok(chunk) = self.samples.write_chunk_uninit(taken * self.channels) {
            chunk.fill_from_iter(block.iter().map(|sample| to_f32(*sample)));
        }
        self.frames += taken as u64;
        self.counters.callbacks.fetch_add(1, Relaxed);
        let missed = (frames - taken) as u64;
        self.counters.missed_frames.fetch_add(missed, Relaxed);
        // A full ring means that the worker does not run. It gets the next stamp then.
        let _ = self.stamps.push(Stamp {
            frames: self.frames,
            block_frames: frames,
            at,
            device_latency,
        });
    }
}

/// The side of a capture link in the worker.
#[derive(Debug)]
pub struct CaptureReader {
    samples: Consumer<f32>,
    clock: Clock,
    format: StreamFormat,
    frames: u64,
    counters: Arc<LinkCounters>,
}

impl CaptureReader {
    /// The format of the device.
    pub fn format(&self) -> StreamFormat {
        self.format
    }

    /// The counters of the link.
    pub fn counters(&self) -> &Arc<LinkCounters> {
        &self.counters
    }

    /// Frames that can be read.
    pub fn available_frames(&self) -> usize {
        self.samples.slots() / self.format.channels
    }

    /// Reads frames, interleaved. Returns false, and reads nothing, when there are not enough.
    pub fn read(&mut self, block: &mut [f32]) -> bool {
        let is_read = self.samples.pop_entire_slice(block).is_ok();
        if is_read {
            self.frames += (block.len() / self.format.channels) as u64;
        }
        is_read
    }

    /// Seconds of audio that were captured and not read at `now`, those inside the device's block
    /// included.
    pub(crate) fn queued_s(&mut self, now: Duration) -> f64 {
        self.clock.update();
        (self.clock.frames(now) - self.frames as f64) / f64::from(self.format.rate_hz)
    }

    /// Frames of the device's blocks, as seen.
    pub(crate) fn block_frames(&self) -> usize {
        self.clock.block_frames()
    }

    pub(crate) fn device_latency_s(&self) -> f64 {
        self.clock.device_latency_s()
    }
}

/// The side of a playout link in the callback of the output device.
#[derive(Debug)]
pub struct PlayoutCallback {
    samples: Consumer<f32>,
    stamps: Producer<Stamp>,
    counters: Arc<LinkCounters>,
    channels: usize,
    frames: u64,
    splice: Splice,
    is_dry: bool,
    /// [channels]
    frame: Vec<f32>,
}

impl PlayoutCallback {
    /// Fills a block of the device, interleaved. Frames that are missing are silence; both ends of the
    /// gap are faded. `device_latency` is the time until the first frame of the block is played.
    ///
    /// # Real-time
    /// No allocation, lock, log or system call.
    pub fn on_block<T>(
        &mut self,
        block: &mut [T],
        from_f32: impl Fn(f32) -> T,
        at: Duration,
        device_latency: Duration,
    ) {
        let wanted = block.len() / self.channels;
        let taken = wanted.min(self.samples.slots() / self.channels);
        let mut left = taken;
        // Before the worker has written anything there is nothing to miss.
        let has_started = self.frames > 0 || taken > 0;
        for output in block.chunks_exact_mut(self.channels) {
            let is_dry = left == 0;
            if is_dry {
                self.frame.fill(0.0);
            } else {
                let _ = self.samples.pop_entire_slice(&mut self.frame);
                left -= 1;
            }
            if is_dry != self.is_dry {
                self.splice.join();
                self.is_dry = is_dry;
                if is_dry && has_started {
                    self.counters.underruns.fetch_add(1, Relaxed);
                }
            }
            self.splice.apply(&mut self.frame);
            for (output, sample) in output.iter_mut().zip(&self.frame) {
                *output = from_f32(*sample);
            }
        }
        self.frames += taken as u64;
        self.counters.callbacks.fetch_add(1, Relaxed);
        if has_started {
            let missed = (wanted - taken) as u64;
            self.counters.missed_frames.fetch_add(missed, Relaxed);
        }
        let _ = self.stamps.push(Stamp {
            frames: self.frames,
            block_frames: wanted,
            at,
            device_latency,
        });
    }
}

/// The side of a playout link in the worker.
#[derive(Debug)]
pub struct PlayoutWriter {
    samples: Producer<f32>,
    clock: Clock,
    format: StreamFormat,
    frames: u64,
    counters: Arc<LinkCounters>,
}

impl PlayoutWriter {
    /// The format of the device.
    pub fn format(&self) -> StreamFormat {
        self.format
    }

    /// The counters of the link.
    pub fn counters(&self) -> &Arc<LinkCounters> {
        &self.counters
    }

    /// Writes one frame. Returns false when the ring is full.
    pub(crate) fn write(&mut self, frame: &[f32]) -> bool {
        let is_written = self.samples.push_entire_slice(frame).is_ok();
        self.frames += u64::from(is_written);
        is_written
    }

    /// Frames of the device's blocks, as seen.
    pub(crate) fn block_frames(&self) -> usize {
        self.clock.block_frames()
    }

    /// Seconds of audio that were written and not played at `now`: those in the ring, and the part of
    /// the device's latest block that it plays after `now`. `None` before the first callback.
    pub(crate) fn queued_s(&mut self, now: Duration) -> Option<f64> {
        let (ring, rest) = self.frames_at(now)?;
        Some((ring + rest) / self.clock.rate_hz)
    }

    /// Seconds until a callback finds too few frames in the ring. `None` before the first callback.
    pub(crate) fn slack_s(&mut self, now: Duration) -> Option<f64> {
        let (ring, rest) = self.frames_at(now)?;
        let block = self.clock.block_frames() as f64;
        Some(((ring / block).floor() * block + rest) / self.clock.rate_hz)
    }

    /// Frames in the ring, and frames of the latest block that are played after `now`.
    fn frames_at(&mut self, now: Duration) -> Option<(f64, f64)> {
        self.clock.update();
        let latest = self.clock.latest?;
        // The frames of a block are played from its callback on.
        let since = now.saturating_sub(latest.at).as_secs_f64() * self.clock.rate_hz;
        let ring = self.frames as f64 - latest.frames as f64;
        Some((ring, (latest.block_frames as f64 - since).max(0.0)))
    }

    pub(crate) fn device_latency_s(&self) -> f64 {
        self.clock.device_latency_s()
    }
}

/// The two sides of a capture link. `capacity_s` seconds of audio fit into the ring.
pub fn capture_link(format: StreamFormat, capacity_s: f64) -> (CaptureCallback, CaptureReader) {
    let counters = Arc::new(LinkCounters::default());
    let (write, read) = RingBuffer::new(capacity(format, capacity_s));
    let (push_stamp, stamps) = RingBuffer::new(STAMPS);
    let callback = CaptureCallback {
        samples: write,
        stamps: push_stamp,
        counters: counters.clone(),
        channels: format.channels,
        frames: 0,
    };
    let reader = CaptureReader {
        samples: read,
        clock: clock(stamps, format),
        format,
        frames: 0,
        counters,
    };
    (callback, reader)
}

/// The two sides of a playout link. `capacity_s` seconds of audio fit into the ring.
pub fn playout_link(format: StreamFormat, capacity_s: f64) -> (PlayoutCallback, PlayoutWriter) {
    let counters = Arc::new(LinkCounters::default());
    let (write, read) = RingBuffer::new(capacity(format, capacity_s));
    let (push_stamp, stamps) = RingBuffer::new(STAMPS);
    let callback = PlayoutCallback {
        samples: read,
        stamps: push_stamp,
        counters: counters.clone(),
        channels: format.channels,
        frames: 0,
        splice: Splice::new(format.channels, format.rate_hz),
        is_dry: true,
        frame: vec![0.0; format.channels],
    };
    let writer = PlayoutWriter {
        samples: write,
        clock: clock(stamps, format),
        format,
        frames: 0,
        counters,
    };
    (callback, writer)
}

fn capacity(format: StreamFormat, seconds: f64) -> usize {
    let frames = (f64::from(format.rate_hz) * seconds) as usize;
    frames.max(8 * format.block_frames) * format.channels
}

fn clock(stamps: Consumer<Stamp>, format: StreamFormat) -> Clock {
    Clock {
        stamps,
        latest: None,
        rate_hz: f64::from(format.rate_hz),
        block_frames: [format.block_frames, 0],
        callbacks: 0,
        device_latency_s: None,
    }
}
