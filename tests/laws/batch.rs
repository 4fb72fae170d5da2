//! Streams that share steps have the same output as alone, bit by bit. A call that runs out of time
//! passes the delayed input, without a click or a gap, and without an effect on other streams.

use std::time::Duration;

use quietwire::{Batch, BatchStream, Denoiser, Error, OwnedBatchStream};

use crate::signal::{model, rms, voice};
use quietwire_testing::Random;

/// A stream with all of its input, processed in blocks of different lengths.
struct Clip {
    stream: Denoiser,
    input: Vec<f32>,
    output: Vec<f32>,
    block: Vec<f32>,
    at: usize,
    result: Result<(), Error>,
}

impl Clip {
    fn new(stream: Denoiser, input: Vec<f32>) -> Self {
        Self {
            stream,
            input,
            output: Vec::new(),
            block: Vec::new(),
            at: 0,
            result: Ok(()),
        }
    }

    /// Sets the block of the next call: the next `frames`.
    fn set_block(&mut self, frames: usize) {
        let len = (frames * self.stream.channels()).min(self.input.len() - self.at);
        self.block = self.input[self.at..][..len].to_vec();
        self.at += len;
    }

    fn store_block(&mut self) {
        self.output.append(&mut self.block);
    }
}

impl BatchStream for Clip {
    fn stream_and_block(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        (!self.block.is_empty()).then_some((&mut self.stream, &mut self.block[..]))
    }

    fn complete(&mut self, result: Result<(), Error>) {
        self.result = result;
    }
}

/// Stream number `n`, of every kind.
fn stream(n: usize) -> Denoiser {
    let ids = [
        "base",
        "tiny",
        "base",
        "lookahead",
        "base",
        "frame",
        "unity",
    ];
    let builder = Denoiser::builder(model(ids[n % ids.len()]));
    let builder = match n % 4 {
        0 => builder.rate_hz(44_100),
        1 => builder.rate_hz(16_000),
        _ => builder.rate_hz(48_000),
    };
    let builder = if n.is_multiple_of(5) {
        builder.channels(2)
    } else {
        builder
    };
    builder.fallback_model(model("tiny")).build().unwrap()
}

/// Changes the settings of stream `n` before block `block`.
fn change(n: usize, block: usize, stream: &mut Denoiser) {
    match (n + block) % 23 {
        3 => stream.set_bypass(true),
        7 => stream.set_bypass(false),
        11 => stream.set_model(1).unwrap(),
        15 => stream.set_attenuation(6.0 + n as f32).unwrap(),
        19 => stream.set_model(0).unwrap(),
        _ => {}
    }
}

fn frames(n: usize, block: usize) -> usize {
    [480, 441, 1, 960, 37, 2880][(n * 7 + block) % 6]
}

#[test]
fn a_batch_of_different_streams_equals_each_stream_alone() {
    let models = ["base", "tiny", "lookahead", "unity"].map(model);
    for width in [1, 3, 16] {
        let mut batch = Batch::new(&models, width).unwrap();
        let mut clips: Vec<Clip> = (0..21)
            .map(|n| {
                let stream = stream(n);
                let input = voice(stream.rate_hz(), stream.channels(), 0.5, n as u64);
                Clip::new(stream, input)
            })
            .collect();
        for block in 0..400 {
            for (n, clip) in clips.iter_mut().enumerate() {
                // Not every stream has a block in every call.
                if (n + block) % 5 != 0 {
                    change(n, block, &mut clip.stream);
                    clip.set_block(frames(n, block));
                }
            }
            batch.process(&mut clips);
            for clip in &mut clips {
                clip.result.as_ref().unwrap();
                clip.store_block();
            }
        }
        if width > 1 {
            let stats = batch.stats();
            assert!(stats.hops > stats.steps, "{stats:?}");
        }
        for (n, clip) in clips.iter().enumerate() {
            let mut alone = Clip::new(stream(n), clip.input.clone());
            for block in 0..400 {
                if (n + block) % 5 != 0 {
                    change(n, block, &mut alone.stream);
                    alone.set_block(frames(n, block));
                    alone.stream.process_in_place(&mut alone.block).unwrap();
                    alone.store_block();
                }
            }
            assert!(
                clip.at > clip.input.len() / 2,
                "the test covers half of the input"
            );
            assert!(clip.output == alone.output, "stream {n}, width {width}");
            assert_eq!(clip.stream.stats().hops, alone.stream.stats().hops);
            assert_eq!(clip.stream.telemetry(), alone.stream.telemetry());
        }
    }
}

