//! An impulse appears at `latency()`, `flush` returns the tail, and the latency is the documented one.

use crate::signal::{RATES_HZ, chord, error_db, run, stream};

#[test]
fn an_impulse_appears_at_the_latency() {
    for rate_hz in RATES_HZ {
        for place in [0, 1, 479, 480, 1000] {
            let mut stream = stream("unity", rate_hz, 1);
            let mut input = vec![0.0; 3000];
            input[place] = 1.0;
            let output = run(&mut stream, &input, 333);
            let peak =
                (0..output.len()).max_by(|a, b| output[*a].abs().total_cmp(&output[*b].abs()));
            assert_eq!(
                peak,
                Some(place + stream.latency()),
                "{rate_hz} Hz, impulse at {place}"
            );
        }
    }
}

#[test]
fn clips_shorter_than_a_hop_are_complete() {
    for frames in [1, 2, 100, 479, 481] {
        let input: Vec<f32> = chord(48_000, 9000, 24_000)[4000..4000 + frames].to_vec();
        let mut stream = stream("unity", 48_000, 1);
        let output = run(&mut stream, &input, 7);
        assert_eq!(output.len(), frames + stream.latency());
        assert!(
            error_db(&input, &output[stream.latency()..]) < -90.0,
            "{frames} frames"
        );
    }
}

#[test]
fn latency_is_the_documented_one() {
    // The table of the README, ms.
    for (rate_hz, documented_ms) in [
        (8_000, 32.4),
        (11_025, 37.9),
        (12_000, 28.3),
        (16_000, 26.1),
        (22_050, 29.1),
        (24_000, 24.1),
        (32_000, 23.1),
        (44_100, 22.9),
        (48_000, 20.0),
        (96_000, 22.0),
        (192_000, 22.0),
    ] {
        let latency_ms = stream("base", rate_hz, 1).latency() as f64 * 1000.0 / f64::from(rate_hz);
        assert!(
            (latency_ms - documented_ms).abs() < 0.0501,
            "{rate_hz} Hz: {latency_ms:.2} ms"
        );
    }
    for rate_hz in RATES_HZ {
        let latency_ms = stream("base", rate_hz, 1).latency() as f64 * 1000.0 / f64::from(rate_hz);
        println!("{rate_hz} Hz: {latency_ms:.2} ms");
        assert!(latency_ms < 38.0, "{rate_hz} Hz: {latency_ms:.2} ms");
    }
}

#[test]
fn blocks_of_one_hop_complete_one_hop() {
    for (rate_hz, frames) in [(48_000, 480), (44_100, 441), (16_000, 160), (11_025, 110)] {
        let mut stream = stream("unity", rate_hz, 1);
        assert_eq!(stream.hop_frames(), frames, "{rate_hz} Hz");
        let mut block = vec![0.0; frames];
        stream.process_in_place(&mut block).unwrap();
        for _ in 0..200 {
            let before = stream.stats().hops;
            stream.process_in_place(&mut block).unwrap();
            assert!(stream.stats().hops - before <= 1, "{rate_hz} Hz");
        }
    }
}

#[test]
fn long_streams_at_odd_rates_stay_aligned() {
    // 30 s, then an impulse: a FIFO that drifts would run empty or shift the impulse.
    for rate_hz in [8_001, 11_025, 44_099, 47_999] {
        let mut stream = stream("unity", rate_hz, 1);
        let mut block = vec![0.0; 4096];
        for _ in 0..rate_hz as usize * 30 / block.len() {
            block.fill(0.1);
            stream.process_in_place(&mut block).unwrap();
        }
        assert!(block.iter().all(|x| (x - 0.1).abs() < 1e-4), "{rate_hz} Hz");
        block.fill(0.0);
        block[1000] = 1.0;
        stream.process_in_place(&mut block).unwrap();
        let settled = stream.latency() + 300;
        let peak = (settled..block.len()).max_by(|a, b| block[*a].total_cmp(&block[*b]));
        assert_eq!(peak, Some(1000 + stream.latency()), "{rate_hz} Hz");
    }
}
