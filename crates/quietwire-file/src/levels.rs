//! Measures the levels of a stream in constant memory.

use serde::Serialize;

/// Level of silence, dBFS. Lower levels are not measured.
pub(crate) const FLOOR_DBFS: f32 = -120.0;
/// Resolution of the noise floor, dB.
const STEP_DB: f32 = 0.1;
/// Levels of the histogram: -120 to 20 dBFS.
const STEPS: usize = 1400;

/// Levels of one signal. 0 dBFS is the power of a full-scale square wave. Levels below -120 dBFS are
/// reported as -120 dBFS.
#[derive(Debug, Clone, Copy, Serialize)]
#[non_exhaustive]
pub struct Levels {
    /// Largest absolute sample, dBFS.
    pub peak_dbfs: f32,
    /// Mean power, dBFS.
    pub rms_dbfs: f32,
    /// Noise floor: the 10th percentile of the powers of 50 ms windows, dBFS.
    pub noise_floor_dbfs: f32,
    /// Mean power of the windows that are speech for more than half of their length, dBFS. `None`
    /// without speech.
    pub speech_dbfs: Option<f32>,
    /// Estimated signal-to-noise ratio, dB: 10 log10((S - N) / N) with the mean power S of the speech
    /// windows and the noise floor N. At least -20 dB. `None` without speech.
    pub snr_db: Option<f32>,
}

/// Measures [`Levels`].
pub(crate) struct LevelMeter {
    /// samples of a window
    window: usize,
    peak: f32,
    total: Power,
    speech: Power,
    current: Power,
    speech_samples: u64,
    /// [level] windows, from [`FLOOR_DBFS`] in steps of [`STEP_DB`]
    histogram: Vec<u64>,
}

#[derive(Clone, Copy, Default)]
struct Power {
    sum: f64,
    samples: u64,
}

impl Power {
    fn add(&mut self, other: Power) {
        self.sum += other.sum;
        self.samples += other.samples;
    }

    fn mean(self) -> f64 {
        self.sum / self.samples.max(1) as f64
    }
}

impl LevelMeter {
    pub(crate) fn new(rate_hz: u32, channels: u16) -> Self {
        Self {
            window: (rate_hz as usize / 20).max(1) * usize::from(channels),
            peak: 0.0,
            total: Power::default(),
            speech: Power::default(),
            current: Power::default(),
            speech_samples: 0,
            histogram: vec![0; STEPS],
        }
    }

    /// Adds interleaved samples. `speech`: whether they are speech.
    pub(crate) fn push(&mut self, mut samples: &[f32], speech: bool) {
        while !samples.is_empty() {
            let room = self.window - self.current.samples as usize;
            let (now, later) = samples.split_at(room.min(samples.len()));
            samples = later;
            for &sample in now {
                self.peak = self.peak.max(sample.abs());
                self.current.sum += f64::from(sample) * f64::from(sample);
            }
            self.current.samples += now.len() as u64;
            self.speech_samples += if speech { now.len() as u64 } else { 0 };
            if self.current.samples as usize == self.window {
                self.close_window();
            }
        }
    }

    fn close_window(&mut self) {
        let above = dbfs(self.current.mean()) - FLOOR_DBFS;
        self.histogram[((above / STEP_DB) as usize).min(STEPS - 1)] += 1;
        if self.speech_samples * 2 > self.current.samples {
            self.speech.add(self.current);
        }
        self.total.add(self.current);
        self.current = Power::default();
        self.speech_samples = 0;
    }

    pub(crate) fn finish(mut self) -> Levels {
        // An incomplete window counts in the histogram only if it is the only one.
        if self.total.samples == 0 {
            self.close_window();
        } else {
            self.total.add(self.current);
        }
        let noise_floor_dbfs = self.percentile(0.1);
        let speech_dbfs = (self.speech.samples > 0).then(|| dbfs(self.speech.mean()));
        Levels {
            peak_dbfs: dbfs(f64::from(self.peak).powi(2)),
            rms_dbfs: dbfs(self.total.mean()),
            noise_floor_dbfs,
            speech_dbfs,
            snr_db: speech_dbfs.map(|_| snr_db(self.speech.mean(), noise_floor_dbfs)),
        }
    }

