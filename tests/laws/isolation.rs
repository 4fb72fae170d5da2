//! The samples of one stream never affect another stream, nor those of one channel another channel.

use crate::signal::{error_db, linked, model, stream, voice};

#[test]
fn streams_that_share_a_model_share_nothing_else() {
    let (a, b) = (voice(48_000, 1, 0.6, 1), voice(48_000, 1, 0.6, 5));
    let alone = |input: &[f32]| {
        let mut block = input.to_vec();
        stream("base", 48_000, 1)
            .process_in_place(&mut block)
            .unwrap();
        block
    };
    let (mut x, mut y) = (stream("base", 48_000, 1), stream("base", 48_000, 1));
    let (mut out_a, mut out_b) = (a.clone(), b.clone());
    for (left, right) in out_a.chunks_mut(97).zip(out_b.chunks_mut(97)) {
        x.process_in_place(left).unwrap();
        y.process_in_place(right).unwrap();
    }
    assert!(out_a == alone(&a) && out_b == alone(&b));
}

#[test]
fn independent_channels_equal_separate_streams() {
    let input = voice(44_100, 2, 0.6, 1);
    let mut both = input.clone();
    stream("base", 44_100, 2)
        .process_in_place(&mut both)
        .unwrap();
    for channel in 0..2 {
        let mut alone: Vec<f32> = input.iter().skip(channel).step_by(2).copied().collect();
        stream("base", 44_100, 1)
            .process_in_place(&mut alone)
            .unwrap();
        let found: Vec<f32> = both.iter().skip(channel).step_by(2).copied().collect();
        assert!(alone == found, "channel {channel}");
    }
}

#[test]
fn streams_on_several_threads_share_a_model() {
    let input = voice(48_000, 1, 0.4, 1);
    let outputs: Vec<Vec<f32>> = std::thread::scope(|scope| {
        let run = || {
            let mut block = input.clone();
            let mut stream = quietwire::Denoiser::builder(model("base")).build().unwrap();
            stream.process_in_place(&mut block).unwrap();
            block
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn linked_channels_share_one_mask() {
    // Opposite signs would cancel in a downmix. Powers do not.
    let mono = voice(48_000, 1, 1.0, 1);
    let mut both: Vec<f32> = mono.iter().flat_map(|x| [*x, -0.5 * x]).collect();
    linked("base", 48_000, 2)
        .process_in_place(&mut both)
        .unwrap();
    let (left, right): (Vec<f32>, Vec<f32>) = both
        .chunks_exact(2)
        .map(|frame| (frame[0], -2.0 * frame[1]))
        .unzip();
    assert!(error_db(&left, &right) < -100.0, "the image stays in place");
    let mut alone = mono;
    stream("base", 48_000, 1)
        .process_in_place(&mut alone)
        .unwrap();
    assert!(
        error_db(&alone, &left) < -60.0,
        "equal channels are processed like one channel"
    );
}
