//! A manifest that is wrong, or lies about its graph, is refused by name; so is a damaged graph.

use std::path::{Path, PathBuf};

use quietwire::{Error, Manifest, Model};
use sha2::{Digest as _, Sha256};

fn folder(id: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/models")
        .join(id)
}

fn parts(id: &str) -> (String, Vec<u8>) {
    (
        manifest(id),
        std::fs::read(folder(id).join("model.onnx")).unwrap(),
    )
}

fn manifest(id: &str) -> String {
    std::fs::read_to_string(folder(id).join("model.toml")).unwrap()
}

/// Loads model `id` with `from` replaced by `to` in its manifest.
fn changed(id: &str, from: &str, to: &str) -> Error {
    let (manifest, onnx) = parts(id);
    assert!(manifest.contains(from), "`{from}` must be in the manifest");
    Model::from_memory(&manifest.replacen(from, to, 1), &[&onnx])
        .expect_err(&format!("`{to}` in the place of `{from}` must be refused"))
}

#[test]
fn honest_manifests_load() {
    for id in [
        "unity",
        "half",
        "lookahead",
        "spectrum",
        "frame",
        "linked",
        "whole",
    ] {
        let model = Model::from_folder(&folder(id)).unwrap();
        assert_eq!(model.manifest().id(), id);
    }
    for id in ["unity", "half", "lookahead"] {
        let (manifest, onnx) = parts(id);
        Model::from_memory(&manifest, &[&onnx]).unwrap();
    }
    assert_eq!(
        Model::from_folder(&folder("lookahead"))
            .unwrap()
            .manifest()
            .lookahead(),
        1
    );
}

#[test]
fn keys_that_are_unknown_missing_or_mistyped_are_syntax_errors() {
    for (from, to) in [
        ("hop = 480", "hopp = 480"),
        ("hop = 480", ""),
        ("hop = 480", "hop = \"480\""),
        ("license = \"MIT OR Apache-2.0\"\n", ""),
        ("[front_end]", "[front_end"),
        ("role = \"gain\"", "role = \"voodoo\""),
        ("window_shape = \"sqrt-hann\"", "window_shape = \"kaiser\""),
    ] {
        let error = changed("unity", from, to);
        assert!(
            matches!(error, Error::ManifestSyntax { .. }),
            "{from} -> {to}: {error}"
        );
    }
}

#[test]
fn contradictions_name_their_field() {
    for (id, from, to, field) in [
        ("unity", "hop = 480", "hop = 960", "front_end.window"),
        ("unity", "window = 960", "window = 961", "front_end.window"),
        ("unity", "hop = 480", "hop = 3", "front_end.hop"),
        ("unity", "window = 960", "window = 0", "front_end.window"),
        (
            "unity",
            "rate_hz = 48000",
            "rate_hz = 1",
            "front_end.rate_hz",
        ),
        (
            "unity",
            "lookahead = 0",
            "lookahead = 1000",
            "front_end.lookahead",
        ),
        (
            "unity",
            "centers = [0, 1,",
            "centers = [1, 1,",
            "features.bands.centers",
        ),
        (
            "unity",
            "attack = 0.1",
            "attack = nan",
            "features.level.attack",
        ),
        (
            "unity",
            "release_db = 0.03",
            "release_db = -1.0",
            "features.level.release_db",
        ),
        (
            "unity",
            "first_bin = 2",
            "first_bin = 481",
            "features.level.first_bin",
        ),
        (
            "unity",
            "range_step_db = 20.0",
            "range_step_db = 0.0",
            "features.bands.range_*",
        ),
        (
            "unity",
            "file = \"model.onnx\"",
            "file = \"../model.onnx\"",
            "graph.file",
        ),
        (
            "unity",
            "input_rates_hz = [8000, 192000]",
            "input_rates_hz = [9000, 8000]",
            "domain.input_rates_hz",
        ),
        ("lookahead", "of = \"count\"", "of = \"other\"", "`count`"),
        ("lookahead", "initial = 0.0", "initial = inf", "`count`"),
        (
            "lookahead",
            "\"N\", 2, 2, 16",
            "\"N\", 2, 3, 16",
            "role Taps",
        ),
        ("lookahead", "\"N\", 2, 2, 16", "\"N\", 0, 2, 16", "`taps`"),
        (
            "lookahead",
            "shape = [\"N\", 3], initial",
            "shape = [3, 3], initial",
            "`count`",
        ),
    ] {
        let error = changed(id, from, to);
        let Error::Manifest { field: found, .. } = &error else {
            panic!("{from} -> {to}: {error}")
        };
        assert!(found.contains(field), "{from} -> {to}: {error}");
    }
}

