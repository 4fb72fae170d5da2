//! One packet sent for each packet received: sequence numbers, timestamps and audio.

use std::time::Duration;

use opus::Channels;
use quietwire::{Batch, ChannelMode, DenoiserOptions, Strength};
use quietwire_rtp::{Codec, Packet, RtpBuildError, RtpDenoiser};

use quietwire_testing::network::TimedPacket;

use crate::wire::{
    FIRST, base, chord, decode, encoder, error_db, packets, payloads, run, stream, voice,
    with_level,
};

#[test]
fn audio_matches_its_timestamp_and_is_sent_one_delay_later() {
    let signal = chord(96_000);
    for frames in [120, 240, 480, 960, 1440, 1920, 2880, 3840, 5760] {
        let lens: Vec<usize> = if frames == 1440 {
            vec![960, 480]
        } else {
            vec![frames]
        };
        let payloads = if frames == 1440 {
            three_frames(&signal)
        } else {
            payloads(&signal, frames, &mut encoder(Channels::Mono))
        };
        let sent = packets(&payloads, frames);
        let (first, direct) = decode(&sent);
        let mut stream = stream().build().unwrap();
        let out = run(&mut stream, &sent);
        let delay = (stream.delay().as_secs_f64() * 48_000.0).round() as u32;
        assert_eq!(delay as usize % frames, 0, "the delay is whole packets");
        let max = if frames < 480 {
            1440
        } else {
            frames.max(960) as u32
        };
        assert!(
            delay <= max.next_multiple_of(frames as u32),
            "{frames}: {delay}"
        );
        let (begin, decoded) = decode(&out);
        assert_eq!(begin, first, "the first packet is sent with its timestamp");
        let error = error_db(&decoded[9600..], &direct[9600..]);
        assert!(error < -12.0, "{frames} samples a packet: {error} dB");
        // A packet is sent when the packet one delay after it is received.
        let firsts = out.iter().step_by(lens.len());
        for (received, sent_packet) in sent.iter().skip(delay as usize / frames).zip(firsts) {
            assert_eq!(received.at, sent_packet.at);
            let [a, b] =
                [received, sent_packet].map(|sent| Packet::parse(&sent.bytes).unwrap().timestamp());
            assert_eq!(a.wrapping_sub(b), delay);
        }
        let stats = stream.stats();
        assert_eq!(stats.received, sent.len() as u64);
        assert_eq!(stats.sent, out.len() as u64);
        assert_eq!(stats.replaced * lens.len() as u64, stats.sent);
        assert_eq!(stats.waiting, u64::from(delay) / frames as u64);
        assert_eq!((stats.lost, stats.concealed, stats.restarts), (0, 0, 0));
    }
}

/// Packets of 30 ms: three frames of 10 ms each. The encoder has no packets of this length.
fn three_frames(signal: &[f32]) -> Vec<Vec<u8>> {
    let mut coder = encoder(Channels::Mono);
    let mut repacketizer = opus::Repacketizer::new().unwrap();
    let triples = signal.chunks_exact(1440);
    triples
        .map(|triple| {
            let frames: Vec<Vec<u8>> = triple
                .chunks_exact(480)
                .map(|frame| coder.encode_vec_float(frame, 1275).unwrap())
                .collect();
            let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            let mut packet = vec![0; 4000];
            let len = repacketizer.combine(&frames, &mut packet).unwrap();
            packet.truncate(len);
            packet
        })
        .collect()
}

#[test]
fn the_packet_length_can_change_during_a_stream() {
    let signal = chord(240_000);
    let mut coder = encoder(Channels::Mono);
    let (mut at, mut sent) = (0, Vec::<TimedPacket>::new());
    for (n, frames) in [960, 960, 480, 2880, 120, 960, 240, 1920]
        .repeat(12)
        .into_iter()
        .enumerate()
    {
        let mut one = packets(
            &payloads(&signal[at..at + frames], frames, &mut coder),
            frames,
        );
        let bytes = &mut one[0].bytes;
        bytes[2..4].copy_from_slice(&FIRST.sequence.wrapping_add(n as u16).to_be_bytes());
        bytes[4..8].copy_from_slice(&FIRST.timestamp.wrapping_add(at as u32).to_be_bytes());
        // A packet is sent when its last sample is recorded.
        one[0].at += Duration::from_secs_f64((at + frames) as f64 / 48_000.0);
        sent.append(&mut one);
        at += frames;
    }
    let (first, direct) = decode(&sent);
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &sent);
    let (begin, decoded) = decode(&out);
    assert_eq!(begin, first);
    let numbers_of = |packets: &[TimedPacket]| -> Vec<(u16, u32)> {
        let packets = packets
            .iter()
            .map(|sent| Packet::parse(&sent.bytes).unwrap());
        packets
            .map(|packet| (packet.sequence(), packet.timestamp()))
            .collect()
    };
    let (received, out_numbers) = (numbers_of(&sent), numbers_of(&out));
    assert_eq!(out_numbers, received[..out.len()], "one packet for each");
    let error = error_db(&decoded[48_000..], &direct[48_000..]);
    assert!(error < -10.0, "{error} dB");
}

