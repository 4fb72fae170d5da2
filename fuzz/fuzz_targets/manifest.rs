//! Arbitrary bytes as a manifest and as a graph: an error, never a panic.
//!
//! The seeds in `fuzz/seeds/manifest` are manifests. The bytes from the first NUL byte on are the graph.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quietwire::{Manifest, Model};

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (manifest, graph) = data.split_at(cut);
    if let Ok(text) = std::str::from_utf8(manifest) {
        let _ = Manifest::parse(text);
        let _ = Model::from_memory(text, &[graph]);
    }
});
