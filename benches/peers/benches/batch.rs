//! 10 ms of many streams on one core, on the same audio in one run: one by one, in batches of several
//! widths, and other noise suppressors.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quietwire::{Batch, Denoiser, Model, OwnedBatchStream};
use quietwire_peers::{Blocks, clip, nnnoiseless_stream, sonora_stream};

/// One step of the widest batch.
const STREAMS: usize = 64;

fn per_hop(c: &mut Criterion) {
    let audio = clip();
    let mut group = c.benchmark_group(format!("10 ms of {STREAMS} streams"));
    // The time per element is the time of one stream.
    group.throughput(Throughput::Elements(STREAMS as u64));
    for id in ["base", "tiny"] {
        let model = Model::embedded(id).unwrap();
        let builder = || Denoiser::builder(model.clone()).hop_aligned(true);
        let mut blocks: Vec<Blocks> = (0..STREAMS).map(|n| Blocks::new(&audio, 480, n)).collect();
        {
            let mut streams: Vec<Denoiser> =
                (0..STREAMS).map(|_| builder().build().unwrap()).collect();
            let mut out = vec![0.0; 480];
            group.bench_function(BenchmarkId::new(format!("{id}, one by one"), 1), |b| {
                b.iter(|| {
                    for (stream, blocks) in streams.iter_mut().zip(&mut blocks) {
                        stream.process(blocks.next(), &mut out).unwrap();
                    }
                });
            });
        }
        for width in [1, 2, 4, 8, 16, 32, 64] {
            let mut batch = Batch::new(std::slice::from_ref(&model), width).unwrap();
            let mut streams_and_blocks: Vec<OwnedBatchStream> = (0..STREAMS)
                .map(|_| OwnedBatchStream::new(builder().build().unwrap(), vec![0.0; 480]))
                .collect();
            group.bench_function(BenchmarkId::new(format!("{id}, batch"), width), |b| {
                b.iter(|| {
                    for (stream, blocks) in streams_and_blocks.iter_mut().zip(&mut blocks) {
                        stream.samples_mut().copy_from_slice(blocks.next());
                    }
                    batch.process(&mut streams_and_blocks);
                });
            });
        }
    }
    let mut blocks: Vec<Blocks> = (0..STREAMS).map(|n| Blocks::new(&audio, 480, n)).collect();
    let mut others: Vec<_> = (0..STREAMS).map(|_| nnnoiseless_stream()).collect();
    group.bench_function("nnnoiseless", |b| {
        b.iter(|| {
            for (stream, blocks) in others.iter_mut().zip(&mut blocks) {
                stream(blocks.next());
            }
        });
    });
    let mut others: Vec<_> = (0..STREAMS).map(|_| sonora_stream()).collect();
    group.bench_function("sonora noise suppression", |b| {
        b.iter(|| {
            for (stream, blocks) in others.iter_mut().zip(&mut blocks) {
                stream(blocks.next());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, per_hop);
criterion_main!(benches);
