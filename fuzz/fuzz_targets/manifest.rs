//! Any bytes as a manifest and as a graph: an error, never a panic.
//!
//! The seeds in `fuzz/seeds/manifest` are manifests; what follows a NUL byte is taken for the graph.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quietwire::{Model, Manifest};

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (manifest, graph) = data.split_at(cut);
    if let Ok(text) = std::str::from_utf8(manifest) {
        let _ = Manifest::parse(text);
        let _ = Model::from_memory(text, &[graph]);
    }
});