#[test]
fn lies_about_the_graph_name_their_tensor() {
    let (manifest, _) = parts("unity");
    let bands = manifest
        .split("role = \"gain\", shape = [\"N\", ")
        .nth(1)
        .unwrap();
    let bands = bands.split(']').next().unwrap();
    for (id, from, to, tensor) in [
        (
            "unity",
            "name = \"gain\"".to_owned(),
            "name = \"gains\"".to_owned(),
            "gains",
        ),
        (
            "unity",
            "name = \"features\"".to_owned(),
            "name = \"input\"".to_owned(),
            "input",
        ),
        (
            "lookahead",
            "name = \"count_next\"".to_owned(),
            "name = \"gone\"".to_owned(),
            "gone",
        ),
        // an honest band count in every place but the graph
        (
            "lookahead",
            "\"N\", 2, 2, 16".to_owned(),
            "\"N\", 1, 2, 32".to_owned(),
            "taps",
        ),
    ] {
        let error = changed(id, &from, &to);
        let Error::Tensor { tensor: found, .. } = &error else {
            panic!("{from} -> {to}: {error}")
        };
        assert_eq!(found, tensor, "{error}");
    }
    // A band fewer everywhere in the manifest: consistent, and still not the graph.
    let (manifest, onnx) = parts("unity");
    let fewer = manifest
        .replace(
            &format!("[\"N\", {bands}]"),
            &format!("[\"N\", {}]", bands.parse::<usize>().unwrap() - 1),
        )
        .replace("centers = [0, 1, 2,", "centers = [0, 2,");
    let error = Model::from_memory(&fewer, &[&onnx]).unwrap_err();
    assert!(
        matches!(&error, Error::Tensor { tensor, .. } if tensor == "features"),
        "{error}"
    );
}

#[test]
fn a_tensor_that_the_manifest_leaves_out_is_named() {
    let (manifest, onnx) = parts("lookahead");
    let without: String = manifest
        .replace(
            ", { name = \"count\", role = \"state\", shape = [\"N\", 3], initial = 0.0 }",
            "",
        )
        .replace(
            ", { name = \"count_next\", role = \"state\", shape = [\"N\", 3], of = \"count\" }",
            "",
        );
    let error = Model::from_memory(&without, &[&onnx]).unwrap_err();
    assert!(
        matches!(&error, Error::Tensor { tensor, .. } if tensor == "count"),
        "{error}"
    );
}

#[test]
fn damaged_graphs_are_refused_by_their_hash() {
    let (manifest, onnx) = parts("unity");
    for damaged in [&onnx[..onnx.len() / 2], &onnx[..0]] {
        let error = Model::from_memory(&manifest, &[damaged]).unwrap_err();
        assert!(
            matches!(&error, Error::Hash { file, .. } if file == "model.onnx"),
            "{error}"
        );
    }
}

