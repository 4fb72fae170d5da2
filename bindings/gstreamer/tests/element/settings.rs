//! Properties, in all states and from a control source.

use gst::prelude::*;
use gst_controller::prelude::*;
use quietwire::{Denoiser, Model, Strength};

use crate::support::*;

const BLOCK: usize = 480;

/// The element and the core, with the same changes before the same block, in a stream of 100 blocks.
fn assert_changes_are_those_of_the_core(
    changes: &[(usize, &str, &str)],
    mut change_core: impl FnMut(usize, &mut Denoiser),
) {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 100 * BLOCK);
    let mut rig = Rig::with_caps("", &info);
    let models: Vec<_> = Model::embedded_ids()
        .map(|id| Model::embedded(id).unwrap())
        .collect();
    let mut core = Denoiser::new(&models, &options(&info)).unwrap();
    let mut expected = samples.clone();
    for (at, part) in expected.chunks_mut(BLOCK).enumerate() {
        for (_, name, value) in changes.iter().filter(|change| change.0 == at) {
            rig.element.set_property_from_str(name, value);
        }
        change_core(at, &mut core);
        rig.push(buffer(&info, part, at * BLOCK));
        core.process_in_place(part).unwrap();
    }
    rig.push_eos();
    let expected = aligned(&mut core, expected);
    assert_same(&rig.take_samples(&info), &expected);
    assert_ne!(
        expected,
        reference(&info, &samples),
        "the changes have an effect"
    );
}

#[test]
fn the_level_changes_while_the_element_plays() {
    assert_changes_are_those_of_the_core(
        &[
            (20, "level", "low"),
            (50, "attenuation-db", "7.5"),
            (70, "level", "unlimited"),
        ],
        |at, core| match at {
            20 => core.set_attenuation(Strength::Low).unwrap(),
            50 => core.set_attenuation(7.5).unwrap(),
            70 => core.set_attenuation(f32::INFINITY).unwrap(),
            _ => {}
        },
    );
}

#[test]
fn the_element_is_switched_off_and_on_while_it_plays() {
    assert_changes_are_those_of_the_core(
        &[(20, "enabled", "false"), (50, "enabled", "true")],
        |at, core| match at {
            20 => core.set_bypass(true),
            50 => core.set_bypass(false),
            _ => {}
        },
    );
}

#[test]
fn the_model_changes_while_the_element_plays() {
    assert_changes_are_those_of_the_core(
        &[(20, "model", "tiny"), (60, "model", "base")],
        |at, core| match at {
            20 => core.set_model(1).unwrap(),
            60 => core.set_model(0).unwrap(),
            _ => {}
        },
    );
}

#[test]
fn properties_before_the_start_are_those_of_the_core() {
    let info = f32_info(16_000, 1);
    let samples = signal(16_000, 1, 16_000);
    for (properties, model, attenuation_db) in [
        ("model=tiny", "tiny", 40.0),
        ("model=tiny level=medium", "tiny", 20.0),
        ("level=low attenuation-db=3", "base", 3.0),
        ("attenuation-db=3 level=high", "base", 40.0),
        ("level=unlimited", "base", f32::INFINITY),
    ] {
        let mut rig = Rig::with_caps(properties, &info);
        rig.push_all(&info, &samples, 160, 0);
        rig.push_eos();
        let mut options = options(&info);
        options.attenuation = attenuation_db.into();
        let expected = through(&mut denoiser(model, &options), &samples);
        assert_same(&rig.take_samples(&info), &expected);
    }
}

/// A model in a folder: another one restarts the stream, and no frame is lost.
#[test]
fn a_model_in_a_folder_is_loaded_and_another_one_restarts_the_stream() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 20_000);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/tiny");
    let mut rig = Rig::with_caps(&format!("model={folder}"), &info);
    rig.push_all(&info, &samples[..9_600], 480, 0);
    rig.element.set_property("model", "base");
    assert_eq!(rig.element.property::<String>("model"), "base");
    rig.push_all(&info, &samples[9_600..], 480, 9_600);
    rig.push_eos();
    let mut expected = through(&mut denoiser("tiny", &options(&info)), &samples[..9_600]);
    expected.extend(reference(&info, &samples[9_600..]));
    assert_same(&rig.take_samples(&info), &expected);
}

