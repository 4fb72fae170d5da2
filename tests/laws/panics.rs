//! A caught panic damages nothing for long: streams and batches continue, and a reset stream equals a
//! new one.

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::path::Path;

use quietwire::{
    Batch, BatchStream, Denoiser, DenoiserBuilder, DenoiserOptions, Error, Model, OwnedBatchStream,
};

use crate::signal::{model, voice};

/// Threads may send these and catch panics around them; streams may share a model.
#[test]
fn types_are_send_and_unwind_safe() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    is_send::<Denoiser>();
    is_send::<Batch>();
    is_send::<OwnedBatchStream>();
    is_send::<Model>();
    is_sync::<Model>();
    is_send::<DenoiserBuilder>();
    is_sync::<DenoiserOptions>();
    is_send::<Error>();
    is_sync::<Error>();
    is_unwind_safe::<Denoiser>();
    is_unwind_safe::<Batch>();
    is_unwind_safe::<Model>();
    is_unwind_safe::<DenoiserOptions>();
}

/// Panics on the `panics_at`th call of `stream_and_block`.
struct Panicking {
    inner: OwnedBatchStream,
    calls: usize,
    panics_at: usize,
}

impl BatchStream for Panicking {
    fn stream_and_block(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        self.calls += 1;
        assert!(self.calls != self.panics_at, "on purpose");
        self.inner.stream_and_block()
    }

    fn complete(&mut self, result: Result<(), Error>) {
        self.inner.complete(result);
    }
}

fn stream() -> Denoiser {
    Denoiser::builder(model("base")).build().unwrap()
}

fn batch_streams(count: usize, frames: usize) -> Vec<OwnedBatchStream> {
    let block = &voice(48_000, 1, 1.0, 3)[..frames];
    let new = |_| OwnedBatchStream::new(stream(), block.to_vec());
    (0..count).map(new).collect()
}

#[test]
fn a_batch_continues_after_a_caught_panic() {
    let mut alone = batch_streams(1, 9600);
    alone[0]
        .stream_and_block()
        .map(|(stream, block)| stream.process_in_place(block));
    // Wherever the panic comes, and with fewer, as many and more streams afterwards.
    for panics_at in [1, 2, 3, 5, 8, 13] {
        for later in [2, 4, 20] {
            let mut batch = Batch::new(&[model("base")], 16).unwrap();
            let mut first: Vec<Panicking> = batch_streams(4, 9600)
                .into_iter()
                .enumerate()
                .map(|(n, inner)| Panicking {
                    inner,
                    calls: 0,
                    panics_at: if n == 2 { panics_at } else { 0 },
                })
                .collect();
            let caught = catch_unwind(AssertUnwindSafe(|| batch.process(&mut first)));
            assert!(caught.is_err(), "the panic reaches the caller");
            let mut streams = batch_streams(later, 9600);
            batch.process(&mut streams);
            for stream in &streams {
                stream.result().unwrap();
                assert_eq!(stream.stream().stats().hops, 20);
                assert!(
                    stream.samples() == alone[0].samples(),
                    "{panics_at} {later}"
                );
            }
            // The streams of the call that panicked continue, aligned.
            for stream in &mut first {
                stream.panics_at = 0;
                stream
                    .inner
                    .samples_mut()
                    .copy_from_slice(&voice(48_000, 1, 1.0, 3)[..9600]);
            }
            batch.process(&mut first);
            for stream in &first {
                stream.inner.result().unwrap();
                if stream.inner.stream().stats().interrupted_blocks == 1 {
                    assert!(
                        stream.inner.samples() == alone[0].samples(),
                        "reset before the block"
                    );
                }
            }
        }
    }
}

