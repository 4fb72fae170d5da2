//! The audio of the benchmarks, and the other noise suppressors.

use std::hint::black_box;

/// `samples/office-fan.wav`, 48 kHz mono 16-bit: its header is 44 bytes.
pub fn clip() -> Vec<f32> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/office-fan.wav");
    let bytes = std::fs::read(path).expect("the sample is part of the repository");
    assert_eq!(&bytes[36..40], b"data", "a plain 44-byte header");
    bytes[44..]
        .chunks_exact(2)
        .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0)
        .collect()
}

/// Cycles through `audio` in blocks of `frames`.
#[derive(Debug)]
pub struct Blocks {
    audio: Vec<f32>,
    frames: usize,
    at: usize,
}

impl Blocks {
    /// Starts at a position that depends on `number`, so that streams differ.
    pub fn new(audio: &[f32], frames: usize, number: usize) -> Self {
        Self {
            audio: audio.to_vec(),
            frames,
            at: (number * 7919) % (audio.len() - frames),
        }
    }

    /// The next block.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend its items"
    )]
    pub fn next(&mut self) -> &[f32] {
        if self.at + self.frames > self.audio.len() {
            self.at = 0;
        }
        self.at += self.frames;
        &self.audio[self.at - self.frames..self.at]
    }
}

/// A stream of nnnoiseless at 48 kHz. Pass it blocks of 480 samples.
pub fn nnnoiseless_stream() -> impl FnMut(&[f32]) {
    let mut state = nnnoiseless::DenoiseState::new();
    let (mut scaled, mut out) = (vec![0.0; 480], vec![0.0; 480]);
    move |block| {
        // nnnoiseless expects samples in the range of 16-bit integers.
        for (to, x) in scaled.iter_mut().zip(block) {
            *to = x * 32768.0;
        }
        black_box(state.process_frame(&mut out, &scaled));
    }
}

/// A stream of sonora's noise suppression at 48 kHz. Pass it blocks of 480 samples.
pub fn sonora_stream() -> impl FnMut(&[f32]) {
    let config = sonora::Config {
        noise_suppression: Some(sonora::config::NoiseSuppression {
            level: sonora::config::NoiseSuppressionLevel::High,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut suppressor = sonora::AudioProcessing::builder()
        .config(config)
        .capture_config(sonora::StreamConfig::new(48_000, 1))
        .build();
    let mut out = vec![0.0; 480];
    move |block| {
        let result = suppressor.process_capture_f32(&[block], &mut [&mut out]);
        result.expect("one channel of 480 samples, as configured");
        black_box(&out);
    }
}