#[test]
fn noise_is_removed_and_the_audio_level_follows() {
    let mut random = quietwire_testing::Random::new(3);
    let noise: Vec<f32> = (0..96_000)
        .map(|_| random.uniform() as f32 * 0.1 - 0.05)
        .collect();
    let sent: Vec<TimedPacket> = voice(&noise)
        .into_iter()
        .map(|sent| TimedPacket {
            bytes: with_level(sent.bytes, 0x80 | 20),
            ..sent
        })
        .collect();
    let mut stream = RtpDenoiser::builder(base())
        .audio_level_id(Some(1))
        .build()
        .unwrap();
    let out = run(&mut stream, &sent);
    let level = |sent: &TimedPacket| Packet::parse(&sent.bytes).unwrap().audio_level(1).unwrap();
    assert_eq!(level(&sent[90]), (true, 20));
    let (voice, below) = level(&out[90]);
    assert!(!voice && below > 45, "{below}");
    let (_, decoded) = decode(&out);
    let (_, received) = decode(&sent);
    let db = |x: &[f32]| crate::wire::rms_db(&x[48_000..]);
    assert!(db(&decoded) < db(&received) - 15.0);
}

#[test]
fn packets_of_a_batch_equal_those_of_single_streams() {
    let signal = chord(48_000);
    let sent = voice(&signal);
    let build = |channels| {
        RtpDenoiser::builder(base())
            .channels(channels)
            .build()
            .unwrap()
    };
    let mut streams: Vec<RtpDenoiser> = (0..5).map(|n| build(1 + n % 2)).collect();
    let mut batch = Batch::new(&[base()], 8).unwrap();
    let mut out = vec![Vec::new(); streams.len()];
    for arrival in &sent {
        for stream in &mut streams {
            stream.receive(arrival.at, &arrival.bytes).unwrap();
            stream.prepare(arrival.at);
        }
        while streams.iter_mut().any(|stream| stream.prepare(arrival.at)) {
            batch.process(&mut streams);
        }
        for (stream, out) in streams.iter_mut().zip(&mut out) {
            let mut packet = Vec::new();
            while stream.poll_packet(&mut packet) {
                out.push(packet.clone());
            }
        }
    }
    assert!(batch.stats().hops > 3 * batch.stats().steps);
    for (n, out) in out.iter().enumerate() {
        let alone = run(&mut build(1 + n % 2), &sent);
        let alone: Vec<Vec<u8>> = alone.into_iter().map(|sent| sent.bytes).collect();
        assert!(*out == alone, "stream {n}");
    }
}

#[test]
fn all_options_of_the_denoiser_are_reachable() {
    let mut options = DenoiserOptions::default();
    options.channels = 2;
    options.channel_mode = ChannelMode::Linked;
    options.attenuation = Strength::Low.into();
    options.telemetry_hops = 7;
    let stream = RtpDenoiser::builder(base())
        .denoiser(options.clone())
        .build()
        .unwrap();
    options.rate_hz = Some(48_000);
    options.hop_aligned = true;
    assert_eq!(stream.denoiser().options(), options);

    let mut gating = DenoiserOptions::default();
    gating.snr_gating = true;
    let error = RtpDenoiser::builder(base()).denoiser(gating).build();
    assert!(matches!(
        error,
        Err(RtpBuildError::Denoiser(quietwire::Error::Gate { .. }))
    ));
    let mut other_rate = DenoiserOptions::default();
    other_rate.rate_hz = Some(44_100);
    let error = RtpDenoiser::builder(base()).denoiser(other_rate).build();
    assert!(matches!(
        error,
        Err(RtpBuildError::Option {
            option: "rate_hz",
            ..
        })
    ));
}

#[test]
fn invalid_options_are_rejected() {
    for (wrong, word) in [
        (stream().channels(3), "channels"),
        (stream().codec(Codec::Pcmu).channels(2), "G.711"),
        (stream().codec(Codec::L16 { rate_hz: 4000 }), "L16"),
        (stream().payload_type(72), "payload types"),
        (
            stream().payload_type(111).red_payload_type(Some(111)),
            "payload types",
        ),
        (stream().send_red(true), "red_payload_type"),
        (
            stream().reorder_timeout(Duration::from_secs(2)),
            "reorder_timeout",
        ),
        (stream().bitrate_bps(100), "bitrate_bps"),
        (stream().complexity(11), "complexity"),
        (stream().expected_loss_percent(101), "expected_loss_percent"),
        (stream().audio_level_id(Some(0)), "audio_level_id"),
        (stream().attenuation(-1.0), "attenuation"),
    ] {
        let text = wrong.build().unwrap_err().to_string();
        assert!(text.contains(word), "{text}");
    }
}