/// A block whose samples panic when they are read: a stream that is interrupted in mid-block.
#[test]
fn a_stream_that_was_reset_after_a_caught_panic_equals_a_new_one() {
    let input = voice(48_000, 1, 0.5, 7);
    let mut expected = input.clone();
    stream().process_in_place(&mut expected).unwrap();
    for panics_at in 1..12 {
        for reset in [true, false] {
            let mut batch = Batch::new(&[], 1).unwrap();
            let mut interrupted = [Panicking {
                inner: OwnedBatchStream::new(stream(), input.clone()),
                calls: 0,
                panics_at,
            }];
            let caught = catch_unwind(AssertUnwindSafe(|| batch.process(&mut interrupted)));
            let [interrupted] = interrupted;
            let mut stream = interrupted.inner;
            if caught.is_err() && reset {
                stream.stream_mut().reset();
                assert_eq!(stream.stream().stats(), Default::default());
            }
            if caught.is_ok() {
                continue;
            }
            // Another block length than before, then the rest.
            let mut output = input.clone();
            let (a, b) = output.split_at_mut(777);
            let interrupted_before = stream.stream().stats().interrupted_blocks;
            stream.stream_mut().process_in_place(a).unwrap();
            stream.stream_mut().process_in_place(b).unwrap();
            let was_in_block = stream.stream().stats().interrupted_blocks > interrupted_before;
            assert!(
                !(reset && was_in_block),
                "a reset stream is not interrupted"
            );
            if reset || was_in_block {
                assert!(output == expected, "panic {panics_at}, reset {reset}");
            }
        }
    }
}

/// A block that does not fit comes between the panic and the next block: the stream is still reset.
#[test]
fn an_invalid_block_after_a_caught_panic_changes_nothing() {
    let aligned = || {
        let builder = Denoiser::builder(model("base")).hop_aligned(true);
        builder.build().unwrap()
    };
    let input = voice(48_000, 1, 0.2, 7);
    let mut expected = input.clone();
    aligned().process_in_place(&mut expected).unwrap();
    for alone in [true, false] {
        let mut batch = Batch::new(&[], 1).unwrap();
        let mut interrupted = [Panicking {
            inner: OwnedBatchStream::new(aligned(), input.clone()),
            calls: 0,
            panics_at: 3,
        }];
        let caught = catch_unwind(AssertUnwindSafe(|| batch.process(&mut interrupted)));
        assert!(caught.is_err());
        let [
            Panicking {
                inner: mut stream, ..
            },
        ] = interrupted;
        stream.samples_mut().copy_from_slice(&input);
        if alone {
            let result = stream.stream_mut().process_in_place(&mut [0.0; 100]);
            assert!(matches!(result, Err(Error::BlockLength { .. })));
        } else {
            let mut short = [Changing {
                inner: stream,
                calls: usize::MAX / 2,
            }];
            batch.process(&mut short);
            [Changing { inner: stream, .. }] = short;
            assert!(matches!(stream.result(), Err(Error::BlockLength { .. })));
        }
        let mut output = input.clone();
        stream.stream_mut().process_in_place(&mut output).unwrap();
        assert_eq!(stream.stream().stats().interrupted_blocks, 1);
        assert!(output == expected, "alone: {alone}");
    }
}

/// A model that loads, and whose engine fails or panics on loud hops only.
#[cfg(feature = "onnx")]
fn fragile(kind: &str) -> std::sync::Arc<Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/models")
        .join(kind);
    Model::from_folder(folder).unwrap()
}

