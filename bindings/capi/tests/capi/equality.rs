//! The output of C is the output of Rust, bit by bit, in every layout.

use quietwire::{ChannelMode, Denoiser, DenoiserOptions, Model, Strength};
use quietwire_capi::{
    QUIETWIRE_LOW_DB, QuietwireChannelMode, QuietwireOptions, quietwire_flush,
    quietwire_hop_frames, quietwire_latency, quietwire_process_f32, quietwire_process_i16,
    quietwire_process_planar_f32, quietwire_process_planar_i16, quietwire_reset,
    quietwire_set_attenuation_db, quietwire_set_bypass,
};
use quietwire_testing::signal::voice;

use crate::handle::{Handle, OK, options};

/// Options of C and of Rust.
fn pair(rate_hz: u32, channels: u32) -> (QuietwireOptions, DenoiserOptions) {
    let mut c = options();
    c.rate_hz = rate_hz;
    c.channels = channels;
    c.channel_mode = QuietwireChannelMode::QUIETWIRE_CHANNELS_LINKED as u32;
    let mut rust = DenoiserOptions::default();
    rust.rate_hz = Some(rate_hz);
    rust.channels = channels as usize;
    rust.channel_mode = ChannelMode::Linked;
    (c, rust)
}

fn denoiser(options: &DenoiserOptions) -> Denoiser {
    Denoiser::new(&[Model::embedded("base").unwrap()], options).unwrap()
}

/// Blocks of these frames, in turn.
const BLOCKS: [usize; 7] = [480, 1, 0, 317, 2048, 64, 441];

/// Runs `process` with the first frame and the frames of each block of a signal.
fn blocks(frames: usize, mut process: impl FnMut(usize, usize)) {
    let mut at = 0;
    for block in BLOCKS.iter().cycle() {
        let block = (*block).min(frames - at);
        process(at, block);
        at += block;
        if at == frames {
            return;
        }
    }
}

fn to_i16(samples: &[f32]) -> Vec<i16> {
    samples.iter().map(|x| (x * 32768.0) as i16).collect()
}

fn deinterleave<S: Copy>(samples: &[S], channels: usize) -> Vec<Vec<S>> {
    let channel = |channel| {
        samples
            .iter()
            .skip(channel)
            .step_by(channels)
            .copied()
            .collect()
    };
    (0..channels).map(channel).collect()
}

#[test]
fn every_layout_equals_the_core() {
    for (rate_hz, channels) in [(48_000, 1), (44_100, 2), (16_000, 3), (8_000, 1)] {
        let (c, rust) = pair(rate_hz, channels);
        let channels = channels as usize;
        let input = voice(rate_hz, channels, 0.4, 5);
        let frames = input.len() / channels;
        let mut expected = input.clone();
        let mut stream = denoiser(&rust);
        stream.process_in_place(&mut expected).unwrap();
        let mut expected_tail = vec![0.0; stream.latency() * channels];
        stream.flush(&mut expected_tail).unwrap();

        let handle = Handle::new(&c);
        // SAFETY: a live handle.
        let (latency, hop) =
            unsafe { (quietwire_latency(handle.0), quietwire_hop_frames(handle.0)) };
        assert_eq!((latency, hop), (stream.latency(), stream.hop_frames()));

        let mut output = vec![0.0; input.len()];
        blocks(frames, |at, block| {
            let (from, to) = (&input[at * channels..], &mut output[at * channels..]);
            // SAFETY: both have `block` frames.
            let code =
                unsafe { quietwire_process_f32(handle.0, from.as_ptr(), to.as_mut_ptr(), block) };
            assert_eq!(code, OK);
        });
        assert!(output == expected, "{rate_hz} Hz, {channels} channels, f32");
        let mut tail = vec![1.0; latency * channels];
        // SAFETY: the tail has `latency` frames.
        let code = unsafe { quietwire_flush(handle.0, tail.as_mut_ptr(), latency) };
        assert_eq!(code, OK);
        assert!(tail == expected_tail);
        assert_eq!(handle.stats().hops, stream.stats().hops);

        // In place, planar, after a reset.
        // SAFETY: a live handle.
        assert_eq!(unsafe { quietwire_reset(handle.0) }, OK);
        assert_eq!(handle.stats().hops, 0);
        let mut planes = deinterleave(&input, channels);
        blocks(frames, |at, block| {
            let pointers: Vec<*mut f32> = planes
                .iter_mut()
                .map(|plane| plane[at..].as_mut_ptr())
                .collect();
            let outputs = pointers.as_ptr();
            // SAFETY: `channels` pointers to `block` frames.
            let code =
                unsafe { quietwire_process_planar_f32(handle.0, outputs.cast(), outputs, block) };
            assert_eq!(code, OK);
        });
        assert!(planes == deinterleave(&expected, channels), "planar f32");
    }
}

