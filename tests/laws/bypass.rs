//! Off: the output is the input with the same latency, and no inference runs. No switch clicks.

use quietwire::{Denoiser, Error};

use crate::signal::{model, rms, stream, voice};

fn max_step(samples: &[f32]) -> f32 {
    samples
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).abs())
        .fold(0.0, f32::max)
}

#[test]
fn off_outputs_the_input_bit_by_bit() {
    for rate_hz in [16_000, 44_100, 48_000] {
        let input = voice(rate_hz, 2, 0.5, 1);
        for (bypass, attenuation_db) in [(true, 40.0), (false, 0.0)] {
            let mut stream = Denoiser::builder(model("base"))
                .rate_hz(rate_hz)
                .channels(2)
                .bypass(bypass)
                .attenuation_db(attenuation_db)
                .build()
                .unwrap();
            let delay = 2 * stream.latency();
            let mut output = input.clone();
            stream.process_in_place(&mut output).unwrap();
            assert!(
                output[delay..] == input[..input.len() - delay],
                "{rate_hz} Hz"
            );
            assert_eq!(
                stream.stats().hops,
                0,
                "no hop runs while the stream is off"
            );
        }
    }
}

#[test]
fn switching_off_in_mid_stream_outputs_the_input_and_runs_no_hop() {
    let mut stream = stream("base", 48_000, 1);
    let input = voice(48_000, 1, 1.0, 1);
    let mut output = input.clone();
    let (before, after) = output.split_at_mut(10_000);
    stream.process_in_place(before).unwrap();
    stream.set_bypass(true);
    stream.process_in_place(&mut after[..960]).unwrap();
    let hops = stream.stats().hops;
    stream.process_in_place(&mut after[960..]).unwrap();
    assert_eq!(stream.stats().hops, hops);
    let delay = stream.latency();
    assert!(output[10_960..] == input[10_960 - delay..48_000 - delay]);
}

#[test]
fn switching_never_clicks() {
    // A low tone has small sample-to-sample steps, so a jump between two signals would stand out. The
    // model attenuates the steady tone, so both signals differ as much as possible.
    let tone: Vec<f32> = (0..96_000).map(|n| 0.5 * (n as f32 * 0.02).sin()).collect();
    for rate_hz in [16_000, 44_100, 48_000] {
        let mut stream = stream("base", rate_hz, 1);
        let tone_step = max_step(&tone);
        let mut output = tone.clone();
        for (n, block) in output.chunks_mut(3000).enumerate() {
            match n % 6 {
                1 => stream.set_bypass(true),
                2 => stream.set_attenuation(3.0).unwrap(),
                3 => stream.set_bypass(false),
                4 => stream.set_attenuation(f32::INFINITY).unwrap(),
                5 => stream.set_attenuation(0.0).unwrap(),
                _ => stream.set_attenuation(12.0).unwrap(),
            }
            stream.process_in_place(block).unwrap();
        }
        let steady = &output[3000..];
        assert!(rms(steady) > 0.01, "{rate_hz} Hz: the output is not silent");
        let step = max_step(steady);
        assert!(
            step < 3.0 * tone_step,
            "{rate_hz} Hz: step {step}, the tone's is {tone_step}"
        );
    }
}

#[test]
fn after_switching_on_the_output_equals_that_of_a_new_stream() {
    let mut stream = stream("base", 48_000, 1);
    let mut earlier = voice(48_000, 1, 0.3, 4);
    stream.process_in_place(&mut earlier).unwrap();
    stream.set_bypass(true);
    stream.process_in_place(&mut earlier).unwrap();
    stream.set_bypass(false);
    let input = voice(48_000, 1, 1.0, 1);
    let mut output = input.clone();
    stream.process_in_place(&mut output).unwrap();
    let mut fresh = input;
    crate::signal::stream("base", 48_000, 1)
        .process_in_place(&mut fresh)
        .unwrap();
    // latency, 100 ms of priming and 20 ms of cross-fade
    let settled = 960 + 4800 + 960;
    assert!(output[settled..] == fresh[settled..]);
}

#[test]
fn invalid_limits_are_refused() {
    let mut stream = stream("base", 48_000, 1);
    for invalid in [-1.0, f32::NAN, f32::NEG_INFINITY] {
        assert!(matches!(
            stream.set_attenuation(invalid),
            Err(Error::Attenuation { .. })
        ));
    }
}
