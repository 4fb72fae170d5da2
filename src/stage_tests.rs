//! The stages of a hop equal the golden vectors of the training front end and onnxruntime, and do not
//! allocate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quietwire_testing::golden::{max_difference, model_folders, read_f32};
use realfft::num_complex::Complex32;

use crate::batch::{Batch, OwnedBatchStream};
use crate::denoiser::Denoiser;
use crate::feature::FeatureExtractor;
use crate::manifest::{Role, TensorSpec};
use crate::model::Model;
use crate::options::ChannelMode;
use crate::stft::{Stft, Transform};

fn folders() -> Vec<PathBuf> {
    model_folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models"))
}

#[test]
fn features_and_mask_equal_the_golden_vectors() {
    for folder in folders() {
        features_and_mask_equal_the_vectors_in(&folder);
    }
}

fn features_and_mask_equal_the_vectors_in(folder: &Path) {
    let model = Model::from_folder(folder).unwrap();
    let manifest = model.manifest();
    let transform = Transform::shared(manifest);
    let mut stft = Stft::new(&transform);
    let graph = &manifest.graphs()[0];
    let position = |list: &[TensorSpec], role| list.iter().position(|t| t.role == role).unwrap();
    let features_at = position(&graph.inputs, Role::Features);
    let outputs_at = [Role::Gain, Role::Taps, Role::Vad].map(|role| position(&graph.outputs, role));
    let tensor = &graph.inputs[features_at];
    let mut maker = FeatureExtractor::new(manifest, tensor, transform.power_scale(), 1).unwrap();
    let mut session = model.session().unwrap();
    let mut spectrum = vec![Complex32::default(); manifest.bins()];
    let golden_folder = folder.join("golden");
    let golden = ["features", "gain", "taps", "vad"].map(|name| read_f32(&golden_folder, name));
    let input = read_f32(&golden_folder, "input");
    let hops = input.len() / manifest.hop();
    let golden_hop = |which: usize, hop: usize| {
        let size = golden[which].len() / hops;
        &golden[which][hop * size..(hop + 1) * size]
    };
    let mut max_differences = [0.0f32; 4];
    for (hop, samples) in input.chunks_exact(manifest.hop()).enumerate() {
        stft.analyze(samples, &mut spectrum);
        maker.extract(
            std::iter::once(&spectrum[..]),
            session.input_mut(0, features_at, 0),
        );
        let features = session.input_mut(0, features_at, 0).to_vec();
        session.run(0).unwrap();
        let [gain, taps, vad] = outputs_at.map(|at| session.output(0, at, 0));
        let found = [&features, gain, taps, vad];
        for which in 0..4 {
            max_differences[which] =
                max_differences[which].max(max_difference(found[which], golden_hop(which, hop)));
        }
    }
    println!(
        "{}: largest differences of features, gain, taps, vad: {max_differences:?}",
        folder.display()
    );
    // Features are logarithms of sums in another order; the rest are bounded by one.
    assert!(
        max_differences[0] < 2e-3 && max_differences[1..].iter().all(|d| *d < 2e-3),
        "{max_differences:?}"
    );
}

/// Allocations of the engine alone, for one inference.
fn engine_allocations(model: &Model) -> u64 {
    let mut session = model.session().unwrap();
    let mut hop = || {
        for graph in 0..model.manifest().graphs().len() {
            session.run(graph).unwrap();
        }
    };
    for _ in 0..4 {
        hop();
    }
    quietwire_testing::measure(hop).count_total
}

/// Models of other roles whose graphs use their inputs. The engine keeps an input that a graph ignores
/// or passes through, and the next hop then copies it.
fn role_models() -> impl Iterator<Item = PathBuf> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let ids = ["linked", "lookahead", "time_frequency", "whole"];
    let needs_tract = |id: &&str| ["linked", "whole"].contains(id);
    let ids = ids.into_iter();
    ids.filter(move |id| cfg!(feature = "onnx") || !needs_tract(id))
        .map(move |id| models.join(id))
}

#[test]
fn our_stages_do_not_allocate() {
    for id in Model::embedded_ids() {
        let model = Model::embedded(id).unwrap();
        let mut engines = model.graph_engines();
        assert!(engines.all(|graph| graph.engine == "quietwire"), "{id}");
    }
    for folder in folders().into_iter().chain(role_models()) {
        our_stages_do_not_allocate_with(&Model::from_folder(&folder).unwrap());
    }
}

