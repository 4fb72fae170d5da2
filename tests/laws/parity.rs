//! The output equals that of the training front end and onnxruntime on golden vectors.

use std::path::Path;

use quietwire::{AttenuationLimit, Denoiser, Model};
use quietwire_testing::golden::{model_folders, read_f32};

use crate::signal::error_db;

#[test]
fn output_equals_the_golden_vectors() {
    for folder in model_folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models")) {
        output_equals_the_vectors_in(&folder);
    }
}

fn output_equals_the_vectors_in(folder: &Path) {
    let model = Model::from_folder(folder).unwrap();
    let golden = folder.join("golden");
    let (input, expected) = (read_f32(&golden, "input"), read_f32(&golden, "output"));
    let mut stream = Denoiser::builder(model)
        .attenuation(AttenuationLimit::Unlimited)
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
