//! Spectrogram columns for the page. They are computed only while a client requests them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use crate::api::relay::Strip;

/// Distance of two columns, ms.
pub const COLUMN_MS: u64 = 50;
/// Columns that are kept: ten seconds.
const COLUMNS: usize = 200;
const BANDS: usize = 32;
/// Columns without new samples that still show the latest ones, because packets arrive in bursts.
const MAX_STALE_COLUMNS: u64 = 3;
const MIN_HZ: f32 = 100.0;
const MAX_HZ: f32 = 20_000.0;
/// Level of byte 1, dBFS; byte 255 is 0 dBFS. Byte 0 means that there is no audio.
const MIN_DBFS: f32 = -120.0;

/// Number of the column at a time since the start.
pub fn column(clock: Duration) -> u64 {
    clock.as_millis() as u64 / COLUMN_MS
}

/// Center frequencies of the bands, evenly spaced on a logarithmic scale.
pub fn bands_hz() -> Vec<f32> {
    let step = (MAX_HZ / MIN_HZ).powf(1.0 / (BANDS - 1) as f32);
    (0..BANDS)
        .map(|band| MIN_HZ * step.powi(band as i32))
        .collect()
}

/// Which signal of a stream.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    Input,
    Output,
}

/// The columns of one signal.
struct SignalColumns {
    /// [window] ring of the latest samples of the first channel
    recent: Vec<f32>,
    /// index of the oldest sample
    head: usize,
    /// columns since the latest samples
    stale: u64,
    columns: VecDeque<[u8; BANDS]>,
}

/// The spectrogram columns of one stream.
pub struct SpectrogramFeed {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// bins of each band
    bins: Vec<std::ops::Range<usize>>,
    windowed: Vec<f32>,
    spectrum: Vec<Complex32>,
    /// input, output
    signals: [SignalColumns; 2],
    newest: u64,
}

impl SpectrogramFeed {
    /// A feed that starts after column number `column`.
    pub fn new(rate_hz: u32, column: u64) -> Self {
        let len = (rate_hz as usize * COLUMN_MS as usize / 1000).max(64);
        let fft = RealFftPlanner::new().plan_fft_forward(len);
        let radians_per_sample = std::f32::consts::TAU / len as f32;
        let window = (0..len).map(|n| 0.5 - 0.5 * (radians_per_sample * n as f32).cos());
        let centers = bands_hz();
        let step = (centers[1] / centers[0]).sqrt();
        let bin = |hz: f32| (hz * len as f32 / rate_hz as f32).round() as usize;
        let bins = centers.iter().map(|hz| {
            let (from, to) = (bin(hz / step), bin(hz * step));
            from.min(len / 2 + 1)..to.max(from + 1).min(len / 2 + 1)
        });
        let signal = || SignalColumns {
            recent: vec![0.0; len],
            head: 0,
            stale: MAX_STALE_COLUMNS,
            columns: VecDeque::with_capacity(COLUMNS),
        };
        Self {
            window: window.collect(),
            bins: bins.collect(),
            windowed: vec![0.0; len],
            spectrum: fft.make_output_vec(),
            fft,
            signals: [signal(), signal()],
            newest: column,
        }
    }

    /// Appends interleaved samples of one signal.
    pub fn push(&mut self, signal: Signal, block: &[f32], channels: usize) {
        let signal = &mut self.signals[signal as usize];
        signal.stale = 0;
        for sample in block.iter().step_by(channels) {
            signal.recent[signal.head] = *sample;
            signal.head = (signal.head + 1) % signal.recent.len();
        }
    }

    /// Computes the columns up to number `column`.
    pub fn advance_to(&mut self, column: u64) {
        let new_columns = column.saturating_sub(self.newest);
        self.newest = self.newest.max(column);
        for _ in 0..new_columns.min(COLUMNS as u64) {
            for index in 0..2 {
                let levels = self.compute_column(index);
                let signal = &mut self.signals[index];
                if signal.columns.len() == COLUMNS {
                    signal.columns.pop_front();
                }
                signal.columns.push_back(levels);
                signal.stale += 1;
            }
        }
    }

    fn compute_column(&mut self, index: usize) -> [u8; BANDS] {
        let signal = &self.signals[index];
        let mut levels = [0; BANDS];
        if signal.stale >= MAX_STALE_COLUMNS {
            return levels;
        }
        let (new, old) = signal.recent.split_at(signal.head);
        let samples = old.iter().chain(new).zip(&self.window);
        for (to, (x, window)) in self.windowed.iter_mut().zip(samples) {
            *to = x * window;
        }
        self.fft
            .process(&mut self.windowed, &mut self.spectrum)
            .expect("the buffers have the lengths of the FFT");
        // A full-scale sine is 0 dBFS: one bin has half of its amplitude, and the mean of the window is
        // one half.
        let full_scale = self.windowed.len() as f32 / 4.0;
        for (to, bins) in levels.iter_mut().zip(&self.bins) {
            let power: f32 = self.spectrum[bins.clone()]
                .iter()
                .map(|x| x.norm_sqr())
                .sum();
            let dbfs = 10.0 * (power / (full_scale * full_scale) + 1e-20).log10();
            *to = ((255.0 * (1.0 - dbfs / MIN_DBFS)) as u8).max(1);
        }
        levels
    }

    /// The columns after number `since`.
    pub fn since(&self, since: u64) -> Strip {
        let wanted = self.newest.saturating_sub(since).min(COLUMNS as u64) as usize;
        let bytes = |signal: &SignalColumns| {
            let skip = signal.columns.len().saturating_sub(wanted);
            let bytes: Vec<u8> = signal
                .columns
                .iter()
                .skip(skip)
                .flatten()
                .copied()
                .collect();
            BASE64_STANDARD.encode(bytes)
        };
        Strip {
            newest: self.newest,
            input: bytes(&self.signals[0]),
            output: bytes(&self.signals[1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_appears_in_its_band_of_its_signal() {
        let mut feed = SpectrogramFeed::new(48_000, 100);
        assert_eq!(
            feed.since(0).input,
            "",
            "there are no columns before the start"
        );
        let tone: Vec<f32> = (0..4800)
            .map(|n| (n as f32 * 1000.0 * std::f32::consts::TAU / 48_000.0).sin())
            .collect();
        feed.push(Signal::Input, &tone, 1);
        feed.advance_to(107);
        let strip = feed.since(106);
        let [input, output] =
            [strip.input, strip.output].map(|s| BASE64_STANDARD.decode(s).unwrap());
        assert_eq!(
            (strip.newest, input.len(), output.len()),
            (107, BANDS, BANDS)
        );
        assert!(output.iter().all(|level| *level == 0));
        // Of the seven columns the first has the tone.
        let all = BASE64_STANDARD.decode(feed.since(0).input).unwrap();
        let column = &all[..BANDS];
        let loudest_band = (0..BANDS).max_by_key(|band| column[*band]).unwrap();
        let hz = bands_hz()[loudest_band];
        assert!(
            (900.0..1100.0).contains(&hz) && column[loudest_band] > 250,
            "{hz}"
        );
        assert!(input.iter().all(|level| *level == 0));
    }
}
