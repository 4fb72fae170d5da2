//! Flushes, discontinuities, gaps and other caps: nothing is lost, and what follows starts anew.

use gst::ClockTime;
use gst::prelude::*;

use crate::support::*;

/// What left the element, as words: runs of buffers, and events.
fn order(output: &[Output]) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for item in output {
        let word = match item {
            Output::Buffer(_) => "buffers".into(),
            Output::Event(event) => event.type_().name().to_string(),
        };
        if order.last() != Some(&word) || word != "buffers" {
            order.push(word);
        }
    }
    order
}

#[test]
fn a_flush_discards_what_did_not_go_out_and_starts_anew() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 24_000);
    let mut rig = Rig::with_caps("", &info);
    rig.push_all(&info, &samples[..10_000], 480, 0);
    rig.harness.push_event(gst::event::FlushStart::new());
    rig.harness.push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<ClockTime>::new();
    rig.harness.push_event(gst::event::Segment::new(&segment));
    rig.take();
    rig.push_all(&info, &samples, 480, 96_000);
    rig.push_eos();
    let buffers = rig.take_buffers();
    assert_eq!(buffers[0].pts(), Some(time(&info, 96_000)));
    assert!(buffers[0].flags().contains(gst::BufferFlags::DISCONT));
    assert_same(&f32_samples(&buffers, &info), &reference(&info, &samples));
}

/// Two parts of audio with a jump between them. The second starts with `start` in its buffer.
fn jump(second_frame: usize, start: gst::BufferFlags) {
    let info = f32_info(44_100, 2);
    let (first, second) = (signal(44_100, 2, 9_000), signal(44_100, 2, 12_000));
    let mut rig = Rig::with_caps("", &info);
    rig.push_all(&info, &first, 441, 0);
    for (at, part) in second.chunks(441 * 2).enumerate() {
        let mut buffer = buffer(&info, part, second_frame + at * 441);
        if at == 0 {
            buffer.make_mut().set_flags(start);
        }
        rig.push(buffer);
    }
    rig.push_eos();
    let buffers = rig.take_buffers();
    let restarts: Vec<usize> = buffers
        .iter()
        .enumerate()
        .filter(|(_, buffer)| buffer.flags().contains(gst::BufferFlags::DISCONT))
        .map(|(at, _)| at)
        .collect();
    let [0, restart] = restarts[..] else {
        panic!("expected a start and a restart, found {restarts:?}");
    };
    assert_same(
        &f32_samples(&buffers[..restart], &info),
        &reference(&info, &first),
    );
    assert_same(
        &f32_samples(&buffers[restart..], &info),
        &reference(&info, &second),
    );
    assert_eq!(buffers[restart].pts(), Some(time(&info, second_frame)));
    let stats = rig.element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("drains"), Ok(2));
    assert_eq!(stats.get::<u64>("frames"), Ok(21_000));
}

#[test]
fn a_buffer_with_the_flag_discont_starts_anew() {
    jump(9_000, gst::BufferFlags::DISCONT);
}

#[test]
fn timestamps_that_jump_start_anew() {
    jump(9_000 + 4_410, gst::BufferFlags::empty());
    jump(2_000, gst::BufferFlags::empty());
}

#[test]
fn a_buffer_with_the_flag_gap_is_silence() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 24_000);
    let mut silent = samples.clone();
    silent[9_600..14_400].fill(0.0);
    let mut rig = Rig::with_caps("", &info);
    rig.push_all(&info, &samples[..9_600], 480, 0);
    // The content of a gap is undefined.
    let mut gap = buffer(&info, &[f32::NAN; 4_800], 9_600);
    gap.make_mut().set_flags(gst::BufferFlags::GAP);
    rig.push(gap);
    rig.push_all(&info, &samples[14_400..], 480, 14_400);
    rig.push_eos();
    assert_same(&rig.take_samples(&info), &reference(&info, &silent));
}

#[test]
fn a_gap_event_is_silence_of_its_length() {
    for (rate_hz, gap_ms) in [(48_000, 100), (44_100, 1_000), (11_025, 37)] {
        let info = f32_info(rate_hz, 1);
        let end_of_gap = time(&info, 9_600) + ClockTime::from_mseconds(gap_ms);
        let gap_frames = (rate_hz as u64 * gap_ms + 500) as usize / 1_000;
        let second = 9_600 + gap_frames;
        let mut samples = signal(rate_hz, 1, second + 9_600);
        samples[9_600..second].fill(0.0);
        let mut rig = Rig::with_caps("", &info);
        rig.push_all(&info, &samples[..9_600], 480, 0);
        let gap = gst::event::Gap::builder(time(&info, 9_600))
            .duration(ClockTime::from_mseconds(gap_ms))
            .build();
        assert!(rig.harness.push_event(gap));
        for (at, part) in samples[second..].chunks(480).enumerate() {
            let mut buffer = buffer(&info, part, 0);
            buffer
                .make_mut()
                .set_pts(end_of_gap + time(&info, at * 480));
            rig.push(buffer);
        }
        rig.push_eos();
        let output = rig.take();
        assert!(!order(&output).contains(&"gap".into()));
        assert_same(
            &f32_samples(&buffers(output), &info),
            &reference(&info, &samples),
        );
    }
}

