//! Complete pipelines: a file with seeks, and a source that changes its format.

use std::sync::{Arc, Mutex};

use gst::ClockTime;
use gst::prelude::*;

use crate::support::*;

const WAIT: ClockTime = ClockTime::from_seconds(600);

/// A pipeline whose element `denoise` is watched: the buffers of its pads since the latest flush.
struct Watched {
    pipeline: gst::Pipeline,
    input: Arc<Mutex<Vec<gst::Buffer>>>,
    output: Arc<Mutex<Vec<gst::Buffer>>>,
}

impl Watched {
    fn new(line: &str) -> Self {
        init();
        let pipeline = gst::parse::launch(line)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        let element = pipeline.by_name("denoise").unwrap();
        let watch = |pad: &str| {
            let buffers = Arc::new(Mutex::new(Vec::new()));
            let log = buffers.clone();
            let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_FLUSH;
            element
                .static_pad(pad)
                .unwrap()
                .add_probe(mask, move |_, probe| {
                    match &probe.data {
                        Some(gst::PadProbeData::Buffer(buffer)) => {
                            log.lock().unwrap().push(buffer.clone());
                        }
                        _ => log.lock().unwrap().clear(),
                    }
                    gst::PadProbeReturn::Ok
                });
            buffers
        };
        Self {
            input: watch("sink"),
            output: watch("src"),
            pipeline,
        }
    }

    /// The present format of the element's output.
    fn output_info(&self) -> gst_audio::AudioInfo {
        let element = self.pipeline.by_name("denoise").unwrap();
        let caps = element.static_pad("src").unwrap().current_caps();
        gst_audio::AudioInfo::from_caps(&caps.unwrap()).unwrap()
    }

    fn set_state(&self, state: gst::State) {
        self.pipeline.set_state(state).unwrap();
        self.pipeline.state(WAIT).0.unwrap();
    }

    fn wait_for_eos(&self) {
        let bus = self.pipeline.bus().unwrap();
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus
            .timed_pop_filtered(WAIT, &kinds)
            .expect("the pipeline ends");
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/office-fan.wav");

#[test]
fn a_seek_starts_anew_at_the_frame_that_was_requested() {
    let watched = Watched::new(&format!(
        "filesrc location={SAMPLE} ! wavparse ! audioconvert ! audioresample \
         ! audio/x-raw,format=F32LE,rate=44100,channels=1 \
         ! quietwiredenoise name=denoise ! fakesink sync=false"
    ));
    let info = f32_info(44_100, 1);
    watched.set_state(gst::State::Paused);
    for start_ms in [1_000, 250, 0] {
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        let start = ClockTime::from_mseconds(start_ms);
        watched.pipeline.seek_simple(flags, start).unwrap();
        watched.set_state(gst::State::Playing);
        watched.wait_for_eos();
        let input = std::mem::take(&mut *watched.input.lock().unwrap());
        let output = std::mem::take(&mut *watched.output.lock().unwrap());
        assert_eq!(output[0].pts(), input[0].pts());
        assert_eq!(output[0].pts(), Some(start));
        assert_same(
            &f32_samples(&output, &info),
            &reference(&info, &f32_samples(&input, &info)),
        );
        watched.set_state(gst::State::Paused);
    }
}

/// Without a flush, the audio before the seek is complete.
#[test]
fn a_seek_within_segments_loses_nothing() {
    let watched = Watched::new(&format!(
        "filesrc location={SAMPLE} ! wavparse ! audioconvert ! audio/x-raw,format=F32LE \
         ! quietwiredenoise name=denoise ! fakesink sync=false"
    ));
    watched.set_state(gst::State::Paused);
    let info = watched.output_info();
    let seek = |flags, start_ms: u64, stop_ms: u64| {
        let (start, stop) = (
            ClockTime::from_mseconds(start_ms),
            ClockTime::from_mseconds(stop_ms),
        );
        let set = gst::SeekType::Set;
        watched
            .pipeline
            .seek(1.0, flags, set, start, set, stop)
            .unwrap();
    };
    seek(gst::SeekFlags::FLUSH | gst::SeekFlags::SEGMENT, 0, 400);
    watched.set_state(gst::State::Playing);
    let bus = watched.pipeline.bus().unwrap();
    let done = [gst::MessageType::SegmentDone, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(WAIT, &done).unwrap();
    assert_eq!(
        message.type_(),
        gst::MessageType::SegmentDone,
        "{message:?}"
    );
    let first = watched.input.lock().unwrap().len();
    seek(gst::SeekFlags::empty(), 100, 600);
    watched.wait_for_eos();
    let input = watched.input.lock().unwrap();
    let (before, after) = (
        f32_samples(&input[..first], &info),
        f32_samples(&input[first..], &info),
    );
    let mut expected = reference(&info, &before);
    expected.extend(reference(&info, &after));
    assert_same(
        &f32_samples(&watched.output.lock().unwrap(), &info),
        &expected,
    );
}

/// The filter is before the element, or after it: then the source finds the new format through the element.
#[test]
fn a_source_changes_its_format_in_mid_stream() {
    let filter = "capsfilter name=caps caps=audio/x-raw,format=S16LE,rate=48000,channels=1";
    let element = "quietwiredenoise name=denoise";
    renegotiate(&format!("{filter} ! {element}"));
    renegotiate(&format!("{element} ! {filter}"));
}

fn renegotiate(elements: &str) {
    let watched = Watched::new(&format!(
        "audiotestsrc num-buffers=40 samplesperbuffer=480 wave=pink-noise name=source ! {elements} ! fakesink sync=false"
    ));
    let filter = watched.pipeline.by_name("caps").unwrap();
    let pad = watched
        .pipeline
        .by_name("source")
        .unwrap()
        .static_pad("src")
        .unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 20 {
            let caps: gst::Caps = "audio/x-raw,format=F32LE,rate=16000,channels=2"
                .parse()
                .unwrap();
            filter.set_property("caps", &caps);
        }
        gst::PadProbeReturn::Ok
    });
    watched.set_state(gst::State::Playing);
    watched.wait_for_eos();
    let duration = |buffers: &Mutex<Vec<gst::Buffer>>| {
        let buffers = buffers.lock().unwrap();
        let bytes: usize = buffers.iter().map(|buffer| buffer.size()).sum();
        (bytes, buffers[0].pts())
    };
    assert_eq!(duration(&watched.output), duration(&watched.input));
    let info = watched.output_info();
    assert_eq!((info.rate(), info.channels()), (16_000, 2));
}
