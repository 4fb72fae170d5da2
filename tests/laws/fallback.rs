//! Streams that an overload stepped down step up again, and batching depends on the model alone.

use std::time::Duration;

use quietwire::{Batch, Denoiser, Error, Model, OwnedBatchStream};

use crate::signal::{model, voice};

fn stream() -> Denoiser {
    let builder = Denoiser::builder(model("base"));
    builder.fallback_model(model("tiny")).build().unwrap()
}

/// A stream that a batch without time has stepped down to the delayed input.
fn stepped_down() -> OwnedBatchStream {
    let mut batch = Batch::new(&[model("base"), model("tiny")], 4).unwrap();
    let mut streams = [OwnedBatchStream::new(stream(), vec![0.1; 480])];
    for _ in 0..200 {
        let mut now = Duration::ZERO;
        batch.process_within(&mut streams, Duration::from_millis(1), || {
            now += Duration::from_millis(2);
            now
        });
    }
    assert_eq!(streams[0].stream().fallback_level(), 2);
    assert!(streams[0].stream().is_bypassed());
    let [stream] = streams;
    stream
}

#[test]
fn a_stream_that_was_stepped_down_runs_its_model_again() {
    // Alone.
    let mut one = stepped_down();
    one.stream_mut()
        .process_in_place(&mut vec![0.1; 24_000])
        .unwrap();
    assert_eq!(one.stream().active_model().unwrap().manifest().id(), "base");
    // In a batch without a budget.
    let mut batch = Batch::new(&[model("base")], 4).unwrap();
    let mut streams = [stepped_down()];
    for _ in 0..50 {
        batch.process(&mut streams);
    }
    assert_eq!(
        streams[0].stream().active_model().unwrap().manifest().id(),
        "base"
    );
    // After a reset, at once and bit by bit.
    let mut reset = stepped_down();
    reset.stream_mut().reset();
    let input = voice(48_000, 1, 0.3, 1);
    let (mut found, mut expected) = (input.clone(), input);
    reset.stream_mut().process_in_place(&mut found).unwrap();
    stream().process_in_place(&mut expected).unwrap();
    assert!(found == expected);
}

#[test]
fn callers_can_set_the_fallback_level() {
    let mut stream = stream();
    assert_eq!(stream.max_fallback_level(), 2);
    stream.set_fallback_level(1).unwrap();
    stream.reset();
    assert_eq!(
        stream.fallback_level(),
        0,
        "a reset leaves the fallback level"
    );
    assert!(matches!(
        stream.set_fallback_level(3),
        Err(Error::FallbackLevel { found: 3, max: 2 })
    ));
    // The second model has one fallback level: the delayed input.
    stream.set_fallback_level(2).unwrap();
    stream.set_model(1).unwrap();
    assert_eq!(
        (stream.fallback_level(), stream.max_fallback_level()),
        (1, 1)
    );
}

#[test]
fn a_budget_starts_with_the_call_whatever_the_clock_reads() {
    let mut batch = Batch::new(&[model("base")], 4).unwrap();
    let mut streams = [OwnedBatchStream::new(stream(), vec![0.1; 480])];
    // An hour after the start of the program.
    let now = Duration::from_secs(3600);
    for _ in 0..100 {
        batch.process_within(&mut streams, Duration::from_millis(8), || now);
    }
    assert_eq!(batch.stats().deadline_misses, 0);
    assert_eq!(batch.stats().hops, 100);
}

#[test]
fn several_loads_of_one_model_share_their_steps() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/base");
    let loads: Vec<_> = (0..4)
        .map(|_| Model::from_folder(&folder).unwrap())
        .collect();
    let mut batch = Batch::new(&loads[..2], 16).unwrap();
    let input = voice(48_000, 1, 0.2, 5);
    let mut streams: Vec<_> = loads
        .iter()
        .map(|model| {
            let stream = Denoiser::builder(model.clone()).build().unwrap();
            OwnedBatchStream::new(stream, input.clone())
        })
        .collect();
    batch.process(&mut streams);
    let stats = batch.stats();
    assert_eq!(
        (stats.hops, stats.steps, stats.unbatched_hops),
        (80, 20, 0),
        "{stats:?}"
    );
    let mut alone = input;
    Denoiser::builder(model("base"))
        .build()
        .unwrap()
        .process_in_place(&mut alone)
        .unwrap();
    assert!(streams.iter().all(|stream| stream.samples() == alone));
    // A model that the batch was not created with runs alone, and is counted.
    let other = Denoiser::builder(model("tiny")).build().unwrap();
    batch.process(&mut [OwnedBatchStream::new(other, vec![0.1; 480])]);
    assert_eq!(batch.stats().unbatched_hops, 1);
}

#[cfg(feature = "embedded-model")]
#[test]
fn an_embedded_model_is_loaded_once() {
    let first = Model::embedded("tiny").unwrap();
    let second = Model::embedded("tiny").unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &second));
}
