//! Spectrogram strips for the page: made only while somebody looks.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use super::view;

pub const COLUMN_MS: u64 = 50;
const COLUMNS: usize = 200;
pub const BANDS: usize = 32;
/// Columns without samples that still show the latest ones: packets come in bursts.
const QUIET: u64 = 3;
const LOWEST_HZ: f32 = 100.0;
const HIGHEST_HZ: f32 = 20_000.0;
/// dBFS of a byte of 0, which stands for what was not drawn; 255 is 0 dBFS.
const FLOOR_DBFS: f32 = -120.0;

/// Centres of the bands, evenly apart on a logarithmic scale.
pub fn bands_hz() -> Vec<f32> {
    let step = (HIGHEST_HZ / LOWEST_HZ).powf(1.0 / (BANDS - 1) as f32);
    (0..BANDS)
        .map(|band| LOWEST_HZ * step.powi(band as i32))
        .collect()
}

/// One side of one stream.
struct Side {
    /// the latest samples of the first channel
    recent: Vec<f32>,
    at: usize,
    /// columns drawn since samples came
    quiet: u64,
    columns: VecDeque<[u8; BANDS]>,
}

/// One stream's strips.
pub struct Strips {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// bins of each band
    bins: Vec<std::ops::Range<usize>>,
    frame: Vec<f32>,
    spectrum: Vec<Complex32>,
    sides: [Side; 2],
    newest: u64,
}

impl Strips {
    /// Strips that begin after column number `column`.
    pub fn new(rate_hz: u32, column: u64) -> Self {
        let len = (rate_hz as usize * COLUMN_MS as usize / 1000).max(64);
        let fft = RealFftPlanner::new().plan_fft_forward(len);
        let turn = std::f32::consts::TAU / len as f32;
        let window = (0..len).map(|n| 0.5 - 0.5 * (turn * n as f32).cos());
        let centers = bands_hz();
        let step = (centers[1] / centers[0]).sqrt();
        let bin = |hz: f32| (hz * len as f32 / rate_hz as f32).round() as usize;
        let bins = centers.iter().map(|hz| {
            let (from, to) = (bin(hz / step), bin(hz * step));
            from.min(len / 2 + 1)..to.max(from + 1).min(len / 2 + 1)
        });
        let side = || Side {
            recent: vec![0.0; len],
            at: 0,
            quiet: QUIET,
            columns: VecDeque::with_capacity(COLUMNS),
        };
        Self {
            window: window.collect(),
            bins: bins.collect(),
            frame: vec![0.0; len],
            spectrum: fft.make_output_vec(),
            fft,
            sides: [side(), side()],
            newest: column,
        }
    }

    /// Takes interleaved samples of one side, before (0) or after (1).
    pub fn hear(&mut self, side: usize, block: &[f32], channels: usize) {
        let side = &mut self.sides[side];
        side.quiet = 0;
        for sample in block.iter().step_by(channels) {
            side.recent[side.at] = *sample;
            side.at = (side.at + 1) % side.recent.len();
        }
    }

    /// Draws columns up to number `column`.
    pub fn draw_until(&mut self, column: u64) {
        let behind = column.saturating_sub(self.newest);
        self.newest = self.newest.max(column);
        for _ in 0..behind.min(COLUMNS as u64) {
            for at in 0..2 {
                let drawn = self.column(at);
                let side = &mut self.sides[at];
                if side.columns.len() == COLUMNS {
                    side.columns.pop_front();
                }
                side.columns.push_back(drawn);
                side.quiet += 1;
            }
        }
    }

    fn column(&mut self, side: usize) -> [u8; BANDS] {
        let side = &self.sides[side];
        let mut drawn = [0; BANDS];
        if side.quiet >= QUIET {
            return drawn;
        }
        let (new, old) = side.recent.split_at(side.at);
        let samples = old.iter().chain(new).zip(&self.window);
        for (to, (x, window)) in self.frame.iter_mut().zip(samples) {
            *to = x * window;
        }
        self.fft
            .process(&mut self.frame, &mut self.spectrum)
            .expect("made for these lengths");
        // A sine at full scale is 0 dBFS: half its amplitude is in the bin, a half in the window.
        let full = self.frame.len() as f32 / 4.0;
        for (to, bins) in drawn.iter_mut().zip(&self.bins) {
            let power: f32 = self.spectrum[bins.clone()]
                .iter()
                .map(|x| x.norm_sqr())
                .sum();
            let dbfs = 10.0 * (power / (full * full) + 1e-20).log10();
            *to = ((255.0 * (1.0 - dbfs / FLOOR_DBFS)) as u8).max(1);
        }
        drawn
    }

    /// The columns after number `since`.
    pub fn since(&self, since: u64) -> view::Strip {
        let wanted = self.newest.saturating_sub(since).min(COLUMNS as u64) as usize;
        let bytes = |side: &Side| {
            let skip = side.columns.len().saturating_sub(wanted);
            let bytes: Vec<u8> = side.columns.iter().skip(skip).flatten().copied().collect();
            BASE64_STANDARD.encode(bytes)
        };
        view::Strip {
            newest: self.newest,
            input: bytes(&self.sides[0]),
            output: bytes(&self.sides[1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_shows_in_its_band_on_its_side() {
        let mut strips = Strips::new(48_000, 100);
        assert_eq!(strips.since(0).input, "", "nothing is known of before");
        let tone: Vec<f32> = (0..4800)
            .map(|n| (n as f32 * 1000.0 * std::f32::consts::TAU / 48_000.0).sin())
            .collect();
        strips.hear(0, &tone, 1);
        strips.draw_until(107);
        let strip = strips.since(106);
        let [input, output] =
            [strip.input, strip.output].map(|s| BASE64_STANDARD.decode(s).unwrap());
        assert_eq!(
            (strip.newest, input.len(), output.len()),
            (107, BANDS, BANDS)
        );
        assert!(output.iter().all(|level| *level == 0));
        // Seven columns are drawn, and the sound is in the first of them.
        let all = BASE64_STANDARD.decode(strips.since(0).input).unwrap();
        let column = &all[..BANDS];
        let loudest = (0..BANDS).max_by_key(|band| column[*band]).unwrap();
        let hz = bands_hz()[loudest];
        assert!(
            (900.0..1100.0).contains(&hz) && column[loudest] > 250,
            "{hz}"
        );
        assert!(input.iter().all(|level| *level == 0));
    }
}
