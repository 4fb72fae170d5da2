//! The models and streams of the laws, and their signals.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use quietwire::{AttenuationLimit, ChannelMode, Denoiser, Model};

pub use quietwire_testing::signal::{RATES_HZ, chord, db, error_db, rms, voice, white};

/// Whether this build has the engine of a model of `tests/models`.
pub fn can_run(id: &str) -> bool {
    cfg!(feature = "onnx") || !["linked", "whole"].contains(&id)
}

/// An embedded model, or a model of `tests/models`. Loaded once.
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
        .attenuation(AttenuationLimit::Unlimited)
        .build()
        .unwrap()
}

pub fn linked(id: &'static str, rate_hz: u32, channels: usize) -> Denoiser {
    Denoiser::builder(model(id))
        .rate_hz(rate_hz)
        .channels(channels)
        .channel_mode(ChannelMode::Linked)
        .attenuation(AttenuationLimit::Unlimited)
        .build()
        .unwrap()
}

/// Processes a whole clip in blocks of `block` frames, with the tail.
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
