//! Test signals and level measurements.

use crate::random::Random;

/// Caller rates of the laws, Hz.
pub const RATES_HZ: [u32; 12] = [
    8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000,
];

/// The next sample of white noise in [-1, 1].
pub fn white(random: &mut Random) -> f32 {
    2.0 * random.uniform() as f32 - 1.0
}

/// Speech-like: a gliding harmonic voice in syllables over noise. Interleaved frames.
pub fn voice(rate_hz: u32, channels: usize, seconds: f32, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed + 1);
    let frames = (rate_hz as f32 * seconds) as usize;
    let mut phase = 0.0f64;
    let mut out = Vec::with_capacity(frames * channels);
    for frame in 0..frames {
        let t = frame as f64 / f64::from(rate_hz);
        let pitch_hz = 130.0 + 40.0 * (2.0 * t).sin() + 10.0 * seed as f64;
        phase += pitch_hz / f64::from(rate_hz);
        let syllable = (6.0 * t).sin().max(0.0) as f32;
        let harmonics: f64 = (1..=12)
            .map(|h| (std::f64::consts::TAU * phase * f64::from(h)).sin() / f64::from(h))
            .sum();
        for channel in 0..channels {
            let share = 1.0 - 0.2 * channel as f32;
            out.push(0.12 * share * syllable * harmonics as f32 + 0.01 * white(&mut random));
        }
    }
    out
}

/// Sines of known frequencies up to 0.8 of `band_hz`, inside the passband of every resampler.
pub fn chord(rate_hz: u32, frames: usize, band_hz: u32) -> Vec<f32> {
    let top_hz = 0.8 * f64::from(band_hz);
    let tones: Vec<f64> = [0.03, 0.11, 0.27, 0.52, 0.77, 1.0]
        .iter()
        .map(|x| x * top_hz)
        .collect();
    // Soft ends keep the chord inside its band.
    let ramp = f64::from(rate_hz) * 0.05;
    let edge = |n: usize| 0.5 - 0.5 * (std::f64::consts::PI * (n as f64 / ramp).min(1.0)).cos();
    (0..frames)
        .map(|n| {
            let t = n as f64 / f64::from(rate_hz);
            let sum: f64 = tones
                .iter()
                .map(|hz| (std::f64::consts::TAU * hz * t).sin())
                .sum();
            (0.15 * edge(n) * edge(frames - n) * sum) as f32
        })
        .collect()
}

/// Root mean square.
pub fn rms(samples: &[f32]) -> f64 {
    let sum: f64 = samples.iter().map(|x| f64::from(*x).powi(2)).sum();
    (sum / samples.len().max(1) as f64).sqrt()
}

/// A ratio of amplitudes in dB.
pub fn db(ratio: f64) -> f64 {
    20.0 * ratio.max(1e-12).log10()
}

/// RMS of the difference in dB, relative to the first signal.
///
/// # Panics
/// When the lengths differ.
pub fn error_db(expected: &[f32], found: &[f32]) -> f64 {
    assert_eq!(expected.len(), found.len());
    let difference: Vec<f32> = expected.iter().zip(found).map(|(a, b)| a - b).collect();
    db(rms(&difference) / rms(expected))
}
