//! For every input the output is finite and bounded, and the stream recovers.

use quietwire::{Denoiser, Error};

use crate::signal::{model, rms, stream, voice, white};
use quietwire_testing::Random;

fn hostile_blocks() -> Vec<(&'static str, Vec<f32>)> {
    let mut random = Random::new(3);
    let mut random = |scale: f32| {
        (0..4800)
            .map(|_| scale * white(&mut random))
            .collect::<Vec<_>>()
    };
    vec![
        ("NaN", vec![f32::NAN; 4800]),
        ("infinity", vec![f32::INFINITY; 4800]),
        ("minus infinity", vec![f32::NEG_INFINITY; 4800]),
        (
            "alternating infinities",
            (0..4800)
                .map(|n| {
                    if n % 2 == 0 {
                        f32::INFINITY
                    } else {
                        f32::NEG_INFINITY
                    }
                })
                .collect(),
        ),
        ("huge", random(1e30)),
        ("largest", vec![f32::MAX; 4800]),
        ("denormal", random(1e-40)),
        ("1e-30", random(1e-30)),
        ("DC", vec![1.0; 4800]),
        ("full scale", random(1.0)),
        (
            "square",
            (0..4800)
                .map(|n| if n / 24 % 2 == 0 { 1.0 } else { -1.0 })
                .collect(),
        ),
        ("digital silence", vec![0.0; 4800]),
        (
            "one bit",
            (0..4800)
                .map(|n| if n % 100 == 0 { 3e-5 } else { 0.0 })
                .collect(),
        ),
    ]
}

#[test]
fn output_is_finite_and_bounded() {
    for (id, rate_hz) in [("base", 16_000), ("base", 48_000), ("tiny", 48_000)] {
        for (name, block) in hostile_blocks() {
            let mut stream = stream(id, rate_hz, 1);
            let mut output = block.clone();
            for _ in 0..3 {
                output.copy_from_slice(&block);
                stream.process_in_place(&mut output).unwrap();
                assert!(
                    output.iter().all(|x| x.is_finite() && x.abs() <= 400.0),
                    "{name}, {rate_hz} Hz"
                );
            }
            let telemetry = stream.telemetry();
            assert!(
                [
                    telemetry.speech_probability.unwrap(),
                    telemetry.snr_db,
                    telemetry.gain_db,
                    telemetry.input_dbfs,
                    telemetry.output_dbfs
                ]
                .iter()
                .all(|x| x.is_finite()),
                "{name}: {telemetry:?}"
            );
        }
    }
}

#[test]
fn silence_stays_silence() {
    let mut stream = stream("base", 48_000, 1);
    let mut block = vec![0.0; 48_000];
    stream.process_in_place(&mut block).unwrap();
    assert!(block.iter().all(|x| *x == 0.0));
}

#[test]
fn the_stream_recovers_from_damage() {
    let clean = voice(48_000, 1, 3.0, 1);
    let mut expected = clean.clone();
    stream("base", 48_000, 1)
        .process_in_place(&mut expected)
        .unwrap();
    let mut damaged = clean;
    damaged[1000..1100].fill(f32::NAN);
    let mut stream = stream("base", 48_000, 1);
    stream.process_in_place(&mut damaged).unwrap();
    assert_eq!(stream.stats().repaired_samples, 100);
    let (a, b) = (rms(&expected[96_000..]), rms(&damaged[96_000..]));
    assert!((crate::signal::db(a / b)).abs() < 1.0, "{a} {b}");
}

#[test]
fn options_out_of_range_are_typed_errors() {
    let build = |rate_hz, channels| {
        Denoiser::builder(model("unity"))
            .rate_hz(rate_hz)
            .channels(channels)
            .build()
    };
    for rate_hz in [0, 7_999, 192_001, u32::MAX] {
        assert!(
            matches!(build(rate_hz, 1), Err(Error::Rate { found_hz, .. }) if found_hz == rate_hz)
        );
    }
    for channels in [0, 65, usize::MAX] {
        assert!(
            matches!(build(48_000, channels), Err(Error::Channels { found, .. }) if found == channels)
        );
    }
}

#[test]
fn blocks_that_do_not_fit_are_refused_and_change_nothing() {
    let mut stream = stream("unity", 48_000, 2);
    let mut out = vec![0.5; 6];
    assert!(matches!(
        stream.process(&[0.1; 4], &mut out),
        Err(Error::BlockLength {
            expected: 4,
            found: 6
        })
    ));
    assert!(matches!(
        stream.process_in_place(&mut [0.1; 3]),
        Err(Error::BlockLength {
            expected: 2,
            found: 3
        })
    ));
    assert!(matches!(
        stream.flush(&mut [0.0; 10]),
        Err(Error::BlockLength {
            expected: 1920,
            found: 10
        })
    ));
    let (mut a, mut b) = ([0.0; 4], [0.0; 5]);
    assert!(matches!(
        stream.process_planar_in_place(&mut [&mut a, &mut b]),
        Err(Error::BlockLength {
            expected: 4,
            found: 5
        })
    ));
    assert!(matches!(
        stream.process_planar_in_place(&mut [&mut a]),
        Err(Error::ChannelSlices {
            expected: 2,
            found: 1
        })
    ));
    assert!(matches!(
        stream.process_planar(&[], &mut []),
        Err(Error::ChannelSlices { .. })
    ));
    assert_eq!(stream.stats().hops, 0);
    stream.process_in_place(&mut []).unwrap();
    assert!(out.iter().all(|x| *x == 0.5));
}