fn our_stages_do_not_allocate_with(model: &Arc<Model>) {
    let engine = engine_allocations(model);
    println!("the engine allocates {engine} times per hop");
    if model
        .graph_engines()
        .all(|graph| graph.engine == "quietwire")
    {
        assert_eq!(engine, 0, "the executor of this library does not allocate");
    }
    for mode in [ChannelMode::Independent, ChannelMode::Linked] {
        if mode == ChannelMode::Linked && !model.manifest().can_link_channels() {
            continue;
        }
        for (rate_hz, channels) in [
            (48_000, 1),
            (48_000, 2),
            (44_100, 1),
            (16_000, 2),
            (11_025, 1),
            (192_000, 1),
        ] {
            let mut stream = Denoiser::builder(model.clone())
                .rate_hz(rate_hz)
                .channels(channels)
                .channel_mode(mode)
                .build()
                .unwrap();
            let mut block: Vec<f32> = (0..100 * channels)
                .map(|n| (n as f32 * 0.1).sin())
                .collect();
            for _ in 0..40 {
                stream.process_in_place(&mut block).unwrap();
            }
            let before = stream.stats().hops;
            let counted = quietwire_testing::measure(|| {
                for _ in 0..60 {
                    stream.process_in_place(&mut block).unwrap();
                }
                stream.set_attenuation(12.0).unwrap();
                stream.set_bypass(true);
                stream.process_in_place(&mut block).unwrap();
                stream.set_bypass(false);
                std::hint::black_box(stream.telemetry());
                for _ in 0..20 {
                    stream.process_in_place(&mut block).unwrap();
                }
            });
            let hops = stream.stats().hops - before;
            let masks = if mode == ChannelMode::Linked {
                1
            } else {
                channels as u64
            };
            assert!(hops > 0);
            let reset = quietwire_testing::measure(|| stream.reset());
            assert_eq!(reset.count_total, 0, "a reset does not allocate");
            assert_eq!(
                counted.count_total,
                engine * hops * masks,
                "{rate_hz} Hz, {channels} channels, {mode:?}: more than the engine's own"
            );
        }
    }
}

/// Filters, transforms and bands belong to all streams, as the weights do.
#[test]
fn a_stream_has_less_than_120_kb_of_its_own() {
    for rate_hz in [48_000, 44_100, 16_000, 11_025] {
        let stream = || {
            let builder = Denoiser::builder(Model::embedded("base").unwrap());
            builder.rate_hz(rate_hz).build().unwrap()
        };
        let _first = stream();
        let mut second = None;
        let counted = quietwire_testing::measure(|| second = Some(stream()));
        assert!(second.is_some());
        let bytes = counted.bytes_current;
        assert!((1..120_000).contains(&bytes), "{rate_hz} Hz: {bytes} bytes");
    }
}

#[test]
fn a_stream_that_is_off_does_not_allocate_at_all() {
    let model = Model::from_folder(&folders()[0]).unwrap();
    let mut stream = Denoiser::builder(model).bypass(true).build().unwrap();
    let mut block = vec![0.1; 4800];
    let counted = quietwire_testing::measure(|| stream.process_in_place(&mut block).unwrap());
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_batch_of_embedded_models_does_not_allocate() {
    let models = ["base", "tiny"].map(|id| Model::embedded(id).unwrap());
    let mut batch = Batch::new(&models, 4).unwrap();
    let stream = |n: usize| {
        let builder = Denoiser::builder(models[n % 2].clone());
        builder.fallback_model(models[1].clone()).build().unwrap()
    };
    let call = |n| OwnedBatchStream::new(stream(n), vec![0.1; 960]);
    let mut calls: Vec<OwnedBatchStream> = (0..10).map(call).collect();
    let mut run = |calls: &mut [OwnedBatchStream]| {
        let mut now = Duration::ZERO;
        batch.process_within(calls, Duration::from_millis(20), || {
            now += Duration::from_millis(1);
            now
        });
        batch.stats().steps
    };
    for _ in 0..20 {
        run(&mut calls);
    }
    let before = run(&mut calls);
    let mut after = 0;
    let counted = quietwire_testing::measure(|| {
        for _ in 0..10 {
            for call in &mut calls {
                let off = call.stream().bypass_requested();
                call.stream_mut().set_bypass(!off);
            }
            after = run(&mut calls);
        }
    });
    assert!(after > before);
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
