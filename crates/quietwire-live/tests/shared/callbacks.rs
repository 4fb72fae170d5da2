//! Callbacks of two devices with a worker between them, for the tests that watch what they do.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use quietwire_live::{
    Command, Engine, Settings, StreamFormat, WhileLoading, capture_link, playout_link,
};

const FORMAT: StreamFormat = StreamFormat {
    rate_hz: 48_000,
    channels: 2,
    block_frames: 480,
};

/// Passes the callbacks of three seconds to `watch`, one pair at a time. Without the worker the capture
/// ring becomes full and the playout ring is empty, then the worker runs, then it stops and the playout
/// ring runs dry. Blocks are f32 and i16 by turns.
pub fn run_callbacks(mut watch: impl FnMut(&mut dyn FnMut())) {
    let (mut capture, reader) = capture_link(FORMAT, 0.1);
    let (mut playout, writer) = playout_link(FORMAT, 0.1);
    let captured = reader.counters().clone();
    let played = writer.counters().clone();
    let settings = Arc::new(Settings::new(40.0, WhileLoading::Raw));
    let mut engine = Engine::new(settings, 2);
    engine.apply(Command::Capture(Some(reader)));
    engine.apply(Command::Playout(0, Some(writer)));
    let input = vec![0.25f32; 960];
    let input_i16 = vec![8192i16; 960];
    let (mut output, mut output_i16) = (vec![0.0f32; 960], vec![0i16; 960]);
    let mut has_played = [false; 2];
    for n in 0..300u64 {
        let at = Duration::from_millis(10 * n);
        watch(&mut || {
            if n.is_multiple_of(2) {
                capture.on_block(&input, |s| s, at, Duration::ZERO);
                playout.on_block(&mut output, |s| s, at, Duration::ZERO);
            } else {
                capture.on_block(&input_i16, |s| f32::from(s) / 32768.0, at, Duration::ZERO);
                playout.on_block(
                    &mut output_i16,
                    |s| (s * 32767.0) as i16,
                    at,
                    Duration::ZERO,
                );
            }
        });
        if (100..200).contains(&n) {
            engine.step(&mut || at);
            has_played[0] |= output.iter().any(|s| (s - 0.25).abs() < 1e-3);
            has_played[1] |= output_i16.iter().any(|s| (8160..8220).contains(s));
        }
    }
    assert_eq!(has_played, [true; 2], "the worker's frames were played");
    assert!(captured.missed_frames.load(Relaxed) > 0, "a full ring");
    assert!(played.underruns.load(Relaxed) > 0, "a ring that ran dry");
}
