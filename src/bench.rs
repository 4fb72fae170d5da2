//! The stages of a hop as closures, for `benches/` alone (feature `bench`).

use realfft::num_complex::Complex32;

use crate::feature::FeatureMaker;
use crate::hop::Queue;
use crate::mask::{History, Masker};
use crate::model::Model;
use crate::model::spec::{Role, TensorSpec};
use crate::resample::RatePlan;
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
    let graphs = 0..model.spec().graphs().len();
    graphs
        .map(|graph| {
            session.run(graph).expect("the model ran before");
            session.profile(graph, runs)
        })
        .collect()
}

/// Every stage by name, each fed with noise. For models that hear `[features]`.
pub fn stages(model: &Model) -> Vec<(&'static str, Stage)> {
    let spec = model.spec();
    let (hop, bins, rate_hz) = (spec.hop(), spec.bins(), spec.rate_hz());
    let transform = Transform::new(spec);
    let graph = &spec.graphs()[0];
    let place = |list: &[TensorSpec], role| list.iter().position(|t| t.role == role);
    let noise: Vec<f32> = (0..hop)
        .map(|n| ((n * n) as f32 * 0.37).sin() * 0.1)
        .collect();
    let spectrum = {
        let mut spectrum = vec![Complex32::default(); bins];
        let mut stft = Stft::new(&transform);
        stft.analyse(&noise, &mut spectrum);
        stft.analyse(&noise, &mut spectrum);
        spectrum
    };
    let heard = place(&graph.inputs, Role::Features).expect("one of our own models");
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
        let (mut up, mut down) = (plan.to_model(), plan.to_caller());
        let input = vec![0.1; up.need_max()];
        let mut made = vec![0.0; hop];
        stages.push((
            up_name,
            Box::new(move || up.run(&input[..up.need()], &mut made)),
        ));
        let mut output = vec![0.0; down.gives_max()];
        let samples = noise.clone();
        stages.push((
            down_name,
            Box::new(move || {
                let gives = down.gives();
                down.run(&samples, &mut output[..gives]);
            }),
        ));
    }
    {
        let mut queue = Queue::new(4 * hop);
        queue.prime(hop);
        let (input, mut output) = (noise.clone(), vec![0.0; hop]);
        stages.push((
            "hop",
            Box::new(move || {
                queue.push(&input);
                queue.pop(&mut output);
            }),
        ));
    }
    {
        let (mut stft, input, mut out) = (Stft::new(&transform), noise.clone(), spectrum.clone());
        stages.push((
            "stft analysis",
            Box::new(move || stft.analyse(&input, &mut out)),
        ));
    }
    {
        let tensor = &graph.inputs[heard];
        let mut maker = FeatureMaker::new(spec, tensor, transform.power_scale(), 1)
            .expect("features are made of the spectrum");
        let (input, mut features) = (spectrum.clone(), vec![0.0; spec.feature_count()]);
        stages.push((
            "feature",
            Box::new(move || maker.run(std::iter::once(&input[..]), &mut features)),
        ));
    }
    let mut session = model.session().expect("the model ran before");
    session.input_mut(0, heard, 0).fill(0.5);
    session.run(0).expect("the model ran before");
    {
        let mut masker = Masker::new(spec, 40.0, transform.power_scale());
        let mut history = History::new(spec);
        history.advance().copy_from_slice(&spectrum);
        let output =
            |role| place(&graph.outputs, role).map_or(&[][..], |at| session.output(0, at, 0));
        let (gain, taps) = (output(Role::Gain).to_vec(), output(Role::Taps).to_vec());
        let mut out = spectrum.clone();
        stages.push((
            "mask",
            Box::new(move || {
                history.advance().copy_from_slice(&spectrum);
                masker.take_gains(&gain);
                masker.apply_gains(&history, &mut out);
                masker.apply_taps(&taps, &history, &mut out);
                let share = masker.share(masker.power(&history));
                std::hint::black_box(masker.limit(share, &history, &mut out));
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
                stft.synthesise(&mut from, &mut hop_out);
            }),
        ));
    }
    stages
}
