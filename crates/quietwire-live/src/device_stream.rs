//! The callbacks of the streams of cpal.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cpal::traits::DeviceTrait;
use cpal::{Device, ErrorKind, FromSample, SampleFormat, SizedSample, Stream, StreamConfig};

use crate::link::{CaptureCallback, LinkCounters, PlayoutCallback};
use crate::realtime::request_priority;
use crate::supervisor::DeviceRole;

/// Time for a device to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// The errors of streams, until the thread of the devices takes them.
pub(crate) type Losses = Arc<Mutex<Vec<(DeviceRole, String)>>>;

/// What both directions need to build a stream.
pub(crate) struct StreamBuilder<'a> {
    pub device: &'a Device,
    pub config: StreamConfig,
    pub epoch: Instant,
    pub losses: Losses,
    pub role: DeviceRole,
}

impl StreamBuilder<'_> {
    /// A stream of an input device, not started.
    pub(crate) fn capture(
        &self,
        format: SampleFormat,
        callback: CaptureCallback,
        counters: Arc<LinkCounters>,
    ) -> Result<Stream, cpal::Error> {
        match format {
            SampleFormat::F32 => self.input::<f32>(callback, counters),
            SampleFormat::I16 => self.input::<i16>(callback, counters),
            SampleFormat::I32 => self.input::<i32>(callback, counters),
            SampleFormat::I8 => self.input::<i8>(callback, counters),
            SampleFormat::U8 => self.input::<u8>(callback, counters),
            SampleFormat::U16 => self.input::<u16>(callback, counters),
            SampleFormat::F64 => self.input::<f64>(callback, counters),
            _ => Err(ErrorKind::UnsupportedConfig.into()),
        }
    }

    /// A stream of an output device, not started.
    pub(crate) fn playout(
        &self,
        format: SampleFormat,
        callback: PlayoutCallback,
        counters: Arc<LinkCounters>,
    ) -> Result<Stream, cpal::Error> {
        match format {
            SampleFormat::F32 => self.output::<f32>(callback, counters),
            SampleFormat::I16 => self.output::<i16>(callback, counters),
            SampleFormat::I32 => self.output::<i32>(callback, counters),
            SampleFormat::I8 => self.output::<i8>(callback, counters),
            SampleFormat::U8 => self.output::<u8>(callback, counters),
            SampleFormat::U16 => self.output::<u16>(callback, counters),
            SampleFormat::F64 => self.output::<f64>(callback, counters),
            _ => Err(ErrorKind::UnsupportedConfig.into()),
        }
    }

    fn input<T>(
        &self,
        mut callback: CaptureCallback,
        counters: Arc<LinkCounters>,
    ) -> Result<Stream, cpal::Error>
    where
        T: SizedSample,
        f32: FromSample<T>,
    {
        let epoch = self.epoch;
        let frame_s = 1.0 / f64::from(self.config.sample_rate);
        let channels = usize::from(self.config.channels).max(1);
        let mut has_priority = false;
        self.device.build_input_stream::<T, _, _>(
            self.config,
            move |block, info| {
                raise_once(&mut has_priority);
                let times = info.timestamp();
                // `capture` is the time of the first frame.
                let age = times.callback.saturating_duration_since(times.capture);
                let block_s = (block.len() / channels) as f64 * frame_s;
                let age = age.saturating_sub(Duration::from_secs_f64(block_s));
                callback.on_block(block, |s| f32::from_sample_(s), epoch.elapsed(), age);
            },
            self.on_error(counters),
            Some(OPEN_TIMEOUT),
        )
    }

    fn output<T>(
        &self,
        mut callback: PlayoutCallback,
        counters: Arc<LinkCounters>,
    ) -> Result<Stream, cpal::Error>
    where
        T: SizedSample + FromSample<f32>,
    {
        let epoch = self.epoch;
        let mut has_priority = false;
        self.device.build_output_stream::<T, _, _>(
            self.config,
            move |block, info| {
                raise_once(&mut has_priority);
                let times = info.timestamp();
                let until = times.playback.saturating_duration_since(times.callback);
                callback.on_block(block, |s| T::from_sample_(s), epoch.elapsed(), until);
            },
            self.on_error(counters),
            Some(OPEN_TIMEOUT),
        )
    }

    fn on_error(&self, counters: Arc<LinkCounters>) -> impl FnMut(cpal::Error) + Send + 'static {
        let (losses, role) = (self.losses.clone(), self.role);
        move |error| match error.kind() {
            ErrorKind::Xrun => {
                counters.device_xruns.fetch_add(1, Relaxed);
            }
            // The stream goes on.
            ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged => {}
            _ => lock(&losses).push((role, error.to_string())),
        }
    }
}

/// Requests real-time priority for the thread of a callback, in its first call only: some audio systems
/// run callbacks on plain threads.
fn raise_once(has_priority: &mut bool) {
    if !std::mem::replace(has_priority, true) {
        let _ = request_priority();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
