//! Spectrograms of any length in constant memory, drawn as PNG.

mod draw;
mod font;

use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex32};

pub(super) use draw::before_and_after;

/// Columns of the picture.
const WIDTH: usize = 1120;
/// Rows of one spectrogram.
const HEIGHT: usize = 280;
/// Lowest frequency drawn, Hz.
const LOW_HZ: f32 = 0.0;

/// The magnitudes of a stream, as columns of rows in dBFS.
///
/// Whatever the length, there are at most twice as many columns as the picture has: when they
/// are full, neighbors merge into their larger value and each column lasts twice as long.
pub(super) struct Spectrogram {
    rate_hz: u32,
    channels: usize,
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// The last samples, mixed to mono; `filled` of them, from the front.
    mono: Vec<f32>,
    filled: usize,
    hop: usize,
    /// Transforms merged into one column, and those merged so far.
    per_column: usize,
    merged: usize,
    /// First and last bin of every row.
    rows: Vec<(usize, usize)>,
    column: Vec<f32>,
    columns: Vec<Vec<f32>>,
    frames: u64,
    input: Vec<f32>,
    output: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Spectrogram {
    pub(super) fn new(rate_hz: u32, channels: u16) -> Self {
        // 43 to 86 ms: harmonics of a voice apart, syllables too.
        let size = ((rate_hz as f32 * 0.042) as usize)
            .next_power_of_two()
            .max(64);
        let fft = RealFftPlanner::new().plan_fft_forward(size);
        let hann = |n: usize| {
            let phase = std::f32::consts::TAU * n as f32 / size as f32;
            // A full-scale sine reaches 0 dB in its bin.
            (0.5 - 0.5 * phase.cos()) * 4.0 / size as f32
        };
        Self {
            rate_hz,
            channels: channels.into(),
            window: (0..size).map(hann).collect(),
            // Silence before the start centers the first window on the first sample.
            mono: vec![0.0; size],
            filled: size / 2,
            hop: size / 16,
            per_column: 1,
            merged: 0,
            rows: (0..HEIGHT)
                .map(|row| row_bins(row, size, rate_hz))
                .collect(),
            column: vec![f32::NEG_INFINITY; HEIGHT],
            columns: Vec::new(),
            frames: 0,
            input: fft.make_input_vec(),
            output: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
        }
    }

    /// Adds interleaved samples.
    pub(super) fn push(&mut self, samples: &[f32]) {
        for frame in samples.chunks_exact(self.channels) {
            self.frames += 1;
            self.push_mono(frame.iter().sum::<f32>() / self.channels as f32);
        }
    }

    /// Ends the stream: half a window of silence brings the last sample to a window's center.
    pub(super) fn finish(&mut self) {
        for _ in 0..self.mono.len() / 2 {
            self.push_mono(0.0);
        }
        if self.merged > 0 || self.columns.is_empty() {
            self.close_column();
        }
    }

    fn push_mono(&mut self, sample: f32) {
        self.mono[self.filled] = sample;
        self.filled += 1;
        if self.filled == self.mono.len() {
            self.transform();
            self.mono.copy_within(self.hop.., 0);
            self.filled -= self.hop;
        }
    }

    fn transform(&mut self) {
        for ((input, sample), window) in self.input.iter_mut().zip(&self.mono).zip(&self.window) {
            *input = sample * window;
        }
        self.fft
            .process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch)
            .expect("the buffers were made by the transform itself");
        for (row, &(first, last)) in self.column.iter_mut().zip(&self.rows) {
            let power = self.output[first..=last].iter().map(Complex32::norm_sqr);
            *row = row.max(power.fold(0.0, f32::max));
        }
        self.merged += 1;
        if self.merged == self.per_column {
            self.close_column();
        }
    }

    fn close_column(&mut self) {
        let db = |&power: &f32| 10.0 * power.max(1e-15).log10();
        self.columns.push(self.column.iter().map(db).collect());
        self.column.fill(f32::NEG_INFINITY);
        self.merged = 0;
        if self.columns.len() == 2 * WIDTH {
            self.fold();
        }
    }

    fn fold(&mut self) {
        for at in 0..WIDTH {
            let [left, right] =
                [2 * at, 2 * at + 1].map(|at| std::mem::take(&mut self.columns[at]));
            self.columns[at] = left.iter().zip(&right).map(|(l, r)| l.max(*r)).collect();
        }
        self.columns.truncate(WIDTH);
        // Longer steps first, as they save transforms; windows must overlap by half, though.
        if self.hop < self.mono.len() / 2 {
            self.hop *= 2;
        } else {
            self.per_column *= 2;
        }
    }

    fn seconds(&self) -> f64 {
        self.frames as f64 / f64::from(self.rate_hz)
    }

    /// The level at a point of the picture, between 0 and 1 from left to right.
    fn level(&self, x: f32, row: usize) -> f32 {
        let at = (x * self.columns.len() as f32 - 0.5).clamp(0.0, (self.columns.len() - 1) as f32);
        let (left, right) = (at as usize, (at as usize + 1).min(self.columns.len() - 1));
        let part = at - left as f32;
        if self.columns.len() > WIDTH {
            // More columns than pixels: neither may vanish.
            return self.columns[left][row].max(self.columns[right][row]);
        }
        self.columns[left][row] * (1.0 - part) + self.columns[right][row] * part
    }
}

/// Mel frequency: the low half of the picture shows where a voice is.
fn mel(hz: f32) -> f32 {
    (1.0 + hz / 700.0).ln()
}

fn row_hz(row: f32, rate_hz: u32) -> f32 {
    let (low, high) = (mel(LOW_HZ), mel(rate_hz as f32 / 2.0));
    700.0 * ((low + (high - low) * row / HEIGHT as f32).exp() - 1.0)
}

/// Height of a frequency in rows, from the bottom.
fn hz_row(hz: f32, rate_hz: u32) -> f32 {
    let (low, high) = (mel(LOW_HZ), mel(rate_hz as f32 / 2.0));
    (mel(hz) - low) / (high - low) * HEIGHT as f32
}

fn row_bins(row: usize, size: usize, rate_hz: u32) -> (usize, usize) {
    let bin = |row: f32| (row_hz(row, rate_hz) * size as f32 / rate_hz as f32).round() as usize;
    let (first, end) = (bin(row as f32), bin(row as f32 + 1.0));
    let last = (size / 2).min(end.saturating_sub(1).max(first));
    (first.min(last), last)
}
