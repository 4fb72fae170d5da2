//! The stages of a hop as closures, only for `benches/` (feature `bench`).

use std::sync::Arc;

use realfft::num_complex::Complex32;

use crate::engine::layer_stage;
use crate::feature::FeatureExtractor;
use crate::fifo::Fifo;
use crate::manifest::{Manifest, Role, TensorSpec};
use crate::mask::MaskApplier;
use crate::model::Model;
use crate::options::AttenuationLimit;
use crate::resample::RatePlan;
use crate::spectrum_history::SpectrumHistory;
use crate::stft::{Stft, Transform};

/// The work of one stage for one hop.
pub type Stage = Box<dyn FnMut()>;

/// Microseconds of each operation of each graph, the minimum over `runs` hops: `[graph]` (time,
/// operation, node). `rows`: streams that share a step.
pub fn profile(model: &Model, rows: usize, runs: u32) -> Vec<Vec<(f64, String, String)>> {
    let session = match rows {
        1 => model.session(),
        rows => model.batch_session(rows),
    };
    let mut session = session.expect("the model ran before");
    let graphs = 0..model.manifest().graphs().len();
    graphs
        .map(|graph| {
            session.run(graph).expect("the model ran before");
            session.profile(graph, runs)
        })
        .collect()
}

/// A layer of 256 inputs and 768 outputs in 16-bit weights for `rows` rows, as in the recurrences of DeepFilterNet3.
pub fn layer(rows: usize) -> Stage {
    Box::new(layer_stage([256, 768], rows))
}

/// All stages with their names. For a model whose first graph has an input with the role `features`.
pub fn stages(model: &Model) -> Vec<(&'static str, Stage)> {
    let manifest = model.manifest();
    let transform = Transform::shared(manifest);
    let noise: Vec<f32> = (0..manifest.hop())
        .map(|n| ((n * n) as f32 * 0.37).sin() * 0.1)
        .collect();
    let mut spectrum = vec![Complex32::default(); manifest.bins()];
    let mut stft = Stft::new(&transform);
    for _ in 0..2 {
        stft.analyze(&noise, &mut spectrum);
    }
    let mut stages = Vec::new();
    stages.extend(resample_stages(manifest, &noise));
    stages.push(("fifo", fifo_stage(&noise)));
    stages.extend(stft_stages(manifest, &transform, &noise));
    stages.extend(model_stages(model, &transform, &spectrum));
    stages
}

fn resample_stages(manifest: &Manifest, noise: &[f32]) -> Vec<(&'static str, Stage)> {
    let mut stages: Vec<(&'static str, Stage)> = Vec::new();
    for (input_name, output_name, stream_hz) in [
        (
            "resample 44.1 kHz to model",
            "resample model to 44.1 kHz",
            44_100,
        ),
        (
            "resample 16 kHz to model",
            "resample model to 16 kHz",
            16_000,
        ),
    ] {
        let plan = RatePlan::new(stream_hz, manifest.rate_hz(), manifest.hop(), 0);
        let (mut to_model, mut to_stream) = (plan.input_resampler(), plan.output_resampler());
        let input = vec![0.1; to_model.input_frames_max()];
        let mut hop = vec![0.0; manifest.hop()];
        let resample = move || to_model.process(&input[..to_model.input_frames_next()], &mut hop);
        stages.push((input_name, Box::new(resample)));
        let hop = noise.to_vec();
        let mut output = vec![0.0; to_stream.output_frames_max()];
        let resample = move || {
            let frames = to_stream.output_frames_next();
            to_stream.process(&hop, &mut output[..frames]);
        };
        stages.push((output_name, Box::new(resample)));
    }
    stages
}

fn fifo_stage(noise: &[f32]) -> Stage {
    let mut fifo = Fifo::new(4 * noise.len());
    fifo.prime(noise.len());
    let (input, mut output) = (noise.to_vec(), vec![0.0; noise.len()]);
    Box::new(move || {
        fifo.push(&input);
        fifo.pop(&mut output);
    })
}

fn stft_stages(
    manifest: &Manifest,
    transform: &Arc<Transform>,
    noise: &[f32],
) -> [(&'static str, Stage); 2] {
    let bins = manifest.bins();
    let mut stft = Stft::new(transform);
    let (input, mut spectrum) = (noise.to_vec(), vec![Complex32::default(); bins]);
    let analysis = move || stft.analyze(&input, &mut spectrum);
    let mut stft = Stft::new(transform);
    let (mut spectrum, mut hop) = (vec![Complex32::default(); bins], vec![0.0; noise.len()]);
    let synthesis = move || {
        spectrum.fill(Complex32::new(0.1, 0.0));
        stft.synthesize(&mut spectrum, &mut hop);
    };
    [
        ("stft analysis", Box::new(analysis)),
        ("stft synthesis", Box::new(synthesis)),
    ]
}

/// Features, inference and mask.
fn model_stages(
    model: &Model,
    transform: &Arc<Transform>,
    spectrum: &[Complex32],
) -> [(&'static str, Stage); 3] {
    let manifest = model.manifest();
    let power_scale = transform.power_scale();
    let graph = &manifest.graphs()[0];
    let position = |tensors: &[TensorSpec], role| tensors.iter().position(|t| t.role == role);
    let features_at = position(&graph.inputs, Role::Features).expect("a model with features");
    let tensor = &graph.inputs[features_at];

    let mut extractor = FeatureExtractor::new(manifest, tensor, power_scale, 1)
        .expect("features are computed from the spectrum");
    let (input, mut features) = (spectrum.to_vec(), vec![0.0; tensor.elements()]);
    let extract = move || extractor.extract(std::iter::once(&input[..]), &mut features);

    let mut session = model.session().expect("the model ran before");
    session.input_mut(0, features_at, 0).fill(0.5);
    session.run(0).expect("the model ran before");
    let output = |role| {
        let at = position(&graph.outputs, role);
        at.map_or(Vec::new(), |at| session.output(0, at, 0).to_vec())
    };
    let (gain, taps) = (output(Role::Gain), output(Role::Taps));
    let infer = move || session.run(0).expect("the model ran before");

    let mut mask = MaskApplier::new(manifest, AttenuationLimit::Db(40.0), power_scale);
    let mut history = SpectrumHistory::new(manifest);
    history.advance().copy_from_slice(spectrum);
    let (input, mut out) = (spectrum.to_vec(), spectrum.to_vec());
    let apply = move || {
        history.advance().copy_from_slice(&input);
        mask.set_band_gains(&gain);
        mask.apply_gains(&history, &mut out);
        mask.apply_taps(&taps, &history, &mut out);
        let dry_gain = mask.dry_gain(mask.input_power(&history));
        std::hint::black_box(mask.mix_dry(dry_gain, &history, &mut out));
    };
    [
        ("feature", Box::new(extract)),
        ("model", Box::new(infer)),
        ("mask", Box::new(apply)),
    ]
}
