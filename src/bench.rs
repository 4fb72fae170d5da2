//! The stages of a hop as closures, for `benches/` alone (feature `bench`).

use realfft::num_complex::Complex32;

use crate::feature::FeatureExtractor;
use crate::fifo::Fifo;
use crate::manifest::{Role, TensorSpec};
use crate::mask::MaskApplier;
use crate::model::Model;
use crate::options::AttenuationLimit;
use crate::resample::RatePlan;
use crate::spectrum_history::SpectrumHistory;
use crate::stft::{Stft, Transform};

/// One stage's work for one hop.
pub type Stage = Box<dyn FnMut()>;

/// Microseconds of each operation of each graph, the least of `runs` hops: [graph][operation, node].
/// `rows`: streams that share a step.
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

/// All stages by name, each with noise as its input. For models with an input of the role `features`.
pub fn stages(model: &Model) -> Vec<(&'static str, Stage)> {
    let manifest = model.manifest();
    let (hop, bins, rate_hz) = (manifest.hop(), manifest.bins(), manifest.rate_hz());
    let transform = Transform::new(manifest);
    let graph = &manifest.graphs()[0];
    let place = |list: &[TensorSpec], role| list.iter().position(|t| t.role == role);
    let noise: Vec<f32> = (0..hop)
        .map(|n| ((n * n) as f32 * 0.37).sin() * 0.1)
        .collect();
    let spectrum = {
        let mut spectrum = vec![Complex32::default(); bins];
        let mut stft = Stft::new(&transform);
        stft.analyze(&noise, &mut spectrum);
        stft.analyze(&noise, &mut spectrum);
        spectrum
    };
    let features_at = place(&graph.inputs, Role::Features).expect("an embedded model");
    let mut stages: Vec<(&'static str, Stage)> = Vec::new();

    for (up_name, down_name, caller_hz) in [
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
        let plan = RatePlan::new(caller_hz, rate_hz, hop, 0);
        let (mut up, mut down) = (plan.input_resampler(), plan.output_resampler());
        let input = vec![0.1; up.input_frames_max()];
        let mut hop_out = vec![0.0; hop];
        stages.push((
            up_name,
            Box::new(move || up.process(&input[..up.input_frames_next()], &mut hop_out)),
        ));
        let mut output = vec![0.0; down.output_frames_max()];
        let samples = noise.clone();
        stages.push((
            down_name,
            Box::new(move || {
                let frames = down.output_frames_next();
                down.process(&samples, &mut output[..frames]);
            }),
        ));
    }
    {
        let mut fifo = Fifo::new(4 * hop);
        fifo.prime(hop);
        let (input, mut output) = (noise.clone(), vec![0.0; hop]);
        stages.push((
            "fifo",
            Box::new(move || {
                fifo.push(&input);
                fifo.pop(&mut output);
            }),
        ));
    }
    {
        let (mut stft, input, mut out) = (Stft::new(&transform), noise.clone(), spectrum.clone());
        stages.push((
            "stft analysis",
            Box::new(move || stft.analyze(&input, &mut out)),
        ));
    }
    {
        let tensor = &graph.inputs[features_at];
        let mut extractor = FeatureExtractor::new(manifest, tensor, transform.power_scale(), 1)
            .expect("features are computed from the spectrum");
        let (input, mut features) = (spectrum.clone(), vec![0.0; manifest.feature_count()]);
        stages.push((
            "feature",
            Box::new(move || extractor.extract(std::iter::once(&input[..]), &mut features)),
        ));
    }
    let mut session = model.session().expect("the model ran before");
    session.input_mut(0, features_at, 0).fill(0.5);
    session.run(0).expect("the model ran before");
    {
        let mut mask = MaskApplier::new(
            manifest,
            AttenuationLimit::Db(40.0),
            transform.power_scale(),
        );
        let mut history = SpectrumHistory::new(manifest);
        history.advance().copy_from_slice(&spectrum);
        let output =
            |role| place(&graph.outputs, role).map_or(&[][..], |at| session.output(0, at, 0));
        let (gain, taps) = (output(Role::Gain).to_vec(), output(Role::Taps).to_vec());
        let mut out = spectrum.clone();
        stages.push((
            "mask",
            Box::new(move || {
                history.advance().copy_from_slice(&spectrum);
                mask.set_band_gains(&gain);
                mask.apply_gains(&history, &mut out);
                mask.apply_taps(&taps, &history, &mut out);
                let dry_gain = mask.dry_gain(mask.input_power(&history));
                std::hint::black_box(mask.mix_dry(dry_gain, &history, &mut out));
            }),
        ));
        stages.push((
            "model",
            Box::new(move || session.run(0).expect("the model ran before")),
        ));
    }
    {
        let mut stft = Stft::new(&transform);
        let mut from = vec![Complex32::new(0.1, 0.0); bins];
        let mut hop_out = vec![0.0; hop];
        stages.push((
            "stft synthesis",
            Box::new(move || {
                from.fill(Complex32::new(0.1, 0.0));
                stft.synthesize(&mut from, &mut hop_out);
            }),
        ));
    }
    stages
}
