//! All formats, layouts, rates and channels: the bits of the core, and as many frames.

use gst::prelude::*;
use gst_audio::AudioLayout;
use quietwire::{ChannelMode, Denoiser, DenoiserOptions, Model};

use crate::support::*;

const F32: gst_audio::AudioFormat = gst_audio::AUDIO_FORMAT_F32;
const S16: gst_audio::AudioFormat = gst_audio::AUDIO_FORMAT_S16;

#[test]
fn any_rate_and_block_length_gives_the_bits_of_the_core() {
    for (rate_hz, block) in [
        (8_000, 160),
        (11_025, 1_000),
        (16_000, 7),
        (22_050, 441),
        (44_100, 1_024),
        (48_000, 480),
        (48_000, 20_000),
        (96_000, 4_097),
        (192_000, 1_920),
    ] {
        let info = f32_info(rate_hz, 1);
        let samples = signal(rate_hz, 1, rate_hz as usize / 2 + 3);
        let mut rig = Rig::with_caps("", &info);
        rig.push_all(&info, &samples, block, 0);
        rig.push_eos();
        assert_same(&rig.take_samples(&info), &reference(&info, &samples));
    }
}

#[test]
fn one_to_eight_channels_give_the_bits_of_the_core() {
    for channels in 1..=8 {
        let info = f32_info(48_000, channels);
        let samples = signal(48_000, channels as usize, 9_601);
        let mut rig = Rig::with_caps("", &info);
        rig.push_all(&info, &samples, 480, 0);
        rig.push_eos();
        assert_same(&rig.take_samples(&info), &reference(&info, &samples));
    }
}

#[test]
fn planar_buffers_give_the_bits_of_interleaved_ones() {
    for channels in [1, 2, 5] {
        let info = info(F32, 44_100, channels, AudioLayout::NonInterleaved);
        let samples = signal(44_100, channels as usize, 20_000);
        let mut rig = Rig::with_caps("", &info);
        let block = 441 * channels as usize;
        for (at, part) in samples.chunks(block).enumerate() {
            let bytes: Vec<[u8; 4]> = part.iter().map(|s| s.to_ne_bytes()).collect();
            let buffer = match channels {
                // With one channel, a plane needs no description.
                1 => buffer(&info, part, at * 441),
                _ => planar_buffer(&info, &bytes, at * 441),
            };
            rig.push(buffer);
        }
        rig.push_eos();
        let expected = reference(&f32_info(44_100, channels), &samples);
        assert_same(&rig.take_samples(&info), &expected);
    }
}

#[test]
fn s16_gives_the_bits_of_the_core_in_both_layouts() {
    let channels = 2;
    let samples: Vec<i16> = signal(16_000, channels, 12_345)
        .iter()
        // The loudest parts saturate.
        .map(|s| (s * 70_000.0) as i16)
        .collect();
    let info_of = |layout| info(S16, 16_000, channels as u32, layout);
    let mut stream = denoiser("base", &options(&info_of(AudioLayout::Interleaved)));
    let mut expected = samples.clone();
    expected.resize(samples.len() + stream.latency() * channels, 0);
    stream.process_i16_in_place(&mut expected).unwrap();
    let expected = &expected[stream.latency() * channels..];

    for layout in [AudioLayout::Interleaved, AudioLayout::NonInterleaved] {
        let info = info_of(layout);
        let mut rig = Rig::with_caps("", &info);
        for (at, part) in samples.chunks(320 * channels).enumerate() {
            let bytes: Vec<[u8; 2]> = part.iter().map(|s| s.to_ne_bytes()).collect();
            rig.push(match layout {
                AudioLayout::Interleaved => s16_buffer(&info, part, at * 320),
                _ => planar_buffer(&info, &bytes, at * 320),
            });
        }
        rig.push_eos();
        let buffers = rig.take_buffers();
        let found = buffers.iter().flat_map(|b| samples_of(b, &info));
        let found: Vec<i16> = found.map(i16::from_ne_bytes).collect();
        assert!(found == expected, "{layout:?}");
    }
}

#[test]
fn linked_channels_share_one_mask() {
    let info = f32_info(48_000, 2);
    let samples = signal(48_000, 2, 24_000);
    let mut rig = Rig::with_caps("channel-mode=linked", &info);
    rig.push_all(&info, &samples, 960, 0);
    rig.push_eos();
    let mut options = options(&info);
    options.channel_mode = ChannelMode::Linked;
    let expected = through(&mut denoiser("base", &options), &samples);
    assert_same(&rig.take_samples(&info), &expected);
    assert_ne!(expected, reference(&info, &samples));
}

/// The template has the range of rates of the core, and other caps are refused.
#[test]
fn caps_are_what_the_core_supports() {
    for (rate_hz, is_supported) in [
        (7_999, false),
        (8_000, true),
        (192_000, true),
        (192_001, false),
    ] {
        let mut options = DenoiserOptions::default();
        options.rate_hz = Some(rate_hz);
        let stream = Denoiser::new(&[Model::embedded("tiny").unwrap()], &options);
        assert_eq!(stream.is_ok(), is_supported, "{rate_hz}");
    }
    let rig = Rig::new("");
    let pad = rig.element.static_pad("sink").unwrap();
    for (caps, is_accepted) in [
        ("format=F32LE,rate=8000,channels=1,layout=interleaved", true),
        (
            "format=S16LE,rate=192000,channels=8,layout=non-interleaved,channel-mask=(bitmask)0",
            true,
        ),
        (
            "format=F32LE,rate=7999,channels=1,layout=interleaved",
            false,
        ),
        (
            "format=F32LE,rate=192001,channels=1,layout=interleaved",
            false,
        ),
        (
            "format=F32LE,rate=48000,channels=9,layout=interleaved,channel-mask=(bitmask)0",
            false,
        ),
        (
            "format=S32LE,rate=48000,channels=1,layout=interleaved",
            false,
        ),
        (
            "format=F32BE,rate=48000,channels=1,layout=interleaved",
            false,
        ),
    ] {
        let caps: gst::Caps = format!("audio/x-raw,{caps}").parse().unwrap();
        assert_eq!(pad.query_accept_caps(&caps), is_accepted, "{caps}");
    }
}

#[test]
fn a_planar_source_finds_that_planes_are_supported() {
    let info = f32_info(48_000, 1);
    let rig = Rig::with_caps("", &info);
    let caps = info.to_caps().unwrap();
    let mut query = gst::query::Allocation::new(Some(&caps), false);
    assert!(rig.element.static_pad("sink").unwrap().query(&mut query));
    assert!(
        query
            .find_allocation_meta::<gst_audio::AudioMeta>()
            .is_some()
    );
}
