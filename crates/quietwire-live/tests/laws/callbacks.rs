//! The callbacks of the devices do nothing that can wait.

use std::time::Duration;

use quietwire_live::{StreamFormat, capture_link, playout_link};

const FORMAT: StreamFormat = StreamFormat {
    rate_hz: 48_000,
    channels: 2,
    block_frames: 480,
};

#[test]
fn callbacks_do_not_allocate_with_full_and_empty_rings_too() {
    let (mut capture, mut reader) = capture_link(FORMAT, 0.1);
    let (mut playout, _writer) = playout_link(FORMAT, 0.1);
    let input = vec![0.25f32; 960];
    let input_i16 = vec![8192i16; 960];
    let (mut output, mut output_i16) = (vec![0.0f32; 960], vec![0i16; 960]);
    let mut read = vec![0.0; 960];
    let counted = quietwire_testing::measure(|| {
        for n in 0..100u64 {
            let at = Duration::from_millis(10 * n);
            capture.on_block(&input, |s| s, at, Duration::ZERO);
            capture.on_block(&input_i16, |s| f32::from(s) / 32768.0, at, Duration::ZERO);
            playout.on_block(&mut output, |s| s, at, Duration::ZERO);
            playout.on_block(
                &mut output_i16,
                |s| (s * 32767.0) as i16,
                at,
                Duration::ZERO,
            );
            if n > 50 {
                assert!(reader.read(&mut read));
            }
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(read.iter().all(|s| *s == 0.25));
}
