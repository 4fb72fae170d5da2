//! Removes the echo of a loudspeaker from the microphone: sonora's port of WebRTC's AEC3.
//!
//! The reference, the signal that the loudspeaker plays, comes from a device with a clock of its own. It
//! is resampled to the clock of the microphone like an output is to that of its device: the engine pulls
//! a hop of it for each hop of the microphone. The queue for it delays the reference, so the microphone is
//! delayed too: its echo must not come before the reference. AEC3 estimates the delay between the two.

use std::time::Duration;

use sonora::config::EchoCanceller;
use sonora::{AudioProcessing, Config, StreamConfig};

use crate::link::{CaptureReader, PlayoutCallback, StreamFormat, playout_link};
use crate::playout::Playout;

/// Rates at which AEC3 runs, Hz. A path at another rate has no echo canceller.
const RATES_HZ: [u32; 3] = [16_000, 32_000, 48_000];
/// Frames of reference that the ring holds, s.
const RING_S: f64 = 0.5;
/// Delay of the microphone, s: close to that of the queue of the reference with blocks of 10 ms.
const MICROPHONE_DELAY_S: f64 = 0.03;
/// Delay of AEC3 with its filter banks and blocks, s. The test `the_latency_is_as_stated` measures it.
const CANCELLER_DELAY_S: f64 = 0.0122;
/// Blocks of AEC3 each second.
const BLOCKS_PER_SECOND: u32 = 100;

/// The echo canceller of one microphone.
pub struct EchoPath {
    canceller: AudioProcessing,
    reader: CaptureReader,
    playout: Playout,
    pulled: PlayoutCallback,
    frames: usize,
    /// [frames, channels of the reference device]
    device_hop: Vec<f32>,
    /// [frames of a hop at the rate of the reference]
    reference_hop: Vec<f32>,
    /// [frames of a hop of the microphone]
    reference: Vec<f32>,
    output: Vec<f32>,
    /// ring of the delayed microphone
    delayed: Vec<f32>,
    at: usize,
}

impl std::fmt::Debug for EchoPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EchoPath")
            .field("playout", &self.playout)
            .finish_non_exhaustive()
    }
}

/// Whether a path at this rate can have an echo canceller.
pub(crate) fn is_supported(rate_hz: u32) -> bool {
    RATES_HZ.contains(&rate_hz)
}

impl EchoPath {
    /// For a microphone at `rate_hz`, 16, 32 or 48 kHz, one channel. `None` at other rates.
    pub fn new(reader: CaptureReader, rate_hz: u32) -> Option<Self> {
        if !is_supported(rate_hz) {
            return None;
        }
        let from = reader.format();
        let frames = (rate_hz / BLOCKS_PER_SECOND) as usize;
        let reference_frames = (from.rate_hz / BLOCKS_PER_SECOND).max(1) as usize;
        let format = StreamFormat {
            rate_hz,
            channels: 1,
            block_frames: frames,
        };
        let (mut pulled, writer) = playout_link(format, RING_S);
        // The path that fills the ring starts with the first pull.
        pulled.on_block(
            &mut vec![0.0; frames],
            |s| s,
            Duration::ZERO,
            Duration::ZERO,
        );
        Some(Self {
            canceller: canceller(rate_hz),
            playout: Playout::new(writer, from.rate_hz, 1, reference_frames),
            pulled,
            frames,
            device_hop: vec![0.0; reference_frames * from.channels],
            reference_hop: vec![0.0; reference_frames],
            reference: vec![0.0; frames],
            output: vec![0.0; frames],
            delayed: vec![0.0; (MICROPHONE_DELAY_S * f64::from(rate_hz)) as usize],
            at: 0,
            reader,
        })
    }

    /// The link, for another rate of the microphone.
    pub(crate) fn into_reader(self) -> CaptureReader {
        self.reader
    }

    /// Removes the echo from one hop of 10 ms, one channel, in place.
    ///
    /// # Real-time
    /// sonora may allocate. For the worker, not for a callback.
    pub(crate) fn process(&mut self, hop: &mut [f32], now: Duration) {
        let from = self.reader.format();
        while self.reader.read(&mut self.device_hop) {
            let frames = self.device_hop.chunks_exact(from.channels);
            for (mean, frame) in self.reference_hop.iter_mut().zip(frames) {
                *mean = frame.iter().sum::<f32>() / from.channels as f32;
            }
            let before_s = self.reader.queued_s(now);
            let block_s = self.reader.block_frames() as f64 / f64::from(from.rate_hz);
            let wait_s = block_s + 1.0 / f64::from(BLOCKS_PER_SECOND);
            self.playout
                .push(&self.reference_hop, before_s, wait_s, now);
        }
        for sample in hop.iter_mut() {
            std::mem::swap(sample, &mut self.delayed[self.at]);
            self.at = (self.at + 1) % self.delayed.len();
        }
        if hop.len() != self.frames {
            return;
        }
        self.pulled
            .on_block(&mut self.reference, |s| s, now, Duration::ZERO);
        cancel(&mut self.canceller, &self.reference, hop, &mut self.output);
    }