#[test]
fn a_long_gap_ends_the_audio_before_it() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 9_600);
    let mut rig = Rig::with_caps("", &info);
    rig.push_all(&info, &samples, 480, 0);
    rig.take();
    let mut core = denoiser("base", &options(&info));
    let latency = core.latency();
    let gap = gst::event::Gap::builder(time(&info, 9_600))
        .duration(ClockTime::from_seconds(5))
        .build();
    assert!(rig.harness.push_event(gap));
    let output = rig.take();
    assert_eq!(order(&output), ["buffers", "gap"]);
    let expected = through(&mut core, &samples);
    assert_same(
        &f32_samples(&buffers(output), &info),
        &expected[9_600 - latency..],
    );
    rig.push_all(&info, &samples, 480, 9_600 + 5 * 48_000);
    rig.push_eos();
    assert_same(&rig.take_samples(&info), &expected);
    // One without a stream before it is passed on as well.
    let mut rig = Rig::with_caps("", &info);
    rig.take();
    assert!(rig.harness.push_event(gst::event::Gap::new(
        ClockTime::ZERO,
        ClockTime::from_mseconds(10)
    )));
    assert_eq!(order(&rig.take()), ["gap"]);
}

#[test]
fn other_caps_in_mid_stream_lose_nothing() {
    use gst_audio::AudioLayout::{Interleaved, NonInterleaved};
    let formats = [
        (48_000, 1, Interleaved),
        (44_100, 1, Interleaved),
        (44_100, 2, Interleaved),
        (44_100, 2, NonInterleaved),
        (8_000, 2, NonInterleaved),
        (48_000, 1, Interleaved),
    ];
    let mut rig = Rig::new("");
    let mut start = ClockTime::ZERO;
    let mut infos = Vec::new();
    for (rate_hz, channels, layout) in formats {
        let info = info(gst_audio::AUDIO_FORMAT_F32, rate_hz, channels, layout);
        let samples = signal(rate_hz, channels as usize, 4_000);
        rig.set_caps(&info);
        for (at, part) in samples.chunks(400 * channels as usize).enumerate() {
            let bytes: Vec<[u8; 4]> = part.iter().map(|s| s.to_ne_bytes()).collect();
            let mut buffer = match layout {
                Interleaved => buffer(&info, part, 0),
                _ => planar_buffer(&info, &bytes, 0),
            };
            buffer.make_mut().set_pts(start + time(&info, at * 400));
            rig.push(buffer);
        }
        infos.push((info.clone(), samples, start));
        start += time(&info, 4_000);
    }
    rig.push_eos();
    // The buffers between two CAPS events.
    let mut parts: Vec<Vec<gst::Buffer>> = Vec::new();
    for item in rig.take() {
        match item {
            Output::Event(event) if event.type_() == gst::EventType::Caps => parts.push(Vec::new()),
            Output::Event(_) => {}
            Output::Buffer(buffer) => parts.last_mut().expect("caps come first").push(buffer),
        }
    }
    assert_eq!(parts.len(), infos.len());
    for (buffers, (info, samples, start)) in parts.iter().zip(&infos) {
        let expected = reference(&f32_info(info.rate(), info.channels()), samples);
        assert_same(&f32_samples(buffers, info), &expected);
        assert_eq!(buffers[0].pts(), Some(*start));
    }
}

#[test]
fn the_same_caps_again_change_nothing() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 12_000);
    let mut rig = Rig::with_caps("", &info);
    rig.push_all(&info, &samples[..4_800], 480, 0);
    let caps = info.to_caps().unwrap();
    assert!(rig.harness.push_event(gst::event::Caps::new(&caps)));
    rig.push_all(&info, &samples[4_800..], 480, 4_800);
    rig.push_eos();
    assert_same(&rig.take_samples(&info), &reference(&info, &samples));
}

#[test]
fn a_new_segment_comes_after_the_audio_of_the_old_one() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 9_600);
    let mut rig = Rig::with_caps("", &info);
    rig.push_all(&info, &samples, 480, 0);
    let mut segment = gst::FormattedSegment::<ClockTime>::new();
    segment.set_start(ClockTime::from_seconds(10));
    assert!(rig.harness.push_event(gst::event::Segment::new(&segment)));
    let output = rig.take();
    let order = order(&output);
    assert_eq!(order[order.len() - 2..], ["buffers", "segment"]);
    assert_same(
        &f32_samples(&buffers(output), &info),
        &reference(&info, &samples),
    );
}

/// A stop and a start: nothing remains of the stream before.
#[test]
fn a_stopped_element_starts_anew() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 9_600);
    let mut rig = Rig::with_caps("", &info);
    rig.push_all(&info, &samples[..5_000], 480, 0);
    rig.element.set_state(gst::State::Null).unwrap();
    assert_eq!(rig.element.property::<u64>("latency"), 0);
    rig.element.set_state(gst::State::Playing).unwrap();
    let mut events = vec![gst::event::StreamStart::new("again")];
    events.push(gst::event::Caps::new(&info.to_caps().unwrap()));
    events.push(gst::event::Segment::new(
        &gst::FormattedSegment::<ClockTime>::new(),
    ));
    for event in events {
        assert!(rig.harness.push_event(event));
    }
    rig.take();
    rig.push_all(&info, &samples, 480, 0);
    rig.push_eos();
    assert_same(&rig.take_samples(&info), &reference(&info, &samples));
    let stats = rig.element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("frames"), Ok(9_600));
}
