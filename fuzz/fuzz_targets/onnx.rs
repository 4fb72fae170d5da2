//! Arbitrary bytes as the graph of a valid manifest: an error, or a model that runs; never a panic.
//!
//! The seed is the graph of `tests/models/recurrent`, which has every kind of operation of the executor.

#![no_main]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use quietwire::{Denoiser, Model};
use sha2::{Digest as _, Sha256};

/// The manifest before and after the hash of its graph.
fn manifest() -> &'static [String; 2] {
    static MANIFEST: OnceLock<[String; 2]> = OnceLock::new();
    MANIFEST.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/recurrent");
        let text = std::fs::read_to_string(folder.join("model.toml")).expect("part of the repository");
        let (before, rest) = text.split_once("sha256 = \"").expect("a manifest with a hash");
        let (_, after) = rest.split_at(64);
        [format!("{before}sha256 = \""), after.into()]
    })
}

fuzz_target!(|data: &[u8]| {
    let [before, after] = manifest();
    let mut text = before.clone();
    for byte in Sha256::digest(data) {
        write!(text, "{byte:02x}").expect("a string takes all text");
    }
    text += after;
    if let Ok(model) = Model::from_memory(&text, &[data]) {
        let mut stream = Denoiser::builder(model).build().expect("a valid model");
        // Weights can be NaN, so the output can be, too.
        stream.process_in_place(&mut [0.1; 960]).expect("two hops");
    }
});