#[test]
fn the_channel_mode_changes_while_the_element_plays() {
    let info = f32_info(48_000, 2);
    let samples = signal(48_000, 2, 20_000);
    let (first, second) = samples.split_at(9_600 * 2);
    let mut rig = Rig::with_caps("", &info);
    rig.push_all(&info, first, 480, 0);
    rig.element.set_property_from_str("channel-mode", "linked");
    rig.push_all(&info, second, 480, 9_600);
    rig.push_eos();
    let mut expected = reference(&info, first);
    let mut options = options(&info);
    options.channel_mode = quietwire::ChannelMode::Linked;
    expected.extend(through(&mut denoiser("base", &options), second));
    assert_same(&rig.take_samples(&info), &expected);
}

#[test]
fn level_and_attenuation_show_each_other() {
    init();
    let element = gst::ElementFactory::make("quietwiredenoise")
        .build()
        .unwrap();
    let level = || {
        let value = element.property_value("level");
        glib_nick(&value)
    };
    let db = || element.property::<f32>("attenuation-db");
    assert_eq!((level().as_str(), db()), ("high", 40.0));
    for (name, value, shown) in [
        ("level", "low", ("low", 12.0)),
        ("attenuation-db", "20", ("medium", 20.0)),
        ("attenuation-db", "33", ("custom", 33.0)),
        ("level", "custom", ("custom", 33.0)),
        ("level", "high", ("high", 40.0)),
        ("level", "unlimited", ("unlimited", f32::INFINITY)),
        ("attenuation-db", "0", ("custom", 0.0)),
    ] {
        element.set_property_from_str(name, value);
        assert_eq!((level().as_str(), db()), shown, "{name}={value}");
    }
    // Every notification of one comes with the other.
    let (sender, receiver) = std::sync::mpsc::channel();
    element.connect_notify(None, move |_, spec| {
        sender.send(spec.name().to_string()).unwrap()
    });
    element.set_property_from_str("level", "low");
    let mut names: Vec<String> = receiver.try_iter().collect();
    names.sort();
    assert_eq!(names, ["attenuation-db", "level"]);
}

fn glib_nick(value: &gst::glib::Value) -> String {
    let (_, value) = gst::glib::EnumValue::from_value(value).unwrap();
    value.nick().to_string()
}

#[test]
fn properties_follow_a_control_source() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 100 * BLOCK);
    let mut rig = Rig::with_caps("", &info);
    let source = gst_controller::InterpolationControlSource::new();
    source.set_mode(gst_controller::InterpolationMode::None);
    let binding =
        gst_controller::DirectControlBinding::new_absolute(&rig.element, "attenuation-db", &source);
    rig.element.add_control_binding(&binding).unwrap();
    source.set(gst::ClockTime::ZERO, 40.0);
    source.set(gst::ClockTime::from_mseconds(500), 6.0);
    let mut core = denoiser("base", &options(&info));
    let mut expected = samples.clone();
    for (at, part) in expected.chunks_mut(BLOCK).enumerate() {
        if at == 50 {
            core.set_attenuation(6.0).unwrap();
        }
        rig.push(buffer(&info, part, at * BLOCK));
        core.process_in_place(part).unwrap();
    }
    rig.push_eos();
    assert_same(&rig.take_samples(&info), &aligned(&mut core, expected));
    for name in ["level", "attenuation-db", "enabled"] {
        let flags = rig.element.find_property(name).unwrap().flags();
        assert!(flags.contains(gst::PARAM_FLAG_CONTROLLABLE), "{name}");
    }
}

#[test]
fn meters_show_the_latest_hop() {
    let info = f32_info(48_000, 1);
    let mut rig = Rig::with_caps("", &info);
    let meters = |rig: &Rig| {
        let element = &rig.element;
        (
            element.property::<f32>("speech"),
            element.property::<f32>("snr-db"),
        )
    };
    assert_eq!(meters(&rig), (-1.0, -30.0));
    let samples = signal(48_000, 1, 480 * 30);
    rig.push_all(&info, &samples, 480, 0);
    let mut core = denoiser("base", &options(&info));
    core.process_in_place(&mut samples.clone()).unwrap();
    let telemetry = core.telemetry();
    let speech = telemetry.speech_probability.unwrap_or(-1.0);
    assert_eq!(meters(&rig), (speech, telemetry.snr_db));
    let stats = rig.element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("frames"), Ok(480 * 30));
    assert_eq!(stats.get::<u64>("hops"), Ok(core.stats().hops));
    assert_eq!(stats.get::<u64>("failed-hops"), Ok(0));
    rig.push(buffer(&info, &[f32::NAN, 100.0, 0.5], 480 * 30));
    let stats = rig.element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("repaired-samples"), Ok(2));
}
