//! Runs a model of your own: `cargo run --example own_model -- FOLDER`.
//!
//! The folder holds a `model.toml` and the ONNX files that it names; docs/own-model.md tells how
//! to make one. Without a folder it takes the repository's `tiny`.

use std::path::PathBuf;

use quietwire::{Denoiser, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny");
    let folder = std::env::args_os()
        .nth(1)
        .map_or(tiny.into(), PathBuf::from);

    // Every word of the manifest is checked against the graphs here, once for all streams.
    let model = Model::from_folder(&folder)?;
    let spec = model.manifest();
    println!("{} {}, {}", spec.id(), spec.version(), spec.license());

    // The stream's rate need not be the model's.
    let rate_hz = 44_100;
    let mut stream = Denoiser::builder(model.clone()).rate_hz(rate_hz).build()?;

    // A second of hiss, in blocks of any size.
    let mut seed = 1u32;
    let mut hiss = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 24) as f32 * 0.1 - 0.05
    };
    let (mut heard, mut left) = (0.0f32, 0.0f32);
    for _ in 0..100 {
        let mut block: Vec<f32> = (0..441).map(|_| hiss()).collect();
        heard += block.iter().map(|x| x * x).sum::<f32>();
        stream.process_in_place(&mut block)?;
        left += block.iter().map(|x| x * x).sum::<f32>();
    }
    println!(
        "latency {} samples at {rate_hz} Hz; hiss turned down by {:.1} dB",
        stream.latency(),
        10.0 * (heard / left.max(1e-12)).log10()
    );
    Ok(())
}
