//! One stream per 10 ms, input that can make code slow, and loading.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use quietwire::{Denoiser, Model};

fn per_hop(c: &mut Criterion) {
    for id in Model::embedded_ids() {
        per_hop_of(id, c);
    }
}

fn per_hop_of(id: &str, c: &mut Criterion) {
    let model = Model::embedded(id).unwrap();
    let mut group = c.benchmark_group(format!("10 ms of one stream, {id}"));
    for (rate_hz, frames) in [(48_000, 480), (44_100, 441), (16_000, 160)] {
        for bypass in [false, true] {
            let builder = Denoiser::builder(model.clone())
                .rate_hz(rate_hz)
                .bypass(bypass);
            let mut stream = builder.build().unwrap();
            let input: Vec<f32> = (0..frames)
                .map(|n| 0.1 * ((n * n) as f32 * 0.37).sin())
                .collect();
            let mut out = vec![0.0; frames];
            let name = if bypass { "off" } else { "on" };
            group.bench_function(BenchmarkId::new(name, rate_hz), |b| {
                b.iter(|| stream.process(&input, &mut out).unwrap());
            });
        }
    }
    group.finish();
}

/// Inputs that can make code slow, with denormals for example. Their times should not differ.
fn hostile(c: &mut Criterion) {
    let model = Model::embedded("base").unwrap();
    let mut group = c.benchmark_group("10 ms of hostile input");
    let kinds: [(&str, f32); 4] = [
        ("speech level", 0.1),
        ("digital silence", 0.0),
        ("1e-30", 1e-30),
        ("denormal", 1e-40),
    ];
    for (name, scale) in kinds {
        let input: Vec<f32> = (0..480)
            .map(|n| scale * ((n * n) as f32 * 0.37).sin())
            .collect();
        let mut stream = Denoiser::builder(model.clone()).build().unwrap();
        let mut out = vec![0.0; 480];
        group.bench_function(name, |b| {
            b.iter(|| stream.process(&input, &mut out).unwrap())
        });
    }
    // Loud, then silent: recurrent states and filters decay.
    let mut stream = Denoiser::builder(model).build().unwrap();
    let loud: Vec<f32> = (0..48_000)
        .map(|n| (n as f32 * n as f32 * 0.37).sin())
        .collect();
    let mut out = vec![0.0; 48_000];
    stream.process(&loud, &mut out).unwrap();
    let silence = vec![0.0; 480];
    for _ in 0..1000 {
        stream.process(&silence, &mut out[..480]).unwrap();
    }
    group.bench_function("silence after sound", |b| {
        b.iter(|| stream.process(&silence, &mut out[..480]).unwrap());
    });
    group.finish();
}

fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("embedded model", |b| {
        b.iter(|| Model::embedded("base").unwrap())
    });
    let model = Model::embedded("base").unwrap();
    for rate_hz in [48_000, 44_100, 16_000, 11_025] {
        group.bench_function(BenchmarkId::new("new stream", rate_hz), |b| {
            b.iter(|| {
                Denoiser::builder(model.clone())
                    .rate_hz(rate_hz)
                    .build()
                    .unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, per_hop, hostile, load);
criterion_main!(benches);
