//! Bad values and bad buffers: messages that name what was expected and who can change it.

use gst::prelude::*;

use crate::support::*;

fn error_text(message: &gst::Message) -> String {
    match message.view() {
        gst::MessageView::Error(error) => error.error().to_string(),
        gst::MessageView::Warning(warning) => warning.error().to_string(),
        _ => panic!("expected an error or a warning, found {message:?}"),
    }
}

#[test]
fn a_model_that_does_not_exist_prevents_the_start() {
    init();
    let element = gst::ElementFactory::make("quietwiredenoise")
        .property("model", "huge")
        .build()
        .unwrap();
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Ready).is_err());
    let text = error_text(&bus.pop_filtered(&[gst::MessageType::Error]).unwrap());
    for part in ["`huge`", "base, tiny", "Set the property `model`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The application can correct it.
    element.set_property("model", "tiny");
    element.set_state(gst::State::Ready).unwrap();
    element.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_folder_without_a_model_prevents_the_start() {
    init();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let element = gst::ElementFactory::make("quietwiredenoise")
        .property("model", folder)
        .build()
        .unwrap();
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Ready).is_err());
    let text = error_text(&bus.pop_filtered(&[gst::MessageType::Error]).unwrap());
    assert!(
        text.contains("model.toml") && text.contains("No such file"),
        "{text}"
    );
}

/// A model that cannot be loaded while the element plays: a warning, and the stream continues as it was.
#[test]
fn a_bad_model_changes_nothing() {
    let info = f32_info(48_000, 2);
    let samples = signal(48_000, 2, 20_000);
    let mut rig = Rig::with_caps("", &info);
    rig.push_all(&info, &samples[..9_600], 480, 0);
    rig.element.set_property("model", "huge");
    let text = error_text(&rig.message(gst::MessageType::Warning).unwrap());
    assert!(text.contains("`huge`"), "{text}");
    assert_eq!(rig.element.property::<String>("model"), "base");
    rig.push_all(&info, &samples[9_600..], 480, 4_800);
    rig.push_eos();
    assert_same(&rig.take_samples(&info), &reference(&info, &samples));
    assert!(rig.message(gst::MessageType::Error).is_none());
}

#[test]
fn a_buffer_that_does_not_fit_the_caps_is_an_error_and_not_a_crash() {
    let interleaved = f32_info(48_000, 2);
    let planar = info(
        gst_audio::AUDIO_FORMAT_F32,
        48_000,
        2,
        gst_audio::AudioLayout::NonInterleaved,
    );
    let mut short = planar_buffer(&planar, &[[0u8; 4]; 960], 0);
    short.make_mut().set_size(100);
    let bad = [
        (
            &interleaved,
            gst::Buffer::from_slice([0u8; 9]),
            "whole frames of 8 bytes, found 9 bytes",
        ),
        (&planar, gst::Buffer::from_slice([0u8; 16]), "GstAudioMeta"),
        (&planar, short, "planes of 480 frames"),
    ];
    for (info, buffer, part) in bad {
        let mut rig = Rig::with_caps("", info);
        assert_eq!(rig.harness.push(buffer), Err(gst::FlowError::Error));
        let text = error_text(&rig.message(gst::MessageType::Error).unwrap());
        assert!(
            text.contains(part) && text.contains("upstream"),
            "{part}: {text}"
        );
    }
}

#[test]
fn an_empty_buffer_is_no_audio() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 9_600);
    let mut rig = Rig::with_caps("", &info);
    for (at, part) in samples.chunks(480).enumerate() {
        rig.push(gst::Buffer::new());
        rig.push(buffer(&info, part, at * 480));
    }
    rig.push_eos();
    assert_same(&rig.take_samples(&info), &reference(&info, &samples));
}

#[test]
fn a_buffer_before_any_caps_is_an_error() {
    let rig = Rig::new("");
    let pad = rig.element.static_pad("sink").unwrap();
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    pad.send_event(gst::event::StreamStart::new("test"));
    pad.send_event(gst::event::Segment::new(&segment));
    assert_eq!(
        pad.chain(gst::Buffer::from_slice([0u8; 8])),
        Err(gst::FlowError::NotNegotiated)
    );
    let text = error_text(&rig.message(gst::MessageType::Error).unwrap());
    assert!(text.contains("CAPS event"), "{text}");
}