#[test]
fn damage_in_one_stream_affects_no_other() {
    let mut batch = Batch::new(&[model("base")], 8).unwrap();
    let input = voice(48_000, 1, 0.5, 3);
    let mut random = Random::new(9);
    let mut calls: Vec<OwnedBatchStream> = (0..8)
        .map(|_| {
            let stream = Denoiser::builder(model("base")).build().unwrap();
            OwnedBatchStream::new(stream, vec![0.0; 480])
        })
        .collect();
    let mut found = Vec::new();
    for block in input.chunks_exact(480) {
        for (n, call) in calls.iter_mut().enumerate() {
            call.samples_mut().copy_from_slice(block);
            if n != 4 {
                let wild = |_: usize| f32::from_bits(random.bits() as u32);
                call.samples_mut()
                    .copy_from_slice(&Vec::from_iter((0..480).map(wild)));
            }
        }
        batch.process(&mut calls);
        found.extend_from_slice(calls[4].samples());
        for call in &calls {
            assert!(call.samples().iter().all(|x| x.is_finite()));
        }
    }
    let mut alone = input[..found.len()].to_vec();
    let mut stream = Denoiser::builder(model("base")).build().unwrap();
    stream.process_in_place(&mut alone).unwrap();
    assert!(found == alone);
}

#[test]
fn an_invalid_block_is_refused_and_the_others_are_processed() {
    let mut batch = Batch::new(&[model("base")], 8).unwrap();
    let new = |hops: bool| {
        Denoiser::builder(model("base"))
            .hop_aligned(hops)
            .build()
            .unwrap()
    };
    let mut calls = [
        OwnedBatchStream::new(new(true), vec![0.5; 481]),
        OwnedBatchStream::new(new(false), vec![0.5; 481]),
    ];
    batch.process(&mut calls);
    assert!(matches!(
        calls[0].result(),
        Err(Error::BlockLength {
            expected: 960,
            found: 481
        })
    ));
    assert!(calls[0].samples() == [0.5; 481]);
    calls[1].result().unwrap();
    assert_eq!(calls[1].stream().stats().hops, 1);
    assert!(matches!(
        Batch::new(&[], 0),
        Err(Error::BatchWidth { found: 0, max: 64 })
    ));
}

/// A clock that advances by `step` at each reading, as if work took this time.
fn slow_clock(step: Duration) -> impl FnMut() -> Duration {
    let mut now = Duration::ZERO;
    move || {
        now += step;
        now
    }
}

fn max_step(samples: &[f32]) -> f32 {
    let steps = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    steps.fold(0.0, f32::max)
}

fn active_model(call: &OwnedBatchStream) -> Option<&str> {
    call.stream()
        .active_model()
        .map(|model| model.manifest().id())
}

#[test]
fn overloaded_streams_step_down_to_the_input_and_up_again_without_a_click() {
    let models = [model("base"), model("tiny")];
    let mut batch = Batch::new(&models, 4).unwrap();
    let tone: Vec<f32> = (0..480_000)
        .map(|n| 0.4 * (n as f32 * 0.02).sin())
        .collect();
    let mut calls: Vec<OwnedBatchStream> = (0..6)
        .map(|_| {
            let stream = Denoiser::builder(models[0].clone()).fallback_model(models[1].clone());
            OwnedBatchStream::new(stream.build().unwrap(), vec![0.0; 480])
        })
        .collect();
    let mut outputs = vec![Vec::new(); calls.len()];
    let budget = Duration::from_millis(10);
    let mut lowest = 0;
    for (n, block) in tone.chunks_exact(480).enumerate() {
        for call in &mut calls {
            call.samples_mut().copy_from_slice(block);
        }
        // Half a second with time, half a second nearly without, then with time again.
        let step = if (50..100).contains(&n) { 9 } else { 0 };
        batch.process_within(&mut calls, budget, slow_clock(Duration::from_millis(step)));
        for (call, output) in calls.iter().zip(&mut outputs) {
            call.result().unwrap();
            output.extend_from_slice(call.samples());
        }
        if n == 99 {
            lowest = calls
                .iter()
                .map(|call| call.stream().fallback_level())
                .sum();
            assert!(calls.iter().any(|call| active_model(call).is_none()));
        }
    }
    let stats = batch.stats();
    assert!(
        stats.deadline_misses > 0 && lowest >= 6,
        "{stats:?} {lowest}"
    );
    assert_eq!(stats.step_downs, stats.step_ups, "{stats:?}");
    assert!(calls.iter().all(|call| call.stream().fallback_level() == 0));
    assert!(calls.iter().all(|call| active_model(call) == Some("base")));
    let missed: u64 = calls
        .iter()
        .map(|call| call.stream().stats().deadline_misses)
        .sum();
    assert_eq!(missed, stats.deadline_misses);
    let mut settled = tone.clone();
    let mut alone = Denoiser::builder(models[0].clone()).build().unwrap();
    alone.process_in_place(&mut settled).unwrap();
    for output in &outputs {
        assert_eq!(output.len(), tone.len(), "no sample is lost");
        assert!(output[..24_000] == settled[..24_000], "there was time");
        assert!(rms(&output[60_000..]) > 0.01, "the output is not silent");
        let step = max_step(&output[2000..]);
        assert!(step < 3.0 * max_step(&tone), "step {step}");
    }
}
