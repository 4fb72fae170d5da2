//! Every split into blocks gives bit-equal output, also when settings change in mid-stream.

use proptest::prelude::*;
use quietwire::Denoiser;

use crate::signal::{can_run, linked, stream, voice};

/// Processes `input` in blocks of the lengths `sizes`, repeated, with changes of settings at fixed frames.
fn run_with_changes(stream: &mut Denoiser, input: &[f32], sizes: &[usize]) -> Vec<f32> {
    let channels = stream.channels();
    let frames = input.len() / channels;
    let changes = [frames / 7, frames / 3, frames / 2, frames * 3 / 4];
    let mut output = vec![0.0; input.len()];
    let (mut at, mut block) = (0, 0);
    while at < frames {
        if let Some(change) = changes.iter().position(|change| *change == at) {
            match change {
                0 => stream.set_bypass(true),
                1 => stream.set_bypass(false),
                2 => stream.set_attenuation(6.0).unwrap(),
                _ => stream.set_attenuation(f32::INFINITY).unwrap(),
            }
        }
        let next = changes
            .iter()
            .copied()
            .filter(|change| *change > at)
            .min()
            .unwrap_or(frames);
        let size = sizes[block % sizes.len()].min(next - at);
        block += 1;
        let range = at * channels..(at + size) * channels;
        stream
            .process(&input[range.clone()], &mut output[range])
            .unwrap();
        at += size;
    }
    output
}

#[test]
fn one_sample_at_a_time_equals_one_block() {
    for (id, rate_hz, channels) in [
        ("base", 48_000, 1),
        ("base", 44_100, 2),
        ("tiny", 48_000, 1),
        ("lookahead", 22_050, 1),
        ("recurrent", 48_000, 1),
        ("time_frequency", 48_000, 2),
        ("frame", 16_000, 1),
        ("linked", 48_000, 2),
        ("whole", 16_000, 1),
    ] {
        if !can_run(id) {
            continue;
        }
        let input = voice(rate_hz, channels, 0.8, 1);
        let one_block = run_with_changes(&mut stream(id, rate_hz, channels), &input, &[usize::MAX]);
        let single = run_with_changes(&mut stream(id, rate_hz, channels), &input, &[1]);
        assert!(
            one_block == single,
            "{id} {rate_hz} Hz, {channels} channels"
        );
    }
}

#[test]
fn in_place_and_planar_equal_interleaved() {
    for make in [stream, linked] {
        let input = voice(44_100, 2, 0.5, 2);
        let mut expected = vec![0.0; input.len()];
        make("base", 44_100, 2)
            .process(&input, &mut expected)
            .unwrap();

        let mut block = input.clone();
        make("base", 44_100, 2)
            .process_in_place(&mut block)
            .unwrap();
        assert!(block == expected, "in place");

        let channel = |c: usize| -> Vec<f32> { input.iter().skip(c).step_by(2).copied().collect() };
        let expected_channel =
            |c: usize| -> Vec<f32> { expected.iter().skip(c).step_by(2).copied().collect() };
        let (mut left, mut right) = (channel(0), channel(1));
        make("base", 44_100, 2)
            .process_planar_in_place(&mut [&mut left, &mut right])
            .unwrap();
        assert!(
            left == expected_channel(0) && right == expected_channel(1),
            "planar in place"
        );

        let (a, b) = (channel(0), channel(1));
        let (mut x, mut y) = (vec![0.0; a.len()], vec![0.0; a.len()]);
        make("base", 44_100, 2)
            .process_planar(&[&a, &b], &mut [&mut x, &mut y])
            .unwrap();
        assert!(
            x == expected_channel(0) && y == expected_channel(1),
            "planar"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same_bits(
        sizes in prop::collection::vec(1usize..2000, 1..20),
        rate in prop::sample::select(vec![8_000u32, 11_025, 16_000, 44_100, 44_099, 48_000, 96_000]),
        channels in 1usize..3,
    ) {
        let input = voice(rate, channels, 0.4, 3);
        let one_block = run_with_changes(&mut stream("base", rate, channels), &input, &[usize::MAX]);
        let split = run_with_changes(&mut stream("base", rate, channels), &input, &sizes);
        prop_assert!(one_block == split);
    }
}
