//! The small spectrogram of the terminal view.

use std::collections::VecDeque;
use std::sync::Arc;

use realfft::RealToComplex;
use realfft::num_complex::Complex;

/// Samples of a transform: 21 ms at 48 kHz.
const WINDOW: usize = 1024;
/// Samples from one column to the next.
const STEP: usize = 4800;
/// Levels of the darkest and the brightest character, dB below a full-scale tone.
const RANGE_DB: (f32, f32) = (-95.0, -35.0);
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
/// Columns that are kept.
const MAX_COLUMNS: usize = 400;

/// Columns of one signal, newest last. Each has `bands` levels from 0 to 1, lowest frequency first.
pub(crate) struct Spectrogram {
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    samples: VecDeque<f32>,
    columns: VecDeque<Vec<f32>>,
    since: usize,
    bands: usize,
}

impl Spectrogram {
    pub(crate) fn new(bands: usize) -> Self {
        // Hann.
        let window = (0..WINDOW).map(|n| {
            let phase = std::f32::consts::TAU * n as f32 / WINDOW as f32;
            0.5 - 0.5 * phase.cos()
        });
        Self {
            transform: realfft::RealFftPlanner::new().plan_fft_forward(WINDOW),
            window: window.collect(),
            samples: VecDeque::with_capacity(WINDOW),
            columns: VecDeque::with_capacity(MAX_COLUMNS),
            since: 0,
            bands,
        }
    }

    pub(crate) fn push(&mut self, sample: f32) {
        if self.samples.len() == WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.since += 1;
        if self.since >= STEP && self.samples.len() == WINDOW {
            self.since = 0;
            if self.columns.len() == MAX_COLUMNS {
                self.columns.pop_front();
            }
            self.columns.push_back(self.column());
        }
    }

    /// The latest `width` columns as lines, highest frequency first.
    pub(crate) fn lines(&self, width: usize) -> Vec<String> {
        let skip = self.columns.len().saturating_sub(width);
        (0..self.bands)
            .rev()
            .map(|band| {
                let levels = self.columns.iter().skip(skip).map(|column| column[band]);
                levels.map(shade).collect()
            })
            .collect()
    }

    fn column(&self) -> Vec<f32> {
        let mut input: Vec<f32> = self
            .samples
            .iter()
            .zip(&self.window)
            .map(|(s, w)| s * w)
            .collect();
        let mut spectrum = vec![Complex::default(); WINDOW / 2 + 1];
        if self.transform.process(&mut input, &mut spectrum).is_err() {
            return vec![0.0; self.bands];
        }
        // A tone at full scale has a magnitude of a quarter of the window.
        let scale = 4.0 / WINDOW as f32;
        let edge = |band: usize| {
            // From 100 Hz to 16 kHz at 48 kHz, in equal ratios.
            let bin = 2.1 * 160f32.powf(band as f32 / self.bands as f32);
            bin as usize
        };
        (0..self.bands)
            .map(|band| {
                let bins = &spectrum[edge(band)..edge(band + 1).max(edge(band) + 1)];
                let peak = bins.iter().map(|bin| bin.norm()).fold(0.0, f32::max);
                let db = 20.0 * (peak * scale + 1e-9).log10();
                ((db - RANGE_DB.0) / (RANGE_DB.1 - RANGE_DB.0)).clamp(0.0, 1.0)
            })
            .collect()
    }
}

fn shade(level: f32) -> char {
    SHADES[((level * SHADES.len() as f32) as usize).min(SHADES.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_one_bright_line() {
        let mut spectrogram = Spectrogram::new(12);
        for n in 0..48_000 {
            spectrogram.push(0.5 * (n as f32 * 0.3).sin());
        }
        let lines = spectrogram.lines(8);
        assert_eq!((lines.len(), lines[0].chars().count()), (12, 8));
        let bright = lines.iter().filter(|line| line.contains('█')).count();
        assert!((1..=2).contains(&bright), "{lines:#?}");
        // 2.3 kHz: band 7 of 12.
        assert!(lines[12 - 1 - 7].contains('█'), "{lines:#?}");
    }
}
