//! An element in a harness, test signals, and the core's output for them.

use std::sync::{Arc, Mutex, Once};

use gst::prelude::*;
use gst_audio::{AudioFormat, AudioInfo, AudioLayout, AudioMeta};
use gst_check::Harness;
use quietwire::{Denoiser, DenoiserOptions, Model};

pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstquietwire::plugin_register_static().unwrap();
    });
}

/// A format of F32 samples, interleaved.
pub fn f32_info(rate_hz: u32, channels: u32) -> AudioInfo {
    info(
        gst_audio::AUDIO_FORMAT_F32,
        rate_hz,
        channels,
        AudioLayout::Interleaved,
    )
}

pub fn info(format: AudioFormat, rate_hz: u32, channels: u32, layout: AudioLayout) -> AudioInfo {
    init();
    // From 3 channels on, caps need positions or none at all.
    let none = vec![gst_audio::AudioChannelPosition::None; channels as usize];
    AudioInfo::builder(format, rate_hz, channels)
        .layout(layout)
        .positions_if(&none, channels > 2)
        .build()
        .unwrap()
}

/// A tone that starts and stops, in noise: `[frames][channels]`, at most 0.6, different in each channel.
pub fn signal(rate_hz: u32, channels: usize, frames: usize) -> Vec<f32> {
    let mut random = 1u32;
    let mut samples = Vec::with_capacity(frames * channels);
    for frame in 0..frames {
        let time = frame as f32 / rate_hz as f32;
        let is_on = (time * 4.0) as u32 % 2 == 1;
        for channel in 0..channels {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (random >> 8) as f32 / (1 << 24) as f32 - 0.5;
            let phase = time * (200.0 + 130.0 * channel as f32) * std::f32::consts::TAU;
            samples.push(0.2 * noise + if is_on { 0.5 * phase.sin() } else { 0.0 });
        }
    }
    samples
}

pub fn options(info: &AudioInfo) -> DenoiserOptions {
    let mut options = DenoiserOptions::default();
    options.rate_hz = Some(info.rate());
    options.channels = info.channels() as usize;
    options
}

pub fn denoiser(model: &str, options: &DenoiserOptions) -> Denoiser {
    Denoiser::new(&[Model::embedded(model).unwrap()], options).unwrap()
}

/// All of a signal through a stream of the core: as many frames, aligned with the input.
pub fn through(stream: &mut Denoiser, samples: &[f32]) -> Vec<f32> {
    let mut output = samples.to_vec();
    stream.process_in_place(&mut output).unwrap();
    aligned(stream, output)
}

/// Drops the frames before the signal, and appends its end.
pub fn aligned(stream: &mut Denoiser, mut output: Vec<f32>) -> Vec<f32> {
    let mut tail = vec![0.0; stream.latency() * stream.channels()];
    stream.flush(&mut tail).unwrap();
    let latency = tail.len();
    output.append(&mut tail);
    output.split_off(latency)
}

/// The core's output with default settings.
pub fn reference(info: &AudioInfo, samples: &[f32]) -> Vec<f32> {
    through(&mut denoiser("base", &options(info)), samples)
}

/// The timestamp of a frame.
pub fn time(info: &AudioInfo, frame: usize) -> gst::ClockTime {
    gst::ClockTime::from_nseconds((frame as u128 * 1_000_000_000 / u128::from(info.rate())) as u64)
}

/// A buffer of F32 samples, interleaved. The first has the number `frame` in its stream.
pub fn buffer(info: &AudioInfo, samples: &[f32], frame: usize) -> gst::Buffer {
    let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_ne_bytes()).collect();
    at(gst::Buffer::from_slice(bytes), info, frame)
}

pub fn s16_buffer(info: &AudioInfo, samples: &[i16], frame: usize) -> gst::Buffer {
    let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_ne_bytes()).collect();
    at(gst::Buffer::from_slice(bytes), info, frame)
}

/// A planar buffer from interleaved bytes of samples of `N` bytes. The planes are in reverse order, with
/// space between them.
pub fn planar_buffer<const N: usize>(
    info: &AudioInfo,
    samples: &[[u8; N]],
    frame: usize,
) -> gst::Buffer {
    let channels = info.channels() as usize;
    let frames = samples.len() / channels;
    let mut bytes = vec![0xff; 4];
    let mut offsets = vec![0; channels];
    for channel in (0..channels).rev() {
        offsets[channel] = bytes.len();
        let plane = samples.iter().skip(channel).step_by(channels);
        bytes.extend(plane.flatten());
        bytes.extend([0xff; 8]);
    }
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    AudioMeta::add(buffer.make_mut(), info, frames, &offsets).unwrap();
    at(buffer, info, frame)
}

fn at(mut buffer: gst::Buffer, info: &AudioInfo, frame: usize) -> gst::Buffer {
    buffer.make_mut().set_pts(time(info, frame));
    buffer
}

