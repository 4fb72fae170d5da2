//! With a unity mask the output is the input, delayed by exactly `latency()`, with an error below -90 dB.

use crate::signal::{RATES_HZ, can_run, chord, db, error_db, model, rms, run, stream, white};
use quietwire_testing::Random;

#[test]
fn unity_mask_gives_the_delayed_input_at_every_rate() {
    for id in ["unity", "lookahead", "spectrum", "frame", "linked"] {
        if !can_run(id) {
            continue;
        }
        let model_hz = model(id).manifest().rate_hz();
        for rate_hz in RATES_HZ {
            // The bandwidth is half of the lower rate.
            let input = chord(rate_hz, rate_hz as usize, rate_hz.min(model_hz) / 2);
            let mut stream = stream(id, rate_hz, 1);
            let delay = stream.latency();
            let output = run(&mut stream, &input, 480);
            let error = error_db(&input, &output[delay..]);
            println!("{id} {rate_hz} Hz: latency {delay}, error {error:.1} dB");
            assert!(error < -90.0, "{id} {rate_hz} Hz: {error:.1} dB");
        }
    }
}

#[test]
fn half_mask_gives_half() {
    let input = chord(48_000, 48_000, 24_000);
    let mut stream = stream("half", 48_000, 1);
    let delay = stream.latency();
    let output: Vec<f32> = run(&mut stream, &input, 100)
        .iter()
        .map(|x| 2.0 * x)
        .collect();
    assert!(error_db(&input, &output[delay..]) < -90.0);
}

#[test]
fn the_attenuation_limit_mixes_in_the_input() {
    // Gain 1/2 limited to 20 dB of attenuation: 0.1 * 1 + 0.9 * 0.5.
    let input = chord(48_000, 48_000, 24_000);
    let mut stream = stream("half", 48_000, 1);
    stream.set_attenuation(20.0).unwrap();
    stream.reset();
    let delay = stream.latency();
    let output: Vec<f32> = run(&mut stream, &input, 480)
        .iter()
        .map(|x| x / 0.55)
        .collect();
    // The noise floor keeps the quiet ends of the chord; see below.
    let loud = 2400..input.len() - 2400;
    assert!(error_db(&input[loud.clone()], &output[delay..][loud]) < -90.0);
}

#[test]
fn the_noise_floor_keeps_what_is_40_db_below_the_speech_unless_there_is_no_limit() {
    // One second at the level of speech, then one second of room noise 60 dB below it.
    let speech = chord(48_000, 48_000, 24_000);
    let room: Vec<f32> = speech.iter().map(|x| x / 1000.0).collect();
    let input = [&speech[..], &room].concat();
    let quiet = 50_400..input.len() - 2400;
    for (limit_db, gain) in [(40.0, 1.0), (6.0, 1.0), (f32::INFINITY, 0.5)] {
        let mut stream = stream("half", 48_000, 1);
        stream.set_attenuation(limit_db).unwrap();
        stream.reset();
        let delay = stream.latency();
        let output = run(&mut stream, &input, 480);
        let expected: Vec<f32> = input[quiet.clone()].iter().map(|x| x * gain).collect();
        let error = error_db(&expected, &output[delay..][quiet.clone()]);
        assert!(error < -80.0, "{limit_db} dB: {error:.1} dB");
    }
}

#[test]
fn a_reset_clears_the_speech_level() {
    let room: Vec<f32> = chord(48_000, 48_000, 24_000)
        .iter()
        .map(|x| x / 1000.0)
        .collect();
    let mut stream = stream("half", 48_000, 1);
    let fresh = run(&mut stream, &room, 480);
    run(&mut stream, &chord(48_000, 48_000, 24_000), 480);
    stream.reset();
    assert_eq!(run(&mut stream, &room, 480), fresh);
}

#[test]
fn hiss_stays_at_66_db_below_full_scale_before_the_first_speech() {
    let mut random = Random::new(7);
    // -55 dBFS
    let hiss: Vec<f32> = (0..24_000).map(|_| 0.003 * white(&mut random)).collect();
    for id in ["base", "tiny"] {
        let mut stream = stream(id, 48_000, 1);
        stream.set_attenuation(40.0).unwrap();
        stream.reset();
        let output = run(&mut stream, &hiss, 480);
        let left_db = db(rms(&output[12_000..24_000]));
        assert!((left_db + 66.0).abs() < 2.0, "{id}: {left_db:.1} dBFS");
    }
}

#[test]
fn rates_without_a_small_ratio_are_aligned_within_half_a_sample() {
    for rate_hz in [8_001, 44_099, 47_999, 100_003] {
        let mut stream = stream("unity", rate_hz, 1);
        let delay = stream.latency();
        // Half a sample is a small phase angle of a slow tone.
        let tone_hz = 100.0;
        let input: Vec<f32> = (0..rate_hz as usize)
            .map(|n| (std::f64::consts::TAU * tone_hz * n as f64 / f64::from(rate_hz)).sin() as f32)
            .collect();
        let output = run(&mut stream, &input, 512);
        let steady = rate_hz as usize / 4;
        let error = error_db(&input[steady..], &output[delay + steady..]);
        let half_sample = db(std::f64::consts::PI * tone_hz / f64::from(rate_hz));
        assert!(
            error < half_sample + 0.1,
            "{rate_hz} Hz: {error:.1} dB, bound {half_sample:.1} dB"
        );
    }
}
