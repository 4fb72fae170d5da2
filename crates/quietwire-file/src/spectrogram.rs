//! Computes the spectrogram of a stream of any length in constant memory.

use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex32};

/// Columns of the picture.
pub(crate) const WIDTH: usize = 1120;
/// Rows of one spectrogram.
pub(crate) const HEIGHT: usize = 280;
/// Lowest frequency of the picture, Hz.
const LOW_HZ: f32 = 0.0;

/// The magnitudes of a stream, dBFS: a list of columns, each with one value for every row.
///
/// There are at most twice as many columns as in the picture. When that number is reached, two
/// neighbors are merged into one with the larger values, and each column covers twice the time.
pub(crate) struct Spectrogram {
    pub(crate) rate_hz: u32,
    channels: usize,
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// the latest samples as mono, the first `filled` of them valid
    mono: Vec<f32>,
    filled: usize,
    hop: usize,
    /// transforms per column
    per_column: usize,
    /// transforms in the present column
    merged: usize,
    /// first and last bin of every row
    rows: Vec<(usize, usize)>,
    column: Vec<f32>,
    pub(crate) columns: Vec<Vec<f32>>,
    frames: u64,
    input: Vec<f32>,
    output: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Spectrogram {
    pub(crate) fn new(rate_hz: u32, channels: u16) -> Self {
        // 43 to 86 ms: resolves the harmonics of a voice and its syllables.
        let size = ((rate_hz as f32 * 0.042) as usize)
            .next_power_of_two()
            .max(64);
        let fft = RealFftPlanner::new().plan_fft_forward(size);
        let hann = |n: usize| {
            let phase = std::f32::consts::TAU * n as f32 / size as f32;
            // Scales a full-scale sine to 0 dB in its bin.
            (0.5 - 0.5 * phase.cos()) * 4.0 / size as f32
        };
        Self {
            rate_hz,
            channels: channels.into(),
            window: (0..size).map(hann).collect(),
            // Half a window of silence centers the first window on the first sample.
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
    pub(crate) fn push(&mut self, samples: &[f32]) {
        for frame in samples.chunks_exact(self.channels) {
            self.frames += 1;
            self.push_mono(frame.iter().sum::<f32>() / self.channels as f32);
        }
    }

    /// Ends the stream with half a window of silence, so that a window is centered on the last sample.
    pub(crate) fn finish(&mut self) {
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
            .expect("the buffers were created by the transform");
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
            self.merge_columns();
        }
    }

    fn merge_columns(&mut self) {
        for at in 0..WIDTH {
            let [left, right] =
                [2 * at, 2 * at + 1].map(|at| std::mem::take(&mut self.columns[at]));
            self.columns[at] = left.iter().zip(&right).map(|(l, r)| l.max(*r)).collect();
        }
        self.columns.truncate(WIDTH);
        // A larger hop saves transforms, but windows must overlap by half.
        if self.hop < self.mono.len() / 2 {
            self.hop *= 2;
        } else {
            self.per_column *= 2;
        }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.frames as f64 / f64::from(self.rate_hz)
    }

    /// The level in a row at position `x` of the picture, 0 (left) to 1 (right), dBFS.
    pub(crate) fn level(&self, x: f32, row: usize) -> f32 {
        let at = (x * self.columns.len() as f32 - 0.5).clamp(0.0, (self.columns.len() - 1) as f32);
        let (left, right) = (at as usize, (at as usize + 1).min(self.columns.len() - 1));
        let part = at - left as f32;
        if self.columns.len() > WIDTH {
            // More columns than pixels: the larger level of both is visible.
            return self.columns[left][row].max(self.columns[right][row]);
        }
        self.columns[left][row] * (1.0 - part) + self.columns[right][row] * part
    }
}

/// Mel scale (O'Shaughnessy 1987), which gives half of the picture to the frequencies of a voice.
fn mel(hz: f32) -> f32 {
    (1.0 + hz / 700.0).ln()
}

/// Frequency of a row, Hz.
fn row_hz(row: f32, rate_hz: u32) -> f32 {
    let (low, high) = (mel(LOW_HZ), mel(rate_hz as f32 / 2.0));
    700.0 * ((low + (high - low) * row / HEIGHT as f32).exp() - 1.0)
}

/// Row of a frequency, counted from the bottom.
pub(crate) fn hz_row(hz: f32, rate_hz: u32) -> f32 {
    let (low, high) = (mel(LOW_HZ), mel(rate_hz as f32 / 2.0));
    (mel(hz) - low) / (high - low) * HEIGHT as f32
}

/// First and last bin of a row.
fn row_bins(row: usize, size: usize, rate_hz: u32) -> (usize, usize) {
    let bin = |row: f32| (row_hz(row, rate_hz) * size as f32 / rate_hz as f32).round() as usize;
    let (first, end) = (bin(row as f32), bin(row as f32 + 1.0));
    let last = (size / 2).min(end.saturating_sub(1).max(first));
    (first.min(last), last)
}