/// The samples of a buffer, interleaved, as bytes of `N`.
pub fn samples_of<const N: usize>(buffer: &gst::BufferRef, info: &AudioInfo) -> Vec<[u8; N]> {
    let map = buffer.map_readable().unwrap();
    let all: Vec<[u8; N]> = map.chunks_exact(N).map(|c| c.try_into().unwrap()).collect();
    if info.layout() == AudioLayout::Interleaved {
        return all;
    }
    let meta = buffer
        .meta::<AudioMeta>()
        .expect("planar buffers have a GstAudioMeta");
    assert_eq!(meta.offsets().len(), info.channels() as usize);
    let places = meta.offsets().iter().map(|offset| offset / N);
    let places: Vec<usize> = places.collect();
    (0..meta.samples())
        .flat_map(|frame| places.iter().map(move |place| place + frame))
        .map(|at| all[at])
        .collect()
}

/// Something that left the source pad.
#[derive(Debug)]
pub enum Output {
    Buffer(gst::Buffer),
    Event(gst::Event),
}

/// An element in a harness, which records the order of what leaves the source pad.
pub struct Rig {
    pub harness: Harness,
    pub element: gst::Element,
    pub bus: gst::Bus,
    output: Arc<Mutex<Vec<Output>>>,
}

impl Rig {
    /// An element in the state PLAYING with the properties of a line of gst-launch-1.0.
    pub fn new(properties: &str) -> Self {
        init();
        let mut harness = Harness::new_parse(&format!("quietwiredenoise {properties}"));
        let bin = harness.element().unwrap().downcast::<gst::Bin>().unwrap();
        let element = bin.iterate_elements().into_iter().flatten().next().unwrap();
        let bus = gst::Bus::new();
        bin.set_bus(Some(&bus));
        element.set_bus(Some(&bus));
        let output = Arc::new(Mutex::new(Vec::new()));
        let log = output.clone();
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        let pad = element.static_pad("src").unwrap();
        pad.add_probe(mask, move |_, probe| {
            let item = match &probe.data {
                Some(gst::PadProbeData::Buffer(buffer)) => Output::Buffer(buffer.clone()),
                Some(gst::PadProbeData::Event(event)) => Output::Event(event.clone()),
                _ => unreachable!("the mask has buffers and events"),
            };
            log.lock().unwrap().push(item);
            gst::PadProbeReturn::Ok
        });
        harness.set_drop_buffers(true);
        harness.play();
        Self {
            harness,
            element,
            bus,
            output,
        }
    }

    pub fn with_caps(properties: &str, info: &AudioInfo) -> Self {
        let mut rig = Self::new(properties);
        rig.set_caps(info);
        rig
    }

    pub fn set_caps(&mut self, info: &AudioInfo) {
        self.harness.set_src_caps(info.to_caps().unwrap());
    }

    pub fn push(&mut self, buffer: gst::Buffer) {
        self.harness.push(buffer).unwrap();
    }

    /// Pushes F32 samples in blocks, as frames from `frame` on.
    pub fn push_all(&mut self, info: &AudioInfo, samples: &[f32], block: usize, frame: usize) {
        let channels = info.channels() as usize;
        for (at, samples) in samples.chunks(block * channels).enumerate() {
            self.push(buffer(info, samples, frame + at * block));
        }
    }

    pub fn push_eos(&mut self) {
        assert!(self.harness.push_event(gst::event::Eos::new()));
    }

    /// What left the element since the last call.
    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.output.lock().unwrap())
    }

    pub fn take_buffers(&mut self) -> Vec<gst::Buffer> {
        buffers(self.take())
    }

    /// The F32 samples that left the element since the last call, interleaved.
    pub fn take_samples(&mut self, info: &AudioInfo) -> Vec<f32> {
        f32_samples(&self.take_buffers(), info)
    }

    /// The next message of a type, without a wait.
    pub fn message(&self, kind: gst::MessageType) -> Option<gst::Message> {
        self.bus.pop_filtered(&[kind])
    }
}

pub fn buffers(output: Vec<Output>) -> Vec<gst::Buffer> {
    let buffers = output.into_iter().filter_map(|item| match item {
        Output::Buffer(buffer) => Some(buffer),
        Output::Event(_) => None,
    });
    buffers.collect()
}

pub fn f32_samples(buffers: &[gst::Buffer], info: &AudioInfo) -> Vec<f32> {
    let samples = buffers.iter().flat_map(|buffer| samples_of(buffer, info));
    samples.map(f32::from_ne_bytes).collect()
}

/// Compares samples bit by bit.
#[track_caller]
pub fn assert_same(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "number of samples");
    let pairs = found.iter().zip(expected);
    let different = pairs.clone().position(|(a, b)| a.to_bits() != b.to_bits());
    if let Some(at) = different {
        panic!(
            "sample {at}: expected {}, found {}",
            expected[at], found[at]
        );
    }
}
