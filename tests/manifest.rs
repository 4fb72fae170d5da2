//! Manifests with errors, and graphs that differ from their manifest, are refused with the name of the
//! field or tensor.

use std::path::{Path, PathBuf};

use quietwire::{ChannelMode, Denoiser, Error, ErrorKind, Manifest, Model};
use sha2::{Digest as _, Sha256};

/// Test models that load.
const MODELS: [&str; 7] = [
    "unity",
    "half",
    "lookahead",
    "spectrum",
    "frame",
    "linked",
    "whole",
];

/// Keys and words of earlier versions, and those of this version.
const RENAMED: [(&str, &str); 10] = [
    ("\nlicence = ", "\nlicense = "),
    ("\ncentres = ", "\ncenters = "),
    ("\nkeep = ", "\nsmoothing = "),
    ("\nstart_db = ", "\ninitial_db = "),
    ("\nstart = ", "\ninitial = "),
    (", of = ", ", source = "),
    ("role = \"frame\"", "role = \"windowed\""),
    ("role = \"link\"", "role = \"intermediate\""),
    ("layout = \"bin-part\"", "layout = \"interleaved\""),
    ("layout = \"part-bin\"", "layout = \"planar\""),
];

fn folder(id: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/models")
        .join(id)
}

/// The manifest of a test model in the words of this version.
fn manifest(id: &str) -> String {
    let text = std::fs::read_to_string(folder(id).join("model.toml")).unwrap();
    let replace = |text: String, (old, new): (&str, &str)| text.replace(old, new);
    RENAMED.into_iter().fold(text, replace)
}

/// The manifest of a test model in the words of earlier versions.
fn old_manifest(id: &str) -> String {
    let replace = |text: String, (old, new): (&str, &str)| text.replace(new, old);
    RENAMED.into_iter().fold(manifest(id), replace)
}

/// The graph of a test model with one graph.
fn graph(id: &str) -> Vec<u8> {
    std::fs::read(folder(id).join("model.onnx")).unwrap()
}

