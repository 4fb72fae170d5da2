//! G.711, L16 and stereo.

use std::time::Duration;

use opus::Channels;
use quietwire_rtp::{Codec, Packet, RtpDenoiser};

use quietwire_testing::network::TimedPacket;

use crate::wire::{
    FIRST, FRAMES, HeaderNumbers, assert_continuous, datagram, encoder, error_db, packets, run,
    stream,
};

fn tone(rate_hz: u32, samples: usize) -> Vec<f32> {
    let sine = |n: usize, hz: f32| (n as f32 * hz * std::f32::consts::TAU / rate_hz as f32).sin();
    (0..samples)
        .map(|n| 0.2 * sine(n, 310.0) * (0.6 + 0.4 * sine(n, 2.0)) + 0.1 * sine(n, 940.0))
        .collect()
}

fn sent(codec: Codec, channels: usize, payloads: Vec<Vec<u8>>, frames: usize) -> Vec<TimedPacket> {
    let packets = payloads.into_iter().enumerate();
    packets
        .map(|(n, payload)| {
            let numbers = HeaderNumbers {
                sequence: n as u16,
                timestamp: (n * frames) as u32,
                payload_type: codec.default_payload_type(channels),
                ..FIRST
            };
            let at = Duration::from_secs_f64((n * frames) as f64 / f64::from(codec.rate_hz()));
            TimedPacket {
                at,
                bytes: datagram(numbers, &payload),
            }
        })
        .collect()
}

fn l16(samples: &[f32]) -> Vec<u8> {
    let bytes = samples
        .iter()
        .flat_map(|x| ((x * 32_768.0).round() as i16).to_be_bytes());
    bytes.collect()
}

fn from_l16(payload: &[u8]) -> Vec<f32> {
    let pairs = payload.chunks_exact(2);
    pairs
        .map(|p| f32::from(i16::from_be_bytes([p[0], p[1]])) / 32_768.0)
        .collect()
}

#[test]
fn l16_samples_are_sent_with_their_timestamps() {
    for (rate_hz, channels) in [(16_000, 1), (44_100, 2), (48_000, 2), (8_000, 1)] {
        let codec = Codec::L16 { rate_hz };
        let frames = rate_hz as usize / 50;
        let mono = tone(rate_hz, rate_hz as usize * 2);
        let signal: Vec<f32> = mono.iter().flat_map(|x| vec![*x; channels]).collect();
        let payloads = signal.chunks_exact(frames * channels).map(l16).collect();
        let sent = sent(codec, channels, payloads, frames);
        let mut stream = stream().codec(codec).channels(channels).build().unwrap();
        let out = run(&mut stream, &sent);
        assert_continuous(&out, frames);
        let decoded: Vec<f32> = out
            .iter()
            .flat_map(|s| from_l16(Packet::parse(&s.bytes).unwrap().payload()))
            .collect();
        let begin = 4800 * channels;
        let error = error_db(&decoded[begin..], &signal[begin..]);
        assert!(error < -60.0, "{rate_hz} Hz: {error} dB");
        let first = Packet::parse(&out[0].bytes).unwrap().timestamp();
        assert_eq!(first, 0);
        assert!(stream.delay() <= Duration::from_millis(60));
    }
}

