//! Changes of the model and hop-aligned streams: constant latency, no click.

use quietwire::{Denoiser, Error};

use crate::signal::{error_db, model, rms, voice};

#[test]
fn after_a_change_of_the_model_the_output_equals_that_of_a_new_stream() {
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
    // The input of the second block: the output of the first.
    let mut second = input.clone();
    let mut first = Denoiser::builder(model("base")).build().unwrap();
    first.process_in_place(&mut second).unwrap();
    fresh.process_in_place(&mut second).unwrap();
    let mut expected = input.clone();
    fresh.process_in_place(&mut expected).unwrap();
    assert!(output == expected);
}

#[test]
fn models_with_different_latencies_are_aligned() {
    // `unity` at 48 kHz and `spectrum` at 16 kHz both output their input.
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
    // Half of the blocks lack what is above 8 kHz.
    assert!(error_db(&output[latency..], &low) < -20.0);
    assert!(rms(&output[48_000..]) > 0.5 * rms(&input));
}

#[test]
fn hop_aligned_streams_have_one_hop_less_latency_and_the_same_output() {
    let input = voice(48_000, 2, 1.0, 4);
    let builder = || Denoiser::builder(model("base")).channels(2);
    let mut default = builder().build().unwrap();
    let mut aligned = builder().hop_aligned(true).build().unwrap();
    assert_eq!(aligned.latency() + 480, default.latency());
    let (mut aligned_output, mut default_output) = (input.clone(), input);
    for (n, block) in aligned_output.chunks_mut(2 * 960).enumerate() {
        match n % 20 {
            8 => aligned.set_bypass(true),
            13 => aligned.set_bypass(false),
            _ => {}
        }
        aligned.process_in_place(block).unwrap();
    }
    for (n, block) in default_output.chunks_mut(2 * 960).enumerate() {
        match n % 20 {
            8 => default.set_bypass(true),
            13 => default.set_bypass(false),
            _ => {}
        }
        default.process_in_place(block).unwrap();
    }
    // Outside the fades: these lie at the same output sample, one hop apart in the signal.
    let settled = 2 * 8 * 960;
    assert!(aligned_output[2 * 480..settled - 960] == default_output[2 * 960..settled]);
    let off = 2 * (10 * 960)..2 * (13 * 960);
    assert!(aligned_output[off.start..off.end - 960] == default_output[off.start + 960..off.end]);
}

#[test]
fn switching_off_and_on_at_once_changes_nothing() {
    let input = voice(48_000, 1, 0.3, 4);
    let builder = || Denoiser::builder(model("base")).hop_aligned(true);
    let (mut plain, mut switched) = (builder().build().unwrap(), builder().build().unwrap());
    let (mut expected, mut output) = (input.clone(), input);
    for (a, b) in expected.chunks_mut(480).zip(output.chunks_mut(480)) {
        plain.process_in_place(a).unwrap();
        switched.set_bypass(true);
        switched.set_bypass(false);
        switched.process_in_place(b).unwrap();
    }
    assert!(expected == output);
}

#[test]
fn options_that_a_model_does_not_support_are_refused() {
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
