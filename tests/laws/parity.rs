//! The runtime equals training's front end and onnxruntime on golden vectors.

use std::path::{Path, PathBuf};

use crate::signal::error_db;
use quietwire::{Denoiser, Model};

fn vectors(folder: &Path, name: &str) -> Vec<f32> {
    let path = folder.join(format!("{name}.f32"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

/// Our own models, or what `QUIETWIRE_PARITY_MODEL` names: so a fresh export can be held to its
/// own vectors.
fn folders() -> Vec<PathBuf> {
    let ours = || {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        ["base", "tiny"].map(|id| models.join(id)).into()
    };
    std::env::var_os("QUIETWIRE_PARITY_MODEL").map_or_else(ours, |folder| vec![folder.into()])
}

#[test]
fn output_equals_the_golden_vectors() {
    for folder in folders() {
        output_equals_the_vectors_in(&folder);
    }
}

fn output_equals_the_vectors_in(folder: &Path) {
    let model = Model::from_folder(folder).unwrap();
    let golden = folder.join("golden");
    let (input, expected) = (vectors(&golden, "input"), vectors(&golden, "output"));
    let mut stream = Denoiser::builder(model)
        .attenuation_db(f32::INFINITY)
        .build()
        .unwrap();
    let mut output = input.clone();
    stream.process_in_place(&mut output).unwrap();
    // The vectors run a hop behind their input, a stream a window.
    let (hop, window) = (480, 960);
    let error = error_db(&expected[hop..expected.len() - hop], &output[window..]);
    println!("{}: {error:.1} dB", folder.display());
    assert!(error < -80.0, "{error:.1} dB");
}
