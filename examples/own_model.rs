//! Runs a model of your own: `cargo run --example own_model -- FOLDER`.
//!
//! The folder holds a `model.toml` and the ONNX files that it names; docs/own-model.md explains how to
//! write one. Without a folder it runs `tiny` from this repository.

use std::path::PathBuf;

use quietwire::{Denoiser, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny");
    let folder = std::env::args_os()
        .nth(1)
        .map_or(tiny.into(), PathBuf::from);

    // Checks the manifest against the graphs, once for all streams.
    let model = Model::from_folder(&folder)?;
    let manifest = model.manifest();
    println!(
        "{} {}, {}",
        manifest.id(),
        manifest.version(),
        manifest.license()
    );

    // The stream's rate may differ from the model's.
    let rate_hz = 44_100;
    let mut stream = Denoiser::builder(model.clone()).rate_hz(rate_hz).build()?;

    // One second of hiss, in blocks of any length.
    let mut seed = 1u32;
    let mut hiss = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 24) as f32 * 0.1 - 0.05
    };
    let (mut input, mut output) = (0.0f32, 0.0f32);
    for _ in 0..100 {
        let mut block: Vec<f32> = (0..441).map(|_| hiss()).collect();
        input += block.iter().map(|x| x * x).sum::<f32>();
        stream.process_in_place(&mut block)?;
        output += block.iter().map(|x| x * x).sum::<f32>();
    }
    println!(
        "latency {} samples at {rate_hz} Hz; hiss attenuated by {:.1} dB",
        stream.latency(),
        10.0 * (input / output.max(1e-12)).log10()
    );
    Ok(())
}
