//! Signals and streams that the laws share.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use quietwire::{ChannelMode, Denoiser, Model};

use crate::noise::Dice;

pub const RATES_HZ: [u32; 12] = [
    8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000,
];

/// One of our own models, or a model of `tests/models`. Loaded once.
pub fn model(id: &'static str) -> Arc<Model> {
    type Loaded = Mutex<Vec<(&'static str, Arc<Model>)>>;
    static MODELS: OnceLock<Loaded> = OnceLock::new();
    let mut models = MODELS.get_or_init(Default::default).lock().unwrap();
    if let Some((_, model)) = models.iter().find(|(name, _)| *name == id) {
        return model.clone();
    }
    let folder = match id {
        "base" | "tiny" => Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("models")
            .join(id),
        _ => Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/models")
            .join(id),
    };
    let model = Model::from_folder(&folder).unwrap();
    models.push((id, model.clone()));
    model
}

pub fn stream(id: &'static str, rate_hz: u32, channels: usize) -> Denoiser {
    Denoiser::builder(model(id))
        .rate_hz(rate_hz)
        .channels(channels)
        .attenuation_db(f32::INFINITY)
        .build()
        .unwrap()
}

pub fn linked(id: &'static str, rate_hz: u32, channels: usize) -> Denoiser {
    Denoiser::builder(model(id))
        .rate_hz(rate_hz)
        .channels(channels)
        .channel_mode(ChannelMode::Linked)
        .attenuation_db(f32::INFINITY)
        .build()
        .unwrap()
}

/// The next sample of white noise in [-1, 1].
pub fn white(dice: &mut Dice) -> f32 {
    2.0 * dice.share() as f32 - 1.0
}

/// Speech-like: a gliding harmonic voice in syllables over noise. Interleaved frames.
pub fn voice(rate_hz: u32, channels: usize, seconds: f32, seed: u64) -> Vec<f32> {
    let mut dice = Dice::new(seed + 1);
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
            out.push(0.12 * share * syllable * harmonics as f32 + 0.01 * white(&mut dice));
        }
    }
    out
}

/// Sines of known frequencies up to 0.8 of `band_hz`, inside every resampler's flat band.
pub fn chord(rate_hz: u32, frames: usize, band_hz: u32) -> Vec<f32> {
    let top_hz = 0.8 * f64::from(band_hz);
    let tones: Vec<f64> = [0.03, 0.11, 0.27, 0.52, 0.77, 1.0]
        .iter()
        .map(|x| x * top_hz)
        .collect();
    // soft ends keep the chord inside its band
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

/// Whole clip through a stream in blocks of `block` frames, with the tail.
pub fn run(stream: &mut Denoiser, input: &[f32], block: usize) -> Vec<f32> {
    let mut output = vec![0.0; input.len()];
    let step = block * stream.channels();
    for (from, to) in input.chunks(step).zip(output.chunks_mut(step)) {
        stream.process(from, to).unwrap();
    }
    let mut tail = vec![0.0; stream.latency() * stream.channels()];
    stream.flush(&mut tail).unwrap();
    output.extend(tail);
    output
}

pub fn rms(samples: &[f32]) -> f64 {
    let sum: f64 = samples.iter().map(|x| f64::from(*x).powi(2)).sum();
    (sum / samples.len().max(1) as f64).sqrt()
}

pub fn db(ratio: f64) -> f64 {
    20.0 * ratio.max(1e-12).log10()
}

/// RMS of the difference, in dB against the first signal.
pub fn error_db(expected: &[f32], found: &[f32]) -> f64 {
    assert_eq!(expected.len(), found.len());
    let difference: Vec<f32> = expected.iter().zip(found).map(|(a, b)| a - b).collect();
    db(rms(&difference) / rms(expected))
}