#[test]
fn every_layout_of_16_bits_equals_the_core() {
    for (rate_hz, channels) in [(48_000, 2), (22_050, 1)] {
        let (c, rust) = pair(rate_hz, channels);
        let channels = channels as usize;
        // Loud enough to saturate.
        let loud: Vec<f32> = voice(rate_hz, channels, 0.4, 5)
            .iter()
            .map(|x| x * 4.0)
            .collect();
        let input = to_i16(&loud);
        let frames = input.len() / channels;
        let mut expected = input.clone();
        denoiser(&rust).process_i16_in_place(&mut expected).unwrap();

        let handle = Handle::new(&c);
        let mut output = vec![0i16; input.len()];
        blocks(frames, |at, block| {
            let (from, to) = (&input[at * channels..], &mut output[at * channels..]);
            // SAFETY: both have `block` frames.
            let code =
                unsafe { quietwire_process_i16(handle.0, from.as_ptr(), to.as_mut_ptr(), block) };
            assert_eq!(code, OK);
        });
        assert!(output == expected, "interleaved");

        // SAFETY: a live handle.
        assert_eq!(unsafe { quietwire_reset(handle.0) }, OK);
        let inputs = deinterleave(&input, channels);
        let mut outputs = vec![vec![0i16; frames]; channels];
        blocks(frames, |at, block| {
            let from: Vec<*const i16> = inputs.iter().map(|plane| plane[at..].as_ptr()).collect();
            let to: Vec<*mut i16> = outputs
                .iter_mut()
                .map(|plane| plane[at..].as_mut_ptr())
                .collect();
            // SAFETY: `channels` pointers to `block` frames each.
            let code = unsafe {
                quietwire_process_planar_i16(handle.0, from.as_ptr(), to.as_ptr(), block)
            };
            assert_eq!(code, OK);
        });
        assert!(outputs == deinterleave(&expected, channels), "planar");
    }
}

#[test]
fn settings_between_blocks_equal_those_of_the_core() {
    let (mut c, mut rust) = pair(48_000, 1);
    (c.hop_aligned, rust.hop_aligned) = (1, true);
    let handle = Handle::new(&c);
    let mut stream = denoiser(&rust);
    let input = voice(48_000, 1, 1.0, 2);
    for (n, block) in input.chunks_exact(480).enumerate() {
        // SAFETY: a live handle.
        unsafe {
            match n {
                20 => {
                    stream.set_attenuation(Strength::Low).unwrap();
                    assert_eq!(quietwire_set_attenuation_db(handle.0, QUIETWIRE_LOW_DB), OK);
                }
                40 => {
                    stream.set_bypass(true);
                    assert_eq!(quietwire_set_bypass(handle.0, true), OK);
                }
                50 => {
                    // The order in which the audio thread applies both.
                    stream.set_attenuation(f32::INFINITY).unwrap();
                    stream.set_bypass(false);
                    assert_eq!(quietwire_set_bypass(handle.0, false), OK);
                    assert_eq!(quietwire_set_attenuation_db(handle.0, f32::INFINITY), OK);
                }
                _ => {}
            }
        }
        let mut expected = block.to_vec();
        stream.process_in_place(&mut expected).unwrap();
        let mut output = block.to_vec();
        // SAFETY: 480 frames in place.
        let code =
            unsafe { quietwire_process_f32(handle.0, output.as_ptr(), output.as_mut_ptr(), 480) };
        assert_eq!(code, OK);
        assert!(output == expected, "block {n}");
        let (c, rust) = (handle.telemetry(), stream.telemetry());
        assert_eq!(c.hop, rust.hop);
        assert_eq!(c.snr_db.to_bits(), rust.snr_db.to_bits());
        assert_eq!(c.gain_db.to_bits(), rust.gain_db.to_bits());
        assert_eq!(c.input_dbfs.to_bits(), rust.input_dbfs.to_bits());
        assert_eq!(c.output_dbfs.to_bits(), rust.output_dbfs.to_bits());
        let speech = rust.speech_probability.unwrap_or(f32::NAN);
        assert_eq!(c.speech_probability.to_bits(), speech.to_bits());
        let active = if stream.active_model().is_some() {
            0
        } else {
            -1
        };
        assert_eq!(c.active_model, active);
    }
    assert_eq!(handle.stats().repaired_samples, 0);
}