    /// Latency that the echo canceller adds, s.
    pub(crate) fn latency_s() -> f64 {
        MICROPHONE_DELAY_S + CANCELLER_DELAY_S
    }

    /// Echo return loss enhancement that AEC3 measures, dB.
    pub(crate) fn erle_db(&self) -> Option<f64> {
        self.canceller.statistics().echo_return_loss_enhancement
    }
}

fn canceller(rate_hz: u32) -> AudioProcessing {
    let config = Config {
        echo_canceller: Some(EchoCanceller::default()),
        ..Config::default()
    };
    AudioProcessing::builder()
        .config(config)
        .capture_config(StreamConfig::new(rate_hz, 1))
        .render_config(StreamConfig::new(rate_hz, 1))
        .build()
}

/// One block of 10 ms. A block that sonora rejects stays as it is.
fn cancel(canceller: &mut AudioProcessing, reference: &[f32], hop: &mut [f32], output: &mut [f32]) {
    let rendered = canceller.process_render_f32(&[reference], &mut [&mut *output]);
    let captured = canceller.process_capture_f32(&[&*hop], &mut [&mut *output]);
    if rendered.is_ok() && captured.is_ok() {
        hop.copy_from_slice(output);
    }
}

#[cfg(test)]
mod tests {
    use quietwire_testing::Random;
    use quietwire_testing::signal::white;

    use super::*;

    const RATE_HZ: usize = 48_000;
    const BLOCK: usize = 480;

    /// A voice of the sample clips, repeated for `seconds`.
    fn voice(name: &str, seconds: usize) -> Vec<f32> {
        let path = quietwire_testing::files::sample(env!("CARGO_MANIFEST_DIR"), name);
        let mut reader = hound::WavReader::open(path).unwrap();
        let samples = reader
            .samples::<i16>()
            .map(|s| f32::from(s.unwrap()) / 32768.0);
        let samples: Vec<f32> = samples.collect();
        samples
            .iter()
            .copied()
            .cycle()
            .take(seconds * RATE_HZ)
            .collect()
    }

    /// The echo of a room: a direct path and a decaying tail, 200 ms long, after `delay` samples.
    fn echo_of(reference: &[f32], delay: usize) -> Vec<f32> {
        let mut random = Random::new(9);
        let taps: Vec<(usize, f32)> = (0..60)
            .map(|n| {
                let at = n * 160;
                let decay = (-(at as f32) / 2400.0).exp();
                (
                    delay + at,
                    0.3 * decay * if n == 0 { 1.0 } else { white(&mut random) },
                )
            })
            .collect();
        let sample = |n: usize| {
            let of_tap =
                |(at, gain): &(usize, f32)| n.checked_sub(*at).map(|at| gain * reference[at]);
            taps.iter().filter_map(of_tap).sum()
        };
        (0..reference.len()).map(sample).collect()
    }

    fn level_db(signal: &[f32]) -> f32 {
        10.0 * (signal.iter().map(|s| s * s).sum::<f32>() / signal.len() as f32 + 1e-12).log10()
    }

    fn cancelled(reference: &[f32], microphone: &[f32]) -> Vec<f32> {
        let mut canceller = canceller(RATE_HZ as u32);
        let mut clean = microphone.to_vec();
        let mut output = vec![0.0; BLOCK];
        for (reference, hop) in reference
            .chunks_exact(BLOCK)
            .zip(clean.chunks_exact_mut(BLOCK))
        {
            cancel(&mut canceller, reference, hop, &mut output);
        }
        clean
    }

    #[test]
    fn the_echo_of_a_room_is_removed_at_every_delay() {
        let reference = voice("keyboard.wav", 10);
        for delay_ms in [5, 60, 150] {
            let echo = echo_of(&reference, delay_ms * RATE_HZ / 1000);
            let clean = cancelled(&reference, &echo);
            let settled = 5 * RATE_HZ..;
            let erle_db = level_db(&echo[settled.clone()]) - level_db(&clean[settled]);
            println!("delay {delay_ms} ms: echo return loss enhancement {erle_db:.1} dB");
            assert!(erle_db > 25.0, "{delay_ms} ms: {erle_db} dB");
        }
    }