#[cfg(feature = "onnx")]
#[test]
fn one_streams_engine_panic_is_its_own_error() {
    let fragile = fragile("fragile");
    let mut batch = Batch::new(&[model("base"), fragile.clone()], 16).unwrap();
    let quiet: Vec<f32> = voice(48_000, 1, 1.0, 3)[..4800]
        .iter()
        .map(|x| x * 0.01)
        .collect();
    let loud = vec![0.9; 4800];
    let new = |model: &std::sync::Arc<Model>, block: &[f32]| {
        let stream = Denoiser::builder(model.clone()).build().unwrap();
        OwnedBatchStream::new(stream, block.to_vec())
    };
    let mut streams = [
        new(&model("base"), &quiet),
        new(&fragile, &loud),
        new(&fragile, &quiet),
        new(&model("base"), &quiet),
    ];
    batch.process(&mut streams);
    assert!(matches!(streams[1].result(), Err(Error::Inference { .. })));
    let reason = batch
        .last_failure()
        .or_else(|| streams[1].stream().last_failure());
    assert!(reason.is_some_and(|reason| !reason.is_empty()));
    for (n, model) in [(0, model("base")), (2, fragile.clone()), (3, model("base"))] {
        streams[n].result().unwrap();
        let mut alone = quiet.clone();
        let mut stream = Denoiser::builder(model).build().unwrap();
        stream.process_in_place(&mut alone).unwrap();
        assert!(streams[n].samples() == alone, "stream {n}");
    }
    // Alone too: an error, the delayed input, and it goes on.
    let mut stream = Denoiser::builder(fragile).build().unwrap();
    let mut block = loud.clone();
    assert!(matches!(
        stream.process_in_place(&mut block),
        Err(Error::Inference { .. })
    ));
    assert!(
        block[1440..].iter().all(|x| (x - 0.9).abs() < 1e-5),
        "the delayed input"
    );
    assert!(stream.last_failure().is_some());
    assert!(stream.stats().failed_hops > 0);
    stream.reset();
    let (mut found, mut expected) = (quiet.clone(), quiet.clone());
    stream.process_in_place(&mut found).unwrap();
    let mut fresh = Denoiser::builder(stream.model().clone()).build().unwrap();
    fresh.process_in_place(&mut expected).unwrap();
    assert!(found == expected);
}

/// Returns another block length after the first question.
struct Changing {
    inner: OwnedBatchStream,
    calls: usize,
}

impl BatchStream for Changing {
    fn stream_and_block(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        self.calls += 1;
        let calls = self.calls;
        let (stream, block) = self.inner.stream_and_block()?;
        let len = if calls > 3 { 100 } else { block.len() };
        Some((stream, &mut block[..len]))
    }

    fn complete(&mut self, result: Result<(), Error>) {
        self.inner.complete(result);
    }
}

#[test]
fn a_block_that_changes_during_the_call_is_an_error_of_its_own() {
    let mut batch = Batch::new(&[model("base")], 4).unwrap();
    let mut streams: Vec<Changing> = batch_streams(3, 4800)
        .into_iter()
        .enumerate()
        .map(|(n, inner)| Changing {
            inner,
            calls: if n == 1 { 0 } else { usize::MAX / 2 },
        })
        .collect();
    // Streams 0 and 2 return 100 samples at every call: short blocks that do not change.
    batch.process(&mut streams);
    assert!(matches!(
        streams[1].inner.result(),
        Err(Error::BatchStreamChanged)
    ));
    streams[0].inner.result().unwrap();
    streams[2].inner.result().unwrap();
    // The stream is reset before its next block, and the others have lost nothing.
    let block = voice(48_000, 1, 1.0, 5)[..4800].to_vec();
    for stream in &mut streams {
        stream.inner.samples_mut().copy_from_slice(&block);
    }
    let mut inner: Vec<OwnedBatchStream> = streams.into_iter().map(|s| s.inner).collect();
    batch.process(&mut inner);
    inner[1].result().unwrap();
    assert_eq!(inner[1].stream().stats().interrupted_blocks, 1);
    let mut fresh = stream();
    let mut expected = block.clone();
    fresh.process_in_place(&mut expected).unwrap();
    assert!(inner[1].samples() == expected, "the stream was reset");
    let mut alone = stream();
    let mut first = voice(48_000, 1, 1.0, 3)[..100].to_vec();
    let mut expected = block.clone();
    alone.process_in_place(&mut first).unwrap();
    alone.process_in_place(&mut expected).unwrap();
    for n in [0, 2] {
        assert!(inner[n].samples() == expected, "stream {n}");
    }
}

#[cfg(not(feature = "onnx"))]
#[test]
fn a_model_that_needs_tract_is_an_error_that_names_the_feature() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/whole");
    let error = Model::from_folder(folder).unwrap_err();
    assert!(matches!(&error, Error::EngineMissing { file, .. } if file == "model.onnx"));
    assert_eq!(error.kind(), quietwire::ErrorKind::Engine);
    assert!(error.to_string().contains("feature `onnx`"), "{error}");
}
