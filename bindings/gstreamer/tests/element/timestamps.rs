//! Each frame leaves the element with the timestamp with which it came, and the latency is known.

use gst::ClockTime;
use gst::prelude::*;

use crate::support::*;

/// Off, the output is the input: each sample shows its place.
#[test]
fn frames_keep_their_timestamps() {
    for rate_hz in [8_000, 11_025, 44_100, 48_000, 96_000] {
        let info = f32_info(rate_hz, 1);
        let samples = signal(rate_hz, 1, rate_hz as usize);
        let mut rig = Rig::with_caps("enabled=false", &info);
        // The stream does not start at 0.
        let first = 12_345;
        rig.push_all(&info, &samples, 441, first);
        rig.push_eos();
        let buffers = rig.take_buffers();
        let mut frame = 0;
        for buffer in &buffers {
            let frames = buffer.size() / 4;
            assert_eq!(
                buffer.pts(),
                Some(time(&info, first + frame)).map(near(buffer))
            );
            assert_same(
                &f32_samples(std::slice::from_ref(buffer), &info),
                &samples[frame..frame + frames],
            );
            frame += frames;
        }
        assert_eq!(frame, samples.len());
        for pair in buffers.windows(2) {
            let end = pair[0].pts().unwrap() + pair[0].duration().unwrap();
            assert_eq!(Some(end), pair[1].pts(), "buffers follow each other");
        }
        let has_discont = |b: &gst::Buffer| b.flags().contains(gst::BufferFlags::DISCONT);
        assert!(has_discont(&buffers[0]));
        assert!(!buffers[1..].iter().any(has_discont));
    }
}

/// The timestamp of a buffer, if it is the expected one up to the rounding of 1 ns.
fn near(buffer: &gst::Buffer) -> impl Fn(ClockTime) -> ClockTime + '_ {
    |expected| match buffer.pts() {
        Some(pts) if pts.absdiff(expected) <= ClockTime::NSECOND => pts,
        _ => expected,
    }
}

#[test]
fn a_jitter_of_the_timestamps_is_passed_on_without_a_restart() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 48_000);
    let mut rig = Rig::with_caps("", &info);
    // Rounded to ms, with a clock that is 2 % slow and jitters by 3 ms.
    let pts = |block: usize| ClockTime::from_mseconds((block * 9_800 / 1_000 + block % 3) as u64);
    for (block, part) in samples.chunks(480).enumerate() {
        let mut buffer = buffer(&info, part, 0);
        buffer.make_mut().set_pts(pts(block));
        rig.push(buffer);
    }
    rig.push_eos();
    let buffers = rig.take_buffers();
    assert_same(&f32_samples(&buffers, &info), &reference(&info, &samples));
    let mut frame = 0;
    for buffer in &buffers {
        let (block, rest) = (frame / 480, frame % 480);
        let expected = pts(block) + time(&info, rest);
        assert_eq!(buffer.pts(), Some(expected), "frame {frame}");
        frame += buffer.size() / 4;
    }
}

#[test]
fn a_stream_without_timestamps_has_none_at_the_output() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 10_000);
    let mut rig = Rig::with_caps("", &info);
    for part in samples.chunks(480) {
        let mut buffer = buffer(&info, part, 0);
        buffer.make_mut().set_pts(ClockTime::NONE);
        rig.push(buffer);
    }
    rig.push_eos();
    let buffers = rig.take_buffers();
    assert!(buffers.iter().all(|buffer| buffer.pts().is_none()));
    assert_same(&f32_samples(&buffers, &info), &reference(&info, &samples));
}

#[test]
fn the_end_is_output_also_of_a_stream_that_is_shorter_than_the_latency() {
    let info = f32_info(16_000, 2);
    for frames in [1, 10, 160, 417, 418, 419, 1_000] {
        let samples = signal(16_000, 2, frames);
        let mut rig = Rig::with_caps("", &info);
        rig.push_all(&info, &samples, 160, 0);
        rig.push_eos();
        let output = rig.take();
        assert!(
            matches!(output.last(), Some(Output::Event(e)) if e.type_() == gst::EventType::Eos)
        );
        assert_same(
            &f32_samples(&buffers(output), &info),
            &reference(&info, &samples),
        );
    }
}

#[test]
fn the_latency_is_added_to_that_of_upstream() {
    for (rate_hz, channels) in [(8_000, 1), (44_100, 2), (48_000, 1)] {
        let info = f32_info(rate_hz, channels);
        let core = denoiser("base", &options(&info)).latency();
        let own = time(&info, core);
        let ms = ClockTime::from_mseconds;
        for upstream in [
            (true, ms(7), Some(ms(50))),
            (true, ms(7), None),
            (false, ms(0), None),
        ] {
            let mut rig = Rig::new("");
            let source = rig.harness.srcpad().unwrap();
            source.add_probe(gst::PadProbeType::QUERY_UPSTREAM, move |_, probe| {
                if let Some(query) = probe.query_mut()
                    && let gst::QueryViewMut::Latency(latency) = query.view_mut()
                {
                    latency.set(upstream.0, upstream.1, upstream.2);
                    return gst::PadProbeReturn::Handled;
                }
                gst::PadProbeReturn::Ok
            });
            let pad = rig.element.static_pad("src").unwrap();
            let query = || {
                let mut query = gst::query::Latency::new();
                assert!(pad.query(&mut query));
                query.result()
            };
            assert_eq!(query(), upstream);
            assert_eq!(rig.element.property::<u64>("latency"), 0);
            rig.set_caps(&info);
            let after = (
                upstream.0,
                upstream.1 + own,
                upstream.2.map(|max| max + own),
            );
            assert_eq!(query(), after);
            assert_eq!(rig.element.property::<u64>("latency"), own.nseconds());
            assert!(rig.message(gst::MessageType::Latency).is_some());
            rig.push_all(&info, &signal(rate_hz, channels as usize, 9_000), 480, 0);
            rig.push_eos();
            assert_eq!(query(), after);
            assert!(rig.message(gst::MessageType::Latency).is_none());
            rig.element.set_state(gst::State::Paused).unwrap();
            assert_eq!(query(), after);
        }
    }
}
