//! Telemetry of every hop, statistics, and 16-bit blocks.

use quietwire::{AttenuationLimit, Denoiser, Strength};

use crate::signal::{model, stream, voice};

#[test]
fn every_hop_of_a_long_block_has_its_telemetry() {
    let input = voice(48_000, 1, 1.0, 2);
    let new = || {
        Denoiser::builder(model("base"))
            .telemetry_hops(200)
            .build()
            .unwrap()
    };
    let mut by_hop = new();
    let mut expected = Vec::new();
    for hop in input.chunks(480) {
        by_hop.process_in_place(&mut hop.to_vec()).unwrap();
        expected.push(by_hop.telemetry());
        assert_eq!(by_hop.drain_telemetry().count(), 1);
    }
    let mut at_once = new();
    at_once.process_in_place(&mut input.clone()).unwrap();
    let found: Vec<_> = at_once.drain_telemetry().collect();
    assert_eq!(found.len(), 100);
    assert_eq!(found, expected);
    assert!(
        found
            .iter()
            .zip(0..)
            .all(|(telemetry, hop)| telemetry.hop == hop)
    );
    assert!(
        found
            .iter()
            .any(|telemetry| telemetry.speech_probability > Some(0.5))
    );
    assert_eq!(at_once.drain_telemetry().count(), 0);
    // Without the option nothing is kept.
    let mut without = stream("base", 48_000, 1);
    without.process_in_place(&mut input.clone()).unwrap();
    assert_eq!(without.drain_telemetry().count(), 0);
}

#[test]
fn a_model_without_the_output_has_no_speech_probability() {
    let mut stream = stream("unity", 48_000, 1);
    stream.process_in_place(&mut vec![0.1; 9600]).unwrap();
    assert_eq!(stream.telemetry().speech_probability, None);
}

#[test]
fn i16_blocks_equal_f32_blocks_after_rounding() {
    let voice = voice(44_100, 2, 0.5, 3);
    let input: Vec<i16> = voice.iter().map(|x| (x * 32768.0).round() as i16).collect();
    let mut expected: Vec<f32> = input.iter().map(|x| f32::from(*x) / 32768.0).collect();
    let new = || {
        let builder = Denoiser::builder(model("base")).rate_hz(44_100).channels(2);
        builder.attenuation(Strength::Medium).build().unwrap()
    };
    new().process_in_place(&mut expected).unwrap();
    let expected: Vec<i16> = expected
        .iter()
        .map(|x| (x * 32768.0).round() as i16)
        .collect();
    let mut found = vec![0; input.len()];
    let mut stream = new();
    for (from, to) in input.chunks(2 * 123).zip(found.chunks_mut(2 * 123)) {
        stream.process_i16(from, to).unwrap();
    }
    assert!(found == expected);
    let mut in_place = input;
    new().process_i16_in_place(&mut in_place).unwrap();
    assert!(in_place == expected);
    // Full scale saturates and does not wrap.
    let mut off = Denoiser::builder(model("base"))
        .bypass(true)
        .build()
        .unwrap();
    let mut extremes = vec![i16::MIN, i16::MAX, 0, -1];
    extremes.resize(4 + off.latency(), 0);
    let len = extremes.len();
    let expected = extremes.clone();
    off.process_i16_in_place(&mut extremes).unwrap();
    assert!(extremes[len - 4..] == expected[..4]);
}

#[test]
fn limits_and_levels_are_the_documented_ones() {
    let mut stream = stream("base", 48_000, 1);
    for (strength, db) in [
        (Strength::Low, 12.0),
        (Strength::Medium, 20.0),
        (Strength::High, 40.0),
    ] {
        stream.set_attenuation(strength).unwrap();
        assert_eq!(stream.attenuation(), AttenuationLimit::Db(db));
    }
    stream.set_attenuation(f32::INFINITY).unwrap();
    assert_eq!(stream.attenuation(), AttenuationLimit::Unlimited);
}