#[test]
fn both_laws_of_g711_are_decoded_encoded_and_concealed() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        // Payloads from the definition of G.711, not from the encoder under test.
        let signal = tone(8_000, 32_000);
        let law = |x: f32| companded(codec, x);
        let payloads = signal
            .chunks_exact(160)
            .map(|block| block.iter().map(|x| law(*x)).collect());
        let sent = sent(codec, 1, payloads.collect(), 160);
        let mut stream = stream().codec(codec).build().unwrap();
        let out = run(&mut stream, &sent);
        assert_continuous(&out, 160);
        let decoded = |out: &[TimedPacket]| -> Vec<f32> {
            let bytes = out
                .iter()
                .flat_map(|s| Packet::parse(&s.bytes).unwrap().payload().to_vec());
            bytes.map(|byte| expanded(codec, byte)).collect()
        };
        let error = error_db(&decoded(&out)[1600..], &signal[1600..]);
        assert!(error < -25.0, "{codec:?}: {error} dB");

        let arriving: Vec<TimedPacket> = sent
            .iter()
            .enumerate()
            .filter(|(n, _)| n % 9 != 8)
            .map(|(_, s)| s.clone())
            .collect();
        let mut lossy = stream_of(codec);
        let out = run(&mut lossy, &arriving);
        assert_continuous(&out, 160);
        let error = error_db(&decoded(&out)[1600..], &signal[1600..]);
        assert!(
            error < -8.0,
            "{codec:?}: error with concealed packets: {error} dB"
        );
        assert_eq!(lossy.stats().concealed, lossy.stats().lost);
    }
}

fn stream_of(codec: Codec) -> RtpDenoiser {
    stream().codec(codec).build().unwrap()
}

/// The code with the nearest decoder value.
fn companded(codec: Codec, x: f32) -> u8 {
    let nearest = (0..=255u8).min_by(|a, b| {
        let off = |byte: u8| (expanded(codec, byte) - x).abs();
        off(*a).total_cmp(&off(*b))
    });
    nearest.unwrap()
}

/// Decoder values of ITU-T G.711, tables 1a and 2a.
fn expanded(codec: Codec, byte: u8) -> f32 {
    let (byte, bias) = match codec {
        Codec::Pcmu => (!byte, 33.0),
        _ => (byte ^ 0x55, 0.0),
    };
    let (segment, step) = (f32::from(byte >> 4 & 7), f32::from(byte & 15));
    let magnitude = match codec {
        Codec::Pcmu => (2.0 * step + bias) * segment.exp2() - bias,
        _ if segment == 0.0 => step + 0.5,
        _ => (step + 16.5) * (segment - 1.0).exp2(),
    };
    let scale = if codec == Codec::Pcmu { 8192.0 } else { 2048.0 };
    let positive = (byte & 0x80 == 0) == (codec == Codec::Pcmu);
    if positive {
        magnitude / scale
    } else {
        -magnitude / scale
    }
}

#[test]
fn stereo_channels_stay_apart_and_mono_packets_are_accepted() {
    let (left, right) = (tone(48_000, 96_000), vec![0.0; 96_000]);
    let both: Vec<f32> = left
        .iter()
        .zip(&right)
        .flat_map(|(l, r)| [*l, *r])
        .collect();
    let mut coder = encoder(Channels::Stereo);
    let mut mono = encoder(Channels::Mono);
    let payloads: Vec<Vec<u8>> = both
        .chunks_exact(2 * FRAMES)
        .zip(left.chunks_exact(FRAMES))
        .enumerate()
        .map(|(n, (both, left))| match n {
            0..70 => coder.encode_vec_float(both, 1275).unwrap(),
            _ => mono.encode_vec_float(left, 1275).unwrap(),
        })
        .collect();
    let sent = packets(&payloads, FRAMES);
    let mut stream = stream().channels(2).build().unwrap();
    let out = run(&mut stream, &sent);
    assert_continuous(&out, FRAMES);
    let mut decoder = opus::Decoder::new(48_000, Channels::Stereo).unwrap();
    let mut sides = [0.0f32; 4];
    for (n, sent_packet) in out.iter().enumerate() {
        let mut block = vec![0.0; 2 * FRAMES];
        let payload = Packet::parse(&sent_packet.bytes).unwrap().payload();
        decoder.decode_float(payload, &mut block, false).unwrap();
        let half = 2 * usize::from(n > 75);
        for frame in block
            .chunks_exact(2)
            .filter(|_| n > 10 && !(68..76).contains(&n))
        {
            sides[half] += frame[0] * frame[0];
            sides[half + 1] += frame[1] * frame[1];
        }
    }
    assert!(sides[0] > 300.0 * sides[1], "{sides:?}");
    assert!((sides[2] / sides[3] - 1.0).abs() < 0.2, "{sides:?}");
}
