//! Runs hops and prints how long they took and what memory a stream has, for counts of instructions, which
//! other programs do not change:
//!
//! ```text
//! cargo build --bench hop
//! valgrind --tool=callgrind target/debug/deps/hop-* base 16 100
//! ```
//!
//! Arguments: the model, the streams (1: a stream alone, otherwise a batch), the hops, the rate of the streams,
//! the most streams of a step (default: all). With more streams than fit the caches, as in a server, a hop takes
//! longer. With `layer` in place of a model (feature `bench`) a hop is a layer of 256 to 768 in 16-bit weights, of which
//! the embedded models have no large one. The difference between two runs with different numbers of hops is free of
//! the start. Valgrind has no AVX-512: it counts the kernels for AVX2. `scripts/check_instructions.py` does this in CI.

use std::time::{Duration, Instant};

use quietwire::{Batch, Denoiser, Model, OwnedBatchStream};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` passes flags.
    let mut arguments = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    let id = arguments.next().map_or("base", String::as_str);
    let mut number = |default: usize| {
        let argument = arguments.next();
        argument.map_or(default, |text| text.parse().expect("a number"))
    };
    let (rows, hops) = (number(1), number(100));
    #[cfg(feature = "bench")]
    if id == "layer" {
        let mut layer = quietwire::bench::layer(rows);
        (0..hops).for_each(|_| layer());
        return;
    }
    let start = Instant::now();
    let model = Model::embedded(id).expect("an embedded model");
    let load = start.elapsed();
    let rate_hz = number(model.manifest().rate_hz() as usize);
    let samples = model.manifest().hop() * rate_hz / model.manifest().rate_hz() as usize;
    let step_rows = number(rows);
    let block: Vec<f32> = (0..samples)
        .map(|n| ((n * n) as f32 * 0.37).sin() * 0.1)
        .collect();
    let stream = || {
        let builder = Denoiser::builder(model.clone()).rate_hz(rate_hz as u32);
        builder.build().expect("a stream")
    };
    let mut shortest = Duration::MAX;
    let start = Instant::now();
    let first = stream();
    let first_stream = start.elapsed();
    let start = Instant::now();
    // Shares the filter tables of the first one.
    let second = stream();
    let second_stream = start.elapsed();
    drop(second);
    let mut third = None;
    let memory = quietwire_testing::measure(|| third = Some(stream()));
    drop(third);
    if rows == 1 {
        let (mut stream, mut block) = (first, block);
        for _ in 0..hops {
            let start = Instant::now();
            stream.process_in_place(&mut block).expect("a block");
            shortest = shortest.min(start.elapsed());
        }
    } else {
        let mut batch = Batch::new(std::slice::from_ref(&model), step_rows).expect("a batch");
        let call = |_| OwnedBatchStream::new(stream(), block.clone());
        let mut calls: Vec<OwnedBatchStream> = (0..rows).map(call).collect();
        drop(first);
        for _ in 0..hops {
            let start = Instant::now();
            batch.process(&mut calls);
            shortest = shortest.min(start.elapsed() / rows as u32);
        }
    }
    println!(
        "load {load:?}, first stream {first_stream:?}, second stream {second_stream:?} with {} bytes of its own, \
         shortest hop of a stream {shortest:?}",
        memory.bytes_current
    );
}
