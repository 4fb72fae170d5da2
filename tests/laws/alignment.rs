//! An impulse lands at `latency()`; the tail comes with `flush`; latency has a stated bound.

use crate::signal::{RATES_HZ, chord, error_db, run, stream};

#[test]
fn an_impulse_lands_at_the_latency() {
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
fn clips_shorter_than_a_hop_come_out_whole() {
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
fn latency_is_what_the_documents_say() {
    // README: 20 ms at 48 kHz, 22.9 ms at 44.1 kHz, 26.1 ms at 16 kHz; at most 38 ms at any usual
    // rate.
    for (rate_hz, latency) in [(48_000, 960), (44_100, 1011), (16_000, 418)] {
        assert_eq!(
            stream("base", rate_hz, 1).latency(),
            latency,
            "{rate_hz} Hz"
        );
    }
    for rate_hz in RATES_HZ {
        let latency_ms = stream("base", rate_hz, 1).latency() as f64 * 1000.0 / f64::from(rate_hz);
        println!("{rate_hz} Hz: {latency_ms:.2} ms");
        assert!(latency_ms < 38.0, "{rate_hz} Hz: {latency_ms:.2} ms");
    }
}

#[test]
fn blocks_of_a_hop_make_one_hop_each() {
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
    // Half a minute: a queue that drifted would run dry or overflow, which asserts.
    for rate_hz in [8_001, 11_025, 44_099, 47_999] {
        let mut stream = stream("unity", rate_hz, 1);
        let mut block = vec![0.1; 4096];
        for _ in 0..rate_hz as usize * 30 / block.len() {
            block.fill(0.1);
            stream.process_in_place(&mut block).unwrap();
        }
        assert!(block.iter().all(|x| (x - 0.1).abs() < 1e-4), "{rate_hz} Hz");
    }
}