/// The manifest of model `id` with the first `from` replaced by `to`.
fn changed(id: &str, from: &str, to: &str) -> String {
    let manifest = manifest(id);
    assert!(manifest.contains(from), "{id}: no `{from}` in the manifest");
    manifest.replacen(from, to, 1)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asserts that `error` is an [`Error::Manifest`] whose field contains `field`.
#[track_caller]
fn assert_field(error: &Error, field: &str, change: &str) {
    let Error::Manifest { field: found, .. } = error else {
        panic!("{change}: {error}")
    };
    assert!(found.contains(field), "{change}: {error}");
}

/// Asserts that `error` is an [`Error::Tensor`] of `tensor`.
#[track_caller]
fn assert_tensor(error: &Error, tensor: &str) {
    let is_tensor = matches!(error, Error::Tensor { tensor: found, .. } if found == tensor);
    assert!(is_tensor, "{tensor}: {error}");
}

#[test]
fn manifests_of_models_load() {
    for id in MODELS {
        let model = Model::from_folder(folder(id)).unwrap();
        assert_eq!(model.manifest().id(), id);
    }
    for id in ["unity", "half", "lookahead"] {
        Model::from_memory(&manifest(id), &[&graph(id)]).unwrap();
    }
}

#[test]
fn manifests_of_earlier_versions_load() {
    let old = MODELS.map(old_manifest);
    for (old_word, new_word) in RENAMED {
        assert!(old.iter().any(|text| text.contains(old_word)), "{old_word}");
        assert!(
            !old.iter().any(|text| text.contains(new_word)),
            "{new_word}"
        );
    }
    for (id, old) in MODELS.into_iter().zip(old) {
        let (old, new) = (Manifest::parse(&old), Manifest::parse(&manifest(id)));
        assert_eq!(format!("{old:?}"), format!("{new:?}"), "{id}");
        assert_eq!(old.unwrap().license(), "MIT OR Apache-2.0");
    }
}

#[test]
fn accessors_return_the_values_of_the_file() {
    let manifest = Manifest::parse(&manifest("lookahead")).unwrap();
    assert_eq!(manifest.rate_hz(), 16_000);
    assert_eq!(manifest.window(), 512);
    assert_eq!(manifest.hop(), 128);
    assert_eq!(manifest.lookahead(), 1);
    assert_eq!(manifest.input_rates_hz(), (8_000, 192_000));
    assert_eq!(manifest.license(), "MIT OR Apache-2.0");
    assert!(manifest.package_source().is_none());
}

#[test]
fn unknown_missing_and_mistyped_keys_are_syntax_errors() {
    for (from, to) in [
        ("hop = 480", "hopp = 480"),
        ("hop = 480", ""),
        ("hop = 480", "hop = \"480\""),
        ("license = \"MIT OR Apache-2.0\"\n", ""),
        ("[front_end]", "[front_end"),
        ("role = \"gain\"", "role = \"voodoo\""),
        ("window_shape = \"sqrt-hann\"", "window_shape = \"kaiser\""),
    ] {
        let error = Manifest::parse(&changed("unity", from, to)).unwrap_err();
        let is_syntax = matches!(error, Error::ManifestSyntax { .. });
        assert!(is_syntax, "{from} -> {to}: {error}");
    }
}

/// Model, text, its replacement, and the field of the error.
const CONTRADICTIONS: [(&str, &str, &str, &str); 53] = [
    (
        "unity",
        "rate_hz = 48000",
        "rate_hz = 1",
        "front_end.rate_hz",
    ),
    ("unity", "hop = 480", "hop = 3", "front_end.hop"),
    ("unity", "hop = 480", "hop = 960", "front_end.window"),
    ("unity", "window = 960", "window = 961", "front_end.window"),
    ("unity", "window = 960", "window = 0", "front_end.window"),
    ("unity", "window = 960", "window = 7682", "front_end.window"),
    (
        "unity",
        "hop = 480",
        "hop = 480\ntransform = 958",
        "front_end.transform",
    ),
    (
        "unity",
        "hop = 480",
        "hop = 480\ntransform = 961",
        "front_end.transform",
    ),
    (
        "unity",
        "lookahead = 0",
        "lookahead = 1000",
        "front_end.lookahead",
    ),
    (
        "spectrum",
        "spectrum_scale = 0.5",
        "spectrum_scale = 0.0",
        "front_end.spectrum_scale",
    ),
    (
        "unity",
        "[8000, 192000]",
        "[9000, 8000]",
        "domain.input_rates_hz",
    ),
    (
        "unity",
        "centers = [0, 1,",
        "centers = [1, 1,",
        "features.bands.centers",
    ),
    (
        "unity",
        "centers = [0, 1,",
        "centers = [1, 2,",
        "features.bands.centers",
    ),
    ("unity", "472, 480]", "472]", "features.bands.centers"),
    (
        "unity",
        "range_high_db = 20.0",
        "range_high_db = -80.0",
        "features.bands.range_high_db",
    ),
    (
        "unity",
        "range_step_db = 20.0",
        "range_step_db = 0.0",
        "features.bands.range_step_db",
    ),
    (
        "unity",
        "attack = 0.1",
        "attack = 0.0",
        "features.level.attack",
    ),
    (
        "unity",
        "attack = 0.1",
        "attack = 1.1",
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
        "floor_db = -100.0",
        "floor_db = 1.0",
        "features.level.floor_db",
    ),
    (
        "unity",
        "first_bin = 2",
        "first_bin = 481",
        "features.level.first_bin",
    ),
    ("linked", "widths = [2, ", "widths = [3, ", "bands.widths"),
    (
        "linked",
        "widths = [2, 2, ",
        "widths = [0, 4, ",
        "bands.widths",
    ),
    (
        "linked",
        "smoothing = 0.99",
        "smoothing = 1.0",
        "band_levels.smoothing",
    ),
    (
        "linked",
        "\ninitial = [0.001,",
        "\ninitial = [0.0,",
        "unit_spectrum.initial",
    ),
    (
        "linked",
        "clean_above_db = 30.0",
        "clean_above_db = 10.0",
        "gate",
    ),
    ("linked", "role = \"snr\"", "role = \"unused\"", "gate"),
    (
        "unity",
        "file = \"model.onnx\"",
        "file = \"../model.onnx\"",
        "graph.file",
    ),
    (
        "unity",
        "file = \"model.onnx\"",
        "file = \"\"",
        "graph.file",
    ),
    (
        "unity",
        "role = \"gain\"",
        "role = \"features\"",
        "`gain`, role features",
    ),
    (
        "unity",
        "role = \"gain\"",
        "role = \"unused\"",
        "graph.outputs",
    ),
    (
        "lookahead",
        "role = \"features\"",
        "role = \"unused\"",
        "role unused",
    ),
    (
        "lookahead",
        "name = \"count_next\"",
        "name = \"gain\"",
        "graph.outputs",
    ),
    (
        "lookahead",
        "source = \"count\"",
        "source = \"other\"",
        "`count`",
    ),
    ("lookahead", ", initial = 0.0", "", "`count`, role state"),
    (
        "lookahead",
        "initial = 0.0",
        "initial = 0.0, source = \"x\"",
        "`count`, role state",
    ),
    (
        "lookahead",
        "source = \"count\"",
        "source = \"count\", initial = 0.0",
        "`count_next`",
    ),
    (
        "lookahead",
        "\"N\", 2, 2, 16",
        "\"N\", 2, 3, 16",
        "role taps",
    ),
    ("lookahead", "\"N\", 2, 2, 16", "\"N\", 0, 2, 16", "`taps`"),
    (
        "lookahead",
        "\"N\", 2, 2, 16",
        "\"N\", 17, 2, 16",
        "role taps",
    ),
    (
        "lookahead",
        "[\"N\", 3], initial",
        "[3, 3], initial",
        "`count`",
    ),
    ("spectrum", ", layout = \"interleaved\"", "", "layout"),
    (
        "unity",
        "role = \"gain\"",
        "layout = \"planar\", role = \"gain\"",
        "layout",
    ),
    ("spectrum", "1, 257, 1, 2", "1, 256, 1, 2", "`mix`"),
    ("frame", "1, 1, 512", "1, 1, 511", "`in`"),
    (
        "frame",
        "role = \"magnitude\"",
        "role = \"windowed\"",
        "`mag`",
    ),
    ("frame", "lookahead = 0", "lookahead = 1", "role windowed"),
    ("linked", "ahead = 2", "ahead = 3", "`taps`"),
    (
        "linked",
        "role = \"intermediate\"",
        "role = \"unused\"",
        "`code`",
    ),
    (
        "linked",
        "[1, 1, \"S\", 32]",
        "[1, 1, \"T\", 32]",
        "`levels`",
    ),
    (
        "linked",
        "[1, 1, \"S\", 32]",
        "[1, 1, \"S\", 31]",
        "`levels`",
    ),
    (
        "linked",
        "[1, 1, \"S\", 1] }",
        "[1, 1, \"S\", 2] }",
        "`code`",
    ),
    (
        "linked",
        "[1, 1, \"S\", 32]",
        "[1, 268435456, \"S\", 32]",
        "shape of `levels`",
    ),
];

#[test]
fn contradictions_are_refused_with_their_field() {
    for (id, from, to, field) in CONTRADICTIONS {
        let change = format!("{id}: {from} -> {to}");
        let error = Manifest::parse(&changed(id, from, to)).expect_err(&change);
        assert_field(&error, field, &change);
        assert_eq!(error.kind(), ErrorKind::InvalidManifest);
    }
}

/// `manifest` with `value` as the first number after `key`.
fn with_number(manifest: &str, key: &str, value: &str) -> String {
    let at = manifest.find(key).unwrap_or_else(|| panic!("no `{key}`")) + key.len();
    let (head, tail) = manifest.split_at(at);
    let end = tail.find([',', '\n', ' ', ']']).unwrap();
    format!("{head}{value}{}", &tail[end..])
}

#[test]
fn non_finite_numbers_are_refused() {
    for (id, key, field) in [
        ("unity", "range_low_db = ", "features.bands.range_low_db"),
        ("unity", "range_high_db = ", "features.bands.range_high_db"),
        ("unity", "range_step_db = ", "features.bands.range_step_db"),
        ("unity", "range_offset = ", "features.bands.range_offset"),
        ("unity", "attack = ", "features.level.attack"),
        ("unity", "release_db = ", "features.level.release_db"),
        ("unity", "floor_db = ", "features.level.floor_db"),
        ("spectrum", "spectrum_scale = ", "front_end.spectrum_scale"),
        ("lookahead", "initial = ", "`count`"),
        ("linked", "smoothing = ", "band_levels.smoothing"),
        ("linked", "initial_db = [", "band_levels.initial_db"),
        ("linked", "step_db = ", "band_levels.step_db"),
        ("linked", "\ninitial = [", "unit_spectrum.initial"),
    ] {
        // 1e300 is infinite as f32.
        for value in ["nan", "inf", "-inf", "1e300"] {
            let change = format!("{id}: {key}{value}");
            let text = with_number(&manifest(id), key, value);
            let error = Manifest::parse(&text).expect_err(&change);
            assert_field(&error, field, &change);
        }
    }
    for key in [
        "noise_below_db = ",
        "no_taps_above_db = ",
        "clean_above_db = ",
    ] {
        let text = with_number(&manifest("linked"), key, "nan");
        assert_field(&Manifest::parse(&text).unwrap_err(), "gate", key);
    }
    // Infinite thresholds disable their rule.
    let text = with_number(&manifest("linked"), "noise_below_db = ", "-inf");
    Manifest::parse(&with_number(&text, "clean_above_db = ", "inf")).unwrap();
}

#[test]
fn graphs_that_differ_from_the_manifest_are_refused_with_their_tensor() {
    for (id, from, to, tensor) in [
        ("unity", "name = \"gain\"", "name = \"gains\"", "gains"),
        ("unity", "name = \"features\"", "name = \"x\"", "x"),
        ("lookahead", "name = \"count_next\"", "name = \"x\"", "x"),
        // consistent in the manifest
        ("lookahead", "\"N\", 2, 2, 16", "\"N\", 1, 2, 32", "taps"),
    ] {
        let error = Model::from_memory(&changed(id, from, to), &[&graph(id)]).unwrap_err();
        assert_tensor(&error, tensor);
    }
}

#[test]
fn a_tensor_of_the_graph_that_the_manifest_omits_is_refused() {
    let input = ", { name = \"count\", role = \"state\", shape = [\"N\", 3], initial = 0.0 }";
    let output =
        ", { name = \"count_next\", role = \"state\", shape = [\"N\", 3], source = \"count\" }";
    let text = changed("lookahead", input, "");
    assert!(text.contains(output));
    let text = text.replace(output, "");
    let error = Model::from_memory(&text, &[&graph("lookahead")]).unwrap_err();
    assert_tensor(&error, "count");
}

#[test]
fn a_band_count_that_differs_from_the_graph_is_refused() {
    let text = manifest("unity");
    let fewer = text
        .replace("[\"N\", 56]", "[\"N\", 55]")
        .replace("centers = [0, 1, 2,", "centers = [0, 2,");
    Manifest::parse(&fewer).unwrap();
    let error = Model::from_memory(&fewer, &[&graph("unity")]).unwrap_err();
    assert_tensor(&error, "features");
}

#[test]
fn damaged_graphs_are_refused_by_their_hash() {
    let graph = graph("unity");
    for damaged in [&graph[..graph.len() / 2], &graph[..0]] {
        let error = Model::from_memory(&manifest("unity"), &[damaged]).unwrap_err();
        let is_hash = matches!(&error, Error::Hash { file, .. } if file == "model.onnx");
        assert!(is_hash, "{error}");
    }
}

#[test]
fn bytes_that_are_not_a_graph_are_refused_even_with_the_right_hash() {
    let graph = graph("unity");
    let mut flipped = graph.clone();
    flipped[20] ^= 0xff;
    for bytes in [
        &graph[..graph.len() / 2],
        b"not a graph",
        &[0xff; 64],
        &[],
        &flipped,
    ] {
        let text = changed("unity", &sha256(&graph), &sha256(bytes));
        let error = Model::from_memory(&text, &[bytes]).unwrap_err();
        let is_graph = matches!(error, Error::Engine { .. } | Error::Tensor { .. });
        assert!(is_graph, "{error}");
    }
}

#[test]
fn missing_files_are_named() {
    let error = Model::from_folder("no/such/folder").unwrap_err();
    assert!(error.to_string().contains("model.toml"), "{error}");
    let error = Model::embedded("bass").unwrap_err().to_string();
    assert!(error.contains("bass"), "{error}");
}

#[test]
fn hidden_states_make_hop_by_hop_runs_equal_the_whole_signal() {
    for (id, has_hops) in [("whole", true), ("linked", true), ("lookahead", false)] {
        let difference = Model::whole_signal_difference(folder(id)).unwrap();
        assert_eq!(difference.is_some(), has_hops, "{id}");
        assert!(difference.unwrap_or(0.0) < 1e-5, "{id}: {difference:?}");
    }
}

#[test]
fn a_wrong_number_of_hidden_states_is_refused() {
    let text = changed("whole", "hidden_states = 2", "hidden_states = 1");
    let error = Model::from_memory(&text, &[&graph("whole")]).unwrap_err();
    assert_field(&error, "hidden_states", "1 of 2 states");
    assert!(error.to_string().contains("expected 2,"), "{error}");
}

#[test]
fn a_graph_that_needs_future_hops_is_refused() {
    let error = Model::from_folder(folder("backward")).unwrap_err();
    let is_future = matches!(&error, Error::Engine { reason } if reason.contains("1 future hops"));
    assert!(is_future, "{error}");
}

#[test]
fn options_that_the_model_does_not_support_are_refused() {
    let builder = |id: &str| Denoiser::builder(Model::from_folder(folder(id)).unwrap());
    let linked = |id: &str| builder(id).channels(2).channel_mode(ChannelMode::Linked);
    assert!(matches!(
        linked("spectrum").build(),
        Err(Error::Linked { .. })
    ));
    linked("whole").build().unwrap();
    assert!(matches!(
        builder("whole").snr_gating(true).build(),
        Err(Error::Gate { .. })
    ));
    builder("linked").snr_gating(true).build().unwrap();
}

#[test]
fn snr_gating_acts_only_on_streams_with_the_option() {
    // The model's SNR is between -1 and 1 dB, and its gains are 1.
    let text = changed("linked", "noise_below_db = -10.0", "noise_below_db = 5.0");
    let graphs = ["enc.onnx", "dec.onnx"].map(|f| std::fs::read(folder("linked").join(f)).unwrap());
    let model = Model::from_memory(&text, &[&graphs[0], &graphs[1]]).unwrap();
    let peak = |snr_gating: bool| {
        let builder = Denoiser::builder(model.clone()).attenuation_db(f32::INFINITY);
        let mut stream = builder.snr_gating(snr_gating).build().unwrap();
        let mut block: Vec<f32> = (0..48_000).map(|n| (n as f32 * 0.05).sin()).collect();
        stream.process_in_place(&mut block).unwrap();
        let tail = block[24_000..].iter();
        tail.fold(0.0f32, |peak, x| peak.max(x.abs()))
    };
    assert_eq!(peak(true), 0.0);
    assert!((peak(false) - 1.0).abs() < 1e-3);
}
