//! 10 ms of one stream, beside other suppressors on the same audio, in one run.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quietwire::{Denoiser, Model};

/// `samples/office-fan.wav`, 48 kHz mono 16-bit: its header is 44 bytes.
fn clip() -> Vec<f32> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/office-fan.wav");
    let bytes = std::fs::read(path).expect("the sample is part of the repository");
    assert_eq!(&bytes[36..40], b"data", "a plain 44-byte header");
    bytes[44..]
        .chunks_exact(2)
        .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0)
        .collect()
}

/// Goes through `audio` in blocks of `frames`, over and over.
struct Blocks {
    audio: Vec<f32>,
    frames: usize,
    at: usize,
}

impl Blocks {
    fn new(audio: &[f32], frames: usize) -> Self {
        Self {
            audio: audio.to_vec(),
            frames,
            at: 0,
        }
    }

    fn next(&mut self) -> &[f32] {
        if self.at + self.frames > self.audio.len() {
            self.at = 0;
        }
        self.at += self.frames;
        &self.audio[self.at - self.frames..self.at]
    }
}

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
        let (mut blocks, mut out) = (Blocks::new(&audio, frames), vec![0.0; frames]);
        let name = format!("quietwire {id}");
        group.bench_function(BenchmarkId::new(name, rate_hz), |b| {
            b.iter(|| stream.process(blocks.next(), &mut out).unwrap());
        });
    }
    {
        let model = Model::embedded("base").unwrap();
        let mut stream = Denoiser::builder(model).bypass(true).build().unwrap();
        let (mut blocks, mut out) = (Blocks::new(&audio, 480), vec![0.0; 480]);
        group.bench_function("quietwire off/48000", |b| {
            b.iter(|| stream.process(blocks.next(), &mut out).unwrap());
        });
    }
    {
        // nnnoiseless takes samples in the range of 16-bit integers.
        let scaled: Vec<f32> = audio.iter().map(|x| x * 32768.0).collect();
        let mut state = nnnoiseless::DenoiseState::new();
        let (mut blocks, mut out) = (Blocks::new(&scaled, 480), vec![0.0; 480]);
        group.bench_function("nnnoiseless/48000", |b| {
            b.iter(|| black_box(state.process_frame(&mut out, blocks.next())));
        });
    }
    {
        let config = sonora::Config {
            noise_suppression: Some(sonora::config::NoiseSuppression {
                level: sonora::config::NoiseSuppressionLevel::High,
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut suppressor = sonora::AudioProcessing::builder()
            .config(config)
            .capture_config(sonora::StreamConfig::new(48_000, 1))
            .build();
        let (mut blocks, mut out) = (Blocks::new(&audio, 480), vec![0.0; 480]);
        group.bench_function("sonora noise suppression/48000", |b| {
            b.iter(|| {
                suppressor
                    .process_capture_f32(&[blocks.next()], &mut [&mut out])
                    .unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, per_hop);
criterion_main!(benches);