    fn percentile(&self, share: f64) -> f32 {
        let wanted = share * self.histogram.iter().sum::<u64>() as f64;
        let mut seen = 0;
        let step = self.histogram.iter().position(|&windows| {
            seen += windows;
            windows > 0 && seen as f64 >= wanted
        });
        FLOOR_DBFS + step.unwrap_or(0) as f32 * STEP_DB
    }
}

/// A power as a level, not below [`FLOOR_DBFS`].
fn dbfs(power: f64) -> f32 {
    (10.0 * power.log10() as f32).max(FLOOR_DBFS)
}

fn snr_db(speech: f64, noise_dbfs: f32) -> f32 {
    let noise = 10f64.powf(f64::from(noise_dbfs) / 10.0);
    // Speech at or below the floor cannot be measured: the lowest ratio is -20 dB.
    10.0 * (((speech - noise) / noise).max(0.01)).log10() as f32
}

/// Counts clipped samples: those in runs of at least three at full scale.
pub(crate) struct ClipMeter {
    full_scale: f32,
    /// [channel] length of the present run
    runs: Vec<u64>,
    samples: u64,
}

impl ClipMeter {
    pub(crate) fn new(full_scale: f32, channels: u16) -> Self {
        Self {
            full_scale,
            runs: vec![0; channels.into()],
            samples: 0,
        }
    }

    pub(crate) fn push(&mut self, samples: &[f32]) {
        for frame in samples.chunks_exact(self.runs.len()) {
            for (sample, run) in frame.iter().zip(&mut self.runs) {
                *run = if sample.abs() >= self.full_scale {
                    *run + 1
                } else {
                    0
                };
                self.samples += match *run {
                    0..=2 => 0,
                    3 => 3,
                    _ => 1,
                };
            }
        }
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_has_the_expected_levels() {
        let mut meter = LevelMeter::new(48000, 1);
        let sine: Vec<f32> = (0..48000).map(|n| 0.5 * (n as f32 * 0.13).sin()).collect();
        for block in sine.chunks(481) {
            meter.push(block, true);
        }
        let levels = meter.finish();
        assert!((levels.peak_dbfs + 6.02).abs() < 0.05, "{levels:?}");
        assert!((levels.rms_dbfs + 9.03).abs() < 0.05, "{levels:?}");
        assert!((levels.noise_floor_dbfs + 9.1).abs() < 0.3, "{levels:?}");
        assert!(
            (levels.speech_dbfs.unwrap() + 9.03).abs() < 0.05,
            "{levels:?}"
        );
    }

    #[test]
    fn noise_floor_and_snr_come_from_the_pauses() {
        let mut meter = LevelMeter::new(8000, 2);
        for window in 0..100 {
            let speech = window % 4 != 0;
            let level = if speech { 0.1f32 } else { 0.01 };
            meter.push(&[level; 800], speech);
        }
        let levels = meter.finish();
        assert!((levels.noise_floor_dbfs + 40.0).abs() < 0.11, "{levels:?}");
        assert!((levels.snr_db.unwrap() - 19.96).abs() < 0.15, "{levels:?}");
    }

    #[test]
    fn silence_stops_at_the_floor() {
        let mut meter = LevelMeter::new(48000, 1);
        meter.push(&[0.0], false);
        let levels = meter.finish();
        assert_eq!(levels.rms_dbfs, FLOOR_DBFS);
        assert_eq!(levels.peak_dbfs, FLOOR_DBFS);
        assert_eq!(levels.noise_floor_dbfs, FLOOR_DBFS);
        assert!(levels.snr_db.is_none());
    }

    #[test]
    fn only_runs_of_three_count_as_clipped() {
        let mut clips = ClipMeter::new(1.0, 2);
        let left = [1.0, 1.0, 0.0, -1.0, -1.0, -1.0, 1.0, 0.0, 1.0];
        for sample in left {
            clips.push(&[sample, 0.5]);
        }
        assert_eq!(clips.samples(), 4);
    }
}
