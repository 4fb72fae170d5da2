//! One packet in, one packet out: in number, in time and in sound.

use std::time::Duration;

use opus::Channels;
use quietwire::Batch;
use quietwire::rtp::{Codec, Packet, RtpDenoiser};

use crate::wire::{
    FIRST, Sent, assert_continuous, base, chord, encoder, error_db, hear, packets, payloads, run,
    stream, voice, with_level,
};

#[test]
fn the_sound_is_where_its_timestamp_says_and_goes_out_a_delay_later() {
    let signal = chord(96_000);
    for frames in [120, 240, 480, 960, 1920, 2880] {
        let sent = packets(
            &payloads(&signal, frames, &mut encoder(Channels::Mono)),
            frames,
        );
        let (first, direct) = hear(&sent);
        let mut stream = stream().build().unwrap();
        let out = run(&mut stream, &sent);
        assert_continuous(&out, frames);
        let delay = (stream.delay().as_secs_f64() * 48_000.0).round() as u32;
        assert_eq!(delay as usize % frames, 0, "the delay is whole packets");
        let most = if frames < 480 {
            1440
        } else {
            frames.max(960) as u32
        };
        assert!(delay <= most, "{frames}: {delay}");
        let (begin, heard) = hear(&out);
        assert!(heard.len() + 2 * delay as usize + 5760 > signal.len());
        // What goes out has the time of what came, and what came has it too.
        let shift = begin.wrapping_sub(first) as i32;
        let (a, b) = if shift >= 0 {
            (&heard[..], &direct[shift as usize..])
        } else {
            (&heard[shift.unsigned_abs() as usize..], &direct[..])
        };
        let error = error_db(&a[9600..], &b[9600..]);
        assert!(error < -12.0, "{frames} samples a packet: {error} dB");
        // Every packet goes out when the one a delay after it came.
        for (came, went) in sent.iter().rev().zip(out.iter().rev()) {
            assert_eq!(came.at, went.at);
            let [a, b] = [came, went].map(|sent| Packet::parse(&sent.bytes).unwrap().timestamp());
            assert_eq!(a.wrapping_sub(b), delay);
        }
        let counts = stream.counts();
        assert_eq!(counts.received, sent.len() as u64);
        assert_eq!(counts.sent, out.len() as u64);
        assert_eq!((counts.lost, counts.concealed, counts.restarts), (0, 0, 0));
    }
}

#[test]
fn a_packets_length_may_change_in_mid_stream() {
    let signal = chord(240_000);
    let mut coder = encoder(Channels::Mono);
    let (mut at, mut sent) = (0, Vec::<Sent>::new());
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
        one[0].at += Duration::from_secs_f64(at as f64 / 48_000.0);
        sent.append(&mut one);
        at += frames;
    }
    let (first, direct) = hear(&sent);
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &sent);
    let (begin, heard) = hear(&out);
    let late = begin.wrapping_sub(first) as i32;
    let direct = &direct[late.max(0) as usize..];
    let heard = &heard[(-late).max(0) as usize..];
    let error = error_db(&heard[48_000..], &direct[48_000..]);
    assert!(error < -10.0, "{error} dB");
    let numbers = out
        .iter()
        .map(|sent| Packet::parse(&sent.bytes).unwrap().sequence());
    let numbers: Vec<u16> = numbers.collect();
    assert!(
        numbers
            .windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1))
    );
}

#[test]
fn noise_goes_and_the_level_in_the_header_with_it() {
    let mut dice = crate::noise::Dice::new(3);
    let noise: Vec<f32> = (0..96_000)
        .map(|_| dice.share() as f32 * 0.1 - 0.05)
        .collect();
    let sent: Vec<Sent> = voice(&noise)
        .into_iter()
        .map(|sent| Sent {
            bytes: with_level(sent.bytes, 0x80 | 20),
            ..sent
        })
        .collect();
    let mut stream = RtpDenoiser::builder(base())
        .audio_level_id(Some(1))
        .build()
        .unwrap();
    let out = run(&mut stream, &sent);
    let level = |sent: &Sent| Packet::parse(&sent.bytes).unwrap().audio_level(1).unwrap();
    assert_eq!(level(&sent[90]), (true, 20));
    let (voice, below) = level(&out[90]);
    assert!(!voice && below > 45, "{below}");
    let (_, heard) = hear(&out);
    let (_, came) = hear(&sent);
    let db = |x: &[f32]| crate::wire::rms_db(&x[48_000..]);
    assert!(db(&heard) < db(&came) - 15.0);
}

#[test]
fn in_a_batch_packets_are_the_same_as_alone() {
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
    assert!(batch.counts().hops > 3 * batch.counts().steps);
    for (n, out) in out.iter().enumerate() {
        let alone = run(&mut build(1 + n % 2), &sent);
        let alone: Vec<Vec<u8>> = alone.into_iter().map(|sent| sent.bytes).collect();
        assert!(*out == alone, "stream {n}");
    }
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (wrong, word) in [
        (stream().channels(3), "channels"),
        (stream().codec(Codec::Pcmu).channels(2), "G.711"),
        (stream().codec(Codec::L16 { rate_hz: 4000 }), "L16"),
        (stream().payload_type(72), "payload types"),
        (
            stream().payload_type(111).red_payload_type(Some(111)),
            "payload types",
        ),
        (stream().red_out(true), "red_payload_type"),
        (stream().hold(Duration::from_secs(2)), "hold"),
        (stream().bitrate_bps(100), "bitrate_bps"),
        (stream().complexity(11), "complexity"),
        (stream().expected_loss_percent(101), "expected_loss_percent"),
        (stream().audio_level_id(Some(0)), "audio_level_id"),
        (stream().attenuation_db(-1.0), "attenuation"),
    ] {
        let text = wrong.build().unwrap_err().to_string();
        assert!(text.contains(word), "{text}");
    }
}