#[test]
fn graphs_that_are_none_are_engine_errors_even_with_the_right_hash() {
    let (manifest, onnx) = parts("unity");
    let honest: String = Sha256::digest(&onnx)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let mut flipped = onnx.clone();
    flipped[20] ^= 0xff;
    for bytes in [
        &onnx[..onnx.len() / 2],
        b"not a graph",
        &[0xff; 64],
        &[],
        &flipped,
    ] {
        let hash: String = Sha256::digest(bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let error = Model::from_memory(&manifest.replace(&honest, &hash), &[bytes]).unwrap_err();
        assert!(
            matches!(error, Error::Engine { .. } | Error::Tensor { .. }),
            "{error}"
        );
    }
}

#[test]
fn missing_files_are_named() {
    let error = Model::from_folder(Path::new("no/such/folder")).unwrap_err();
    assert!(error.to_string().contains("model.toml"), "{error}");
    let known = Model::embedded("bass").unwrap_err().to_string();
    assert!(known.contains("bass"), "{known}");
}

#[test]
fn a_spec_says_what_the_manifest_says() {
    let spec = Manifest::parse(&parts("lookahead").0).unwrap();
    assert_eq!(
        (spec.rate_hz(), spec.window(), spec.hop()),
        (16_000, 512, 128)
    );
    assert_eq!(spec.input_rates_hz(), (8_000, 192_000));
    assert_eq!(spec.license(), "MIT OR Apache-2.0");
}

#[test]
fn hidden_states_make_hop_by_hop_equal_the_whole_signal() {
    for (id, expected) in [("whole", true), ("linked", true), ("lookahead", false)] {
        let difference = Model::whole_signal_difference(&folder(id)).unwrap();
        assert_eq!(difference.is_some(), expected, "{id}");
        assert!(difference.unwrap_or(0.0) < 1e-5, "{id}: {difference:?}");
    }
}

#[test]
fn hidden_states_are_counted() {
    let error = changed("whole", "hidden_states = 2", "hidden_states = 1");
    let Error::Manifest {
        field, expected, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(
        field.contains("hidden_states") && expected.starts_with('2'),
        "{error}"
    );
}

#[test]
fn a_graph_that_needs_hops_to_come_is_refused() {
    let error = Model::from_folder(&folder("backward")).unwrap_err();
    assert!(
        matches!(&error, Error::Engine { reason } if reason.contains("1 hops to come")),
        "{error}"
    );
}

#[test]
fn roles_and_tables_that_do_not_fit_are_named() {
    for (id, from, to, field) in [
        ("spectrum", ", layout = \"bin-part\"", "", "layout"),
        (
            "spectrum",
            "spectrum_scale = 0.5",
            "spectrum_scale = 0.0",
            "spectrum_scale",
        ),
        ("spectrum", "1, 257, 1, 2", "1, 256, 1, 2", "`mix`"),
        ("frame", "1, 1, 512", "1, 1, 511", "`in`"),
        ("frame", "role = \"magnitude\"", "role = \"frame\"", "`mag`"),
        ("frame", "lookahead = 0", "lookahead = 1", "role Frame"),
        ("linked", "widths = [2, ", "widths = [3, ", "bands.widths"),
        ("linked", "ahead = 2", "ahead = 3", "`taps`"),
        ("linked", "role = \"link\"", "role = \"unused\"", "`code`"),
        ("linked", "keep = 0.99", "keep = 1.0", "band_levels"),
        (
            "linked",
            "clean_above_db = 30.0",
            "clean_above_db = 10.0",
            "gate",
        ),
        (
            "linked",
            "[1, 1, \"S\", 32]",
            "[1, 1, \"T\", 32]",
            "`levels`",
        ),
    ] {
        let manifest = manifest(id);
        assert!(manifest.contains(from), "`{from}` must be in the manifest");
        let error = Manifest::parse(&manifest.replacen(from, to, 1)).unwrap_err();
        let Error::Manifest { field: found, .. } = &error else {
            panic!("{id}: {from} -> {to}: {error}")
        };
        assert!(found.contains(field), "{id}: {from} -> {to}: {error}");
    }
}

#[test]
fn channels_link_and_gates_open_only_where_the_model_can() {
    let builder = |id: &str| quietwire::Denoiser::builder(Model::from_folder(&folder(id)).unwrap());
    let linked = quietwire::ChannelMode::Linked;
    let error = builder("spectrum").channels(2).channel_mode(linked).build();
    assert!(matches!(error, Err(Error::Linked { .. })));
    assert!(matches!(
        builder("whole").snr_gating(true).build(),
        Err(Error::Gate { .. })
    ));
    builder("whole")
        .channels(2)
        .channel_mode(linked)
        .build()
        .unwrap();
    builder("linked").snr_gating(true).build().unwrap();
}

#[test]
fn a_gate_acts_on_streams_that_ask_for_it_alone() {
    // The model's SNR lies between -1 and 1 dB, and its gains are ones.
    let manifest = manifest("linked").replace("noise_below_db = -10.0", "noise_below_db = 5.0");
    let graphs = ["enc.onnx", "dec.onnx"].map(|f| std::fs::read(folder("linked").join(f)).unwrap());
    let model = Model::from_memory(&manifest, &[&graphs[0], &graphs[1]]).unwrap();
    let peak = |gate: bool| {
        let builder = quietwire::Denoiser::builder(model.clone()).attenuation_db(f32::INFINITY);
        let mut stream = builder.snr_gating(gate).build().unwrap();
        let mut block: Vec<f32> = (0..48_000).map(|n| (n as f32 * 0.05).sin()).collect();
        stream.process_in_place(&mut block).unwrap();
        block[24_000..]
            .iter()
            .fold(0.0f32, |peak, x| peak.max(x.abs()))
    };
    assert_eq!(peak(true), 0.0);
    assert!((peak(false) - 1.0).abs() < 1e-3);
}
