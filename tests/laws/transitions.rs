//! A stream that changes its model, and one that takes whole hops: same latency always, no click.

use quietwire::{Denoiser, Error};

use crate::signal::{error_db, model, rms, voice};

#[test]
fn another_model_takes_over_and_the_stream_then_equals_one_that_had_it_from_then_on() {
    let input = voice(48_000, 1, 1.0, 2);
    let mut stream = Denoiser::builder(model("base"))
        .fallback_model(model("tiny"))
        .build()
        .unwrap();
    let mut block = input.clone();
    stream.process_in_place(&mut block).unwrap();
    stream.set_model(1).unwrap();
    assert_eq!(stream.model().manifest().id(), "tiny");
    stream.process_in_place(&mut block).unwrap();
    let mut output = input.clone();
    stream.process_in_place(&mut output).unwrap();

    let mut fresh = Denoiser::builder(model("tiny")).build().unwrap();
    assert_eq!(fresh.latency(), stream.latency());
    // What the second block was before it was cleaned: the first block's output.
    let mut heard = input.clone();
    let mut first = Denoiser::builder(model("base")).build().unwrap();
    first.process_in_place(&mut heard).unwrap();
    fresh.process_in_place(&mut heard).unwrap();
    let mut expected = input.clone();
    fresh.process_in_place(&mut expected).unwrap();
    assert!(output == expected);
}

#[test]
fn models_of_other_latencies_are_aligned() {
    // `unity` at 48 kHz and `spectrum` at 16 kHz both give the input back.
    let input = voice(48_000, 1, 2.0, 2);
    let mut stream = Denoiser::builder(model("unity"))
        .fallback_model(model("spectrum"))
        .build()
        .unwrap();
    let mut output = input.clone();
    for (n, block) in output.chunks_mut(6000).enumerate() {
        stream.set_model(n % 2).unwrap();
        stream.process_in_place(block).unwrap();
    }
    let latency = stream.latency();
    let low: Vec<f32> = input[..input.len() - latency].to_vec();
    // What the 16 kHz model cannot carry is missing in half of the blocks.
    assert!(error_db(&output[latency..], &low) < -20.0);
    assert!(rms(&output[48_000..]) > 0.5 * rms(&input));
}

#[test]
fn whole_hops_are_a_hop_sooner_and_else_the_same() {
    let input = voice(48_000, 2, 1.0, 4);
    let builder = || Denoiser::builder(model("base")).channels(2);
    let mut usual = builder().build().unwrap();
    let mut whole = builder().hop_aligned(true).build().unwrap();
    assert_eq!(whole.latency() + 480, usual.latency());
    let (mut sooner, mut later) = (input.clone(), input);
    for (n, block) in sooner.chunks_mut(2 * 960).enumerate() {
        match n % 20 {
            8 => whole.set_bypass(true),
            13 => whole.set_bypass(false),
            _ => {}
        }
        whole.process_in_place(block).unwrap();
    }
    for (n, block) in later.chunks_mut(2 * 960).enumerate() {
        match n % 20 {
            8 => usual.set_bypass(true),
            13 => usual.set_bypass(false),
            _ => {}
        }
        usual.process_in_place(block).unwrap();
    }
    // Where neither fades: the fades are at the same output sample, a hop apart in the signal.
    let settled = 2 * 8 * 960;
    assert!(sooner[2 * 480..settled - 960] == later[2 * 960..settled]);
    let off = 2 * (10 * 960)..2 * (13 * 960);
    assert!(sooner[off.start..off.end - 960] == later[off.start + 960..off.end]);
}

#[test]
fn a_switch_that_is_taken_back_at_once_changes_nothing() {
    let input = voice(48_000, 1, 0.3, 4);
    let builder = || Denoiser::builder(model("base")).hop_aligned(true);
    let (mut plain, mut undecided) = (builder().build().unwrap(), builder().build().unwrap());
    let (mut expected, mut output) = (input.clone(), input);
    for (a, b) in expected.chunks_mut(480).zip(output.chunks_mut(480)) {
        plain.process_in_place(a).unwrap();
        undecided.set_bypass(true);
        undecided.set_bypass(false);
        undecided.process_in_place(b).unwrap();
    }
    assert!(expected == output);
}

#[test]
fn promises_that_cannot_hold_are_refused() {
    let builder = || Denoiser::builder(model("base")).hop_aligned(true);
    assert!(matches!(
        builder().rate_hz(16_000).build(),
        Err(Error::HopAligned { rate_hz: 16_000 })
    ));
    assert!(matches!(
        builder().fallback_model(model("spectrum")).build(),
        Err(Error::HopAligned { rate_hz: 48_000 })
    ));
    let mut stream = builder().build().unwrap();
    let mut block = [0.25; 500];
    assert!(matches!(
        stream.process_in_place(&mut block),
        Err(Error::BlockLength {
            expected: 960,
            found: 500
        })
    ));
    assert_eq!(block, [0.25; 500]);
    assert!(matches!(
        stream.set_model(1),
        Err(Error::ModelIndex {
            found: 1,
            models: 1
        })
    ));
}
