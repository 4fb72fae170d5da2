//! 10 ms of one stream and of other noise suppressors, on the same audio in one run.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quietwire::{Denoiser, Model};
use quietwire_peers::{Blocks, clip, nnnoiseless_stream, sonora_stream};

fn per_hop(c: &mut Criterion) {
    let audio = clip();
    let mut group = c.benchmark_group("10 ms of one stream");
    group.throughput(Throughput::Elements(1));
    for (id, rate_hz, frames) in [
        ("base", 48_000, 480),
        ("base", 44_100, 441),
        ("base", 16_000, 160),
        ("tiny", 48_000, 480),
    ] {
        let mut stream = Denoiser::builder(Model::embedded(id).unwrap())
            .rate_hz(rate_hz)
            .build()
            .unwrap();
        let (mut blocks, mut out) = (Blocks::new(&audio, frames, 0), vec![0.0; frames]);
        let name = format!("quietwire {id}");
        group.bench_function(BenchmarkId::new(name, rate_hz), |b| {
            b.iter(|| stream.process(blocks.next(), &mut out).unwrap());
        });
    }
    {
        let model = Model::embedded("base").unwrap();
        let mut stream = Denoiser::builder(model).bypass(true).build().unwrap();
        let (mut blocks, mut out) = (Blocks::new(&audio, 480, 0), vec![0.0; 480]);
        group.bench_function("quietwire off/48000", |b| {
            b.iter(|| stream.process(blocks.next(), &mut out).unwrap());
        });
    }
    let mut blocks = Blocks::new(&audio, 480, 0);
    let mut stream = nnnoiseless_stream();
    group.bench_function("nnnoiseless/48000", |b| b.iter(|| stream(blocks.next())));
    let mut stream = sonora_stream();
    group.bench_function("sonora noise suppression/48000", |b| {
        b.iter(|| stream(blocks.next()));
    });
    group.finish();
}

criterion_group!(benches, per_hop);
criterion_main!(benches);
