//! Late output: the element steps down to the delayed input, reports it, and returns.

use gst::ClockTime;
use gst::prelude::*;

use crate::support::*;

fn late(pts: ClockTime) -> gst::Event {
    gst::event::Qos::builder(gst::QOSType::Underflow, 1.5, 30_000_000)
        .timestamp(pts)
        .build()
}

fn qos_message(rig: &Rig) -> Option<(i64, f64, i32)> {
    let message = rig.message(gst::MessageType::Qos)?;
    let gst::MessageView::Qos(qos) = message.view() else {
        unreachable!("the filter has only QOS messages")
    };
    Some(qos.values())
}

#[test]
fn late_output_steps_down_for_a_while() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 48_000 * 3);
    let mut rig = Rig::with_caps("", &info);
    let mut core = denoiser("base", &options(&info));
    let mut expected = samples.clone();
    for (at, part) in expected.chunks_mut(480).enumerate() {
        if at == 50 {
            rig.harness.push_upstream_event(late(time(&info, 50 * 480)));
            core.set_bypass(true);
        }
        // In time from 560 ms on; then 1 s without another late buffer.
        if at == 156 {
            core.set_bypass(false);
        }
        rig.push(buffer(&info, part, at * 480));
        core.process_in_place(part).unwrap();
        let message = qos_message(&rig);
        match at {
            50 => assert_eq!(message, Some((30_000_000, 1.5, 0))),
            156 => assert_eq!(message, Some((30_000_000, 1.5, 1_000_000))),
            _ => assert_eq!(message, None, "block {at}"),
        }
    }
    rig.push_eos();
    assert_same(&rig.take_samples(&info), &aligned(&mut core, expected));
    assert_eq!(rig.element.property::<u64>("overloads"), 1);
    let stats = rig.element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("bypassed-frames"), Ok(106 * 480));
    // The source needs the report as well.
    let upstream = std::iter::from_fn(|| rig.harness.try_pull_upstream_event());
    assert!(
        upstream
            .into_iter()
            .any(|event| event.type_() == gst::EventType::Qos)
    );
}

#[test]
fn without_qos_late_output_changes_nothing() {
    let info = f32_info(48_000, 1);
    let samples = signal(48_000, 1, 48_000);
    let mut rig = Rig::with_caps("qos=false", &info);
    for (at, part) in samples.chunks(480).enumerate() {
        rig.harness.push_upstream_event(late(time(&info, at * 480)));
        rig.push(buffer(&info, part, at * 480));
    }
    rig.push_eos();
    assert_same(&rig.take_samples(&info), &reference(&info, &samples));
    assert_eq!(qos_message(&rig), None);
    assert_eq!(rig.element.property::<u64>("overloads"), 0);
}