    #[test]
    fn two_voices_at_once_keep_the_near_one() {
        let reference = voice("keyboard.wav", 14);
        let echo = echo_of(&reference, 2400);
        let voice = voice("office-fan.wav", 14);
        let start = 6 * RATE_HZ;
        let microphone: Vec<f32> = (0..echo.len())
            .map(|n| echo[n] + if n < start { 0.0 } else { voice[n] })
            .collect();
        let clean = cancelled(&reference, &microphone);
        let both = 7 * RATE_HZ..;
        let change_db = level_db(&clean[both.clone()]) - level_db(&voice[both]);
        println!("two voices: level of the voice {change_db:+.1} dB");
        assert!(change_db.abs() < 3.5, "{change_db} dB");
    }

    const FORMAT: StreamFormat = StreamFormat {
        rate_hz: RATE_HZ as u32,
        channels: 1,
        block_frames: BLOCK,
    };

    /// The signal at a time, between two samples too.
    fn at(signal: &[f32], time_s: f64) -> f32 {
        let place = (time_s * RATE_HZ as f64).max(0.0);
        let (n, part) = (place as usize, place.fract() as f32);
        if n + 1 >= signal.len() {
            return 0.0;
        }
        signal[n] + part * (signal[n + 1] - signal[n])
    }

    #[test]
    fn a_reference_with_another_clock_is_followed() {
        let reference = voice("keyboard.wav", 31);
        let echo = echo_of(&reference, RATE_HZ / 100);
        let (mut callback, reader) = crate::link::capture_link(FORMAT, 1.0);
        let mut path = EchoPath::new(reader, RATE_HZ as u32).unwrap();
        let drift = 1.0 + 200e-6;
        let (mut sent, mut played) = (0usize, 0usize);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for hop in 1..2900 {
            let now_s = 0.01 * f64::from(hop);
            while ((sent + BLOCK) as f64) / RATE_HZ as f64 / drift <= now_s {
                let at_s = (sent + BLOCK) as f64 / RATE_HZ as f64 / drift;
                let time = |n: usize| n as f64 / RATE_HZ as f64 / drift;
                let block: Vec<f32> = (sent..sent + BLOCK)
                    .map(|n| at(&reference, time(n)))
                    .collect();
                callback.on_block(&block, |s| s, Duration::from_secs_f64(at_s), Duration::ZERO);
                sent += BLOCK;
            }
            let mut microphone = echo[played..played + BLOCK].to_vec();
            played += BLOCK;
            before.extend_from_slice(&microphone);
            path.process(&mut microphone, Duration::from_secs_f64(now_s));
            after.extend_from_slice(&microphone);
        }
        let settled = 14 * RATE_HZ..28 * RATE_HZ;
        let erle_db = level_db(&before[settled.clone()]) - level_db(&after[settled]);
        println!("200 ppm apart: echo return loss enhancement {erle_db:.1} dB");
        assert!(erle_db > 20.0, "{erle_db} dB");
    }

    #[test]
    fn the_latency_is_as_stated() {
        let (_callback, reader) = crate::link::capture_link(FORMAT, 1.0);
        let mut path = EchoPath::new(reader, RATE_HZ as u32).unwrap();
        let clip = voice("office-fan.wav", 6);
        let mut output = Vec::new();
        for (hop, samples) in clip.chunks_exact(BLOCK).enumerate() {
            let mut samples = samples.to_vec();
            path.process(&mut samples, Duration::from_millis(10 * hop as u64));
            output.extend(samples);
        }
        let correlation = |lag: usize| -> f32 {
            let from = 3 * RATE_HZ;
            (from..5 * RATE_HZ).map(|n| clip[n] * output[n + lag]).sum()
        };
        let lag = (0..4800)
            .step_by(4)
            .max_by(|a, b| correlation(*a).total_cmp(&correlation(*b)));
        let measured_ms = 1e3 * lag.unwrap() as f64 / RATE_HZ as f64;
        let stated_ms = 1e3 * EchoPath::latency_s();
        println!("echo canceller: latency {measured_ms:.2} ms, stated {stated_ms:.2} ms");
        assert!((measured_ms - stated_ms).abs() < 1.0, "{measured_ms} ms");
    }
}
