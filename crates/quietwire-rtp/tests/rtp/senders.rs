//! Senders as they are: rounded timestamps, other clocks, probes, redundancy of forwarding units,
//! stalls, outages, other packet lengths, encrypted payloads. The timestamps of the sent packets are
//! those received, and no packet is lost without a count.

use std::time::Duration;

use opus::Channels;
use quietwire_rtp::{Codec, Packet, RtpDenoiser, RtpError};
use quietwire_testing::Random;
use quietwire_testing::network::TimedPacket;

use crate::wire::{
    FIRST, FRAMES, HeaderNumbers, check_counts, chord, datagram, decode, drain, encoder, error_db,
    packets, payloads, run, run_with, stream, voice,
};

fn parse(sent: &TimedPacket) -> Packet<'_> {
    Packet::parse(&sent.bytes).unwrap()
}

fn timestamps(sent: &[TimedPacket]) -> Vec<u32> {
    sent.iter().map(|sent| parse(sent).timestamp()).collect()
}

fn set_timestamp(sent: &mut TimedPacket, timestamp: u32) {
    sent.bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
}

fn set_sequence(sent: &mut TimedPacket, sequence: u16) {
    sent.bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
}

/// Consecutive sequence numbers.
fn renumber(sent: &mut [TimedPacket]) {
    for (n, sent) in sent.iter_mut().enumerate() {
        set_sequence(sent, FIRST.sequence.wrapping_add(n as u16));
    }
}

/// Runs a stream to the end of its audio.
fn run_all(stream: &mut RtpDenoiser, arriving: &[TimedPacket]) -> Vec<TimedPacket> {
    let mut out = run(stream, arriving);
    out.extend(drain(stream));
    assert_eq!(stream.stats().waiting, 0);
    out
}

#[test]
fn every_timestamp_is_sent_as_received_whatever_the_sender_rounds() {
    let signal = chord(192_000);
    let mut random = Random::new(7);
    let mut jitter = |n: u32| n * 960 + (random.bits() % 1900) as u32 + 10;
    let mut jittered: Vec<u32> = (0..200).map(&mut jitter).collect();
    jittered[0] = 0;
    let cases: [(&str, Vec<u32>); 7] = [
        (
            "one tick early once",
            (0..200).map(|n| n * 960 - u32::from(n == 50)).collect(),
        ),
        (
            "one tick early from one on",
            (0..200).map(|n| n * 960 - u32::from(n >= 50)).collect(),
        ),
        ("most of a packet, both ways", jittered),
        (
            "steps of 8 kHz",
            (0..200).map(|n| (n * 960 + 3) / 6 * 6).collect(),
        ),
        ("clock of 8 kHz", (0..200).map(|n| n * 160).collect()),
        ("clock of 90 kHz", (0..200).map(|n| n * 1800).collect()),
        ("clock of 44.1 kHz", (0..200).map(|n| n * 882).collect()),
    ];
    for (name, times) in &cases {
        for off in [false, true] {
            let mut sent = voice(&signal);
            for (sent, time) in sent.iter_mut().zip(times) {
                set_timestamp(sent, FIRST.timestamp.wrapping_add(*time));
            }
            let mut stream = stream().bypass(off).build().unwrap();
            let out = run_all(&mut stream, &sent);
            assert_eq!(timestamps(&out), timestamps(&sent), "{name}, off: {off}");
            let stats = stream.stats();
            assert_eq!(
                (stats.restarts, stats.lost, stats.concealed),
                (0, 0, 0),
                "{name}"
            );
            // Each packet leaves one delay after it arrived.
            for (received, sent) in sent.iter().zip(&out).take(190) {
                assert_eq!(sent.at, received.at + Duration::from_millis(20), "{name}");
            }
            if off {
                let same = sent.iter().zip(&out);
                assert!(same.into_iter().all(|(a, b)| a.bytes == b.bytes), "{name}");
            }
        }
    }
}

#[test]
fn sound_is_that_of_the_sender_while_its_timestamps_are_rounded() {
    let signal = chord(192_000);
    let mut sent = voice(&signal);
    let (_, direct) = decode(&sent);
    for n in 0..sent.len() as u32 {
        let rounded = FIRST.timestamp.wrapping_add(n * 960 - n % 2);
        set_timestamp(&mut sent[n as usize], rounded);
    }
    let mut out = run_all(&mut stream().build().unwrap(), &sent);
    for (n, out) in out.iter_mut().enumerate() {
        set_timestamp(out, FIRST.timestamp.wrapping_add(n as u32 * 960));
    }
    let error = error_db(&decode(&out).1[9600..], &direct[9600..]);
    assert!(error < -12.0, "{error} dB");
}

const RED: u8 = 63;

/// A packet of redundant audio: `primary`, and earlier packets at their offsets.
fn redundant(primary: &TimedPacket, earlier: &[&TimedPacket]) -> TimedPacket {
    let mut bytes = primary.bytes[..12].to_vec();
    bytes[1] = RED;
    let packet = parse(primary);
    for old in earlier {
        let offset = packet.timestamp().wrapping_sub(parse(old).timestamp());
        let len = parse(old).payload().len();
        bytes.extend([0x80 | 111, (offset >> 6) as u8]);
        bytes.extend([(offset << 2) as u8 | (len >> 8) as u8, len as u8]);
    }
    bytes.push(111);
    for old in earlier {
        bytes.extend(parse(old).payload());
    }
    bytes.extend(packet.payload());
    TimedPacket {
        at: primary.at,
        bytes,
    }
}

#[test]
fn redundant_blocks_are_placed_by_their_offsets() {
    let sent = voice(&chord(480_000));
    let plain = run_all(&mut stream().build().unwrap(), &sent);
    // A forwarding unit lost every tenth packet on its way in, and repeats the two packets that it
    // received before. One of its own packets is lost on its way out now and then.
    let mut arriving = Vec::new();
    let mut last: Vec<&TimedPacket> = Vec::new();
    for (n, packet) in sent.iter().enumerate() {
        if n % 10 == 5 {
            continue;
        }
        if n % 37 != 12 {
            arriving.push(redundant(packet, &last));
        }
        last.push(packet);
        if last.len() > 2 {
            last.remove(0);
        }
    }
    let mut stream = stream().red_payload_type(Some(RED)).build().unwrap();
    let out = run_all(&mut stream, &arriving);
    assert_eq!(timestamps(&out), timestamps(&plain));
    let stats = stream.stats();
    assert!(stats.recovered > 8, "{stats:?}");
    assert_eq!(stats.concealed, sent.len() as u64 / 10, "{stats:?}");
    let errors = decode(&out).1.into_iter().zip(decode(&plain).1);
    assert!(errors.into_iter().all(|(a, b)| (a - b).abs() < 0.5));
}

#[test]
fn a_stall_longer_than_the_buffer_loses_no_more_than_the_missing_packet() {
    for (frames, hold_ms, stall) in [
        (960, 40, 100),
        (120, 200, 600),
        (120, 40, 600),
        (240, 500, 90),
    ] {
        let sent = packets(
            &payloads(&chord(96_000), frames, &mut encoder(Channels::Mono)),
            frames,
        );
        let mut arriving = sent.clone();
        arriving.remove(30);
        let end = (30 + stall).min(arriving.len());
        let at = arriving[end - 1].at;
        for packet in &mut arriving[30..end] {
            packet.at = at;
        }
        let builder = stream().reorder_timeout(Duration::from_millis(hold_ms));
        let mut stream = builder.build().unwrap();
        let out = run_all(&mut stream, &arriving);
        let stats = stream.stats();
        let case = format!("{frames} frames, {hold_ms} ms: {stats:?}");
        assert_eq!(stats.lost, 1, "{case}");
        assert_eq!((stats.dropped.total(), stats.restarts), (0, 0), "{case}");
        assert_eq!(timestamps(&out), timestamps(&sent), "{case}");
    }
}

#[test]
fn packets_that_wait_behind_a_missing_one_never_fill_the_buffer() {
    let sent = voice(&chord(960_000));
    let mut stream = stream().bypass(true).build().unwrap();
    let at = sent[0].at;
    stream.receive(at, &sent[0].bytes).unwrap();
    stream.drive(at);
    let mut out = 0;
    let mut packet = Vec::new();
    for later in &sent[2..] {
        stream.receive(at, &later.bytes).unwrap();
        stream.drive(at);
        while stream.poll_packet(&mut packet) {
            out += 1;
        }
    }
    assert_eq!(out, sent.len() - 2);
    assert_eq!(stream.stats().lost, 1);
    check_counts(&stream);
}

#[test]
fn packets_without_payload_use_a_number_and_no_time() {
    let sent = voice(&chord(192_000));
    let mut arriving = Vec::new();
    for (n, packet) in sent.iter().enumerate() {
        arriving.push(packet.clone());
        if n % 10 == 4 {
            // Two probes: with padding only, and without anything.
            let mut padded = packet.clone();
            padded.bytes.truncate(12);
            padded.bytes[0] |= 0x20;
            padded.bytes.extend([0, 0, 0, 4]);
            let mut bare = packet.clone();
            bare.bytes.truncate(12);
            arriving.extend([padded, bare]);
        }
    }
    renumber(&mut arriving);
    for off in [false, true] {
        let mut stream = stream().bypass(off).build().unwrap();
        let out = run_all(&mut stream, &arriving);
        assert_eq!(timestamps(&out), timestamps(&sent), "off: {off}");
        let numbers: Vec<u16> = out.iter().map(|sent| parse(sent).sequence()).collect();
        assert!(
            numbers
                .windows(2)
                .all(|pair| pair[1] == pair[0].wrapping_add(1))
        );
        let stats = stream.stats();
        assert_eq!(stats.dropped.empty, 40, "{stats:?}");
        assert_eq!((stats.lost, stats.concealed), (0, 0), "{stats:?}");
    }
}

#[test]
fn numbers_of_other_payload_types_are_not_missing() {
    let sent = voice(&chord(192_000));
    let mut arriving = Vec::new();
    for (n, packet) in sent.iter().enumerate() {
        arriving.push(packet.clone());
        if n % 10 == 4 {
            for payload_type in [13, 101, 63] {
                let mut other = packet.clone();
                other.bytes[1] = payload_type;
                arriving.push(other);
            }
        }
    }
    renumber(&mut arriving);
    for off in [false, true] {
        let mut stream = stream().bypass(off).build().unwrap();
        let out = run_all(&mut stream, &arriving);
        assert_eq!(timestamps(&out), timestamps(&sent), "off: {off}");
        let stats = stream.stats();
        assert_eq!(stats.dropped.unexpected_payload_type, 60, "{stats:?}");
        assert_eq!((stats.lost, stats.concealed), (0, 0), "{stats:?}");
    }
}

#[test]
fn a_packet_of_another_payload_type_does_not_take_the_number_of_audio() {
    let sent = voice(&chord(96_000));
    let plain = run_all(&mut stream().build().unwrap(), &sent);
    let mut arriving = Vec::new();
    for (n, packet) in sent.iter().enumerate() {
        if n % 10 == 4 {
            let mut other = packet.clone();
            other.bytes[1] = 0;
            arriving.push(other);
        }
        arriving.push(packet.clone());
    }
    let out = run_all(&mut stream().build().unwrap(), &arriving);
    assert!(plain.iter().zip(&out).all(|(a, b)| a.bytes == b.bytes));
    assert_eq!(plain.len(), out.len());
}

#[test]
fn keep_alives_alone_do_not_fill_the_buffer() {
    let sent = voice(&chord(96_000));
    let mut arriving = sent[..20].to_vec();
    for n in 0..2000u32 {
        let mut packet = sent[20].clone();
        packet.at += Duration::from_millis(500) * n;
        packet.bytes.truncate(12);
        arriving.push(packet);
    }
    renumber(&mut arriving);
    let mut stream = stream().build().unwrap();
    let out = run_all(&mut stream, &arriving);
    assert_eq!(out.len(), 20);
    let stats = stream.stats();
    assert_eq!(
        (stats.dropped.empty, stats.dropped.total()),
        (2000, 2000),
        "{stats:?}"
    );
}

#[test]
fn after_an_outage_of_any_length_the_timestamps_are_those_received() {
    for outage in [1, 5, 20, 63, 64, 65, 200, 500, 2000] {
        for off in [false, true] {
            let mut sent = voice(&chord(480 * 100));
            for (n, packet) in sent.iter_mut().enumerate().skip(20) {
                let place = (n + outage) as u32;
                packet.at += Duration::from_millis(20) * outage as u32;
                set_sequence(packet, FIRST.sequence.wrapping_add(place as u16));
                set_timestamp(packet, FIRST.timestamp.wrapping_add(place * FRAMES as u32));
            }
            let mut stream = stream().bypass(off).build().unwrap();
            let out = run_all(&mut stream, &sent);
            let times = timestamps(&out);
            let case = format!("{outage} packets, off: {off}");
            for received in timestamps(&sent) {
                assert!(times.contains(&received), "{case}: {received}");
            }
            let stats = stream.stats();
            assert_eq!((stats.restarts, stats.dropped.total()), (0, 0), "{case}");
            assert_eq!(stats.lost, outage as u64, "{case}");
            assert!(out.len() <= sent.len() + 10, "{case}: {}", out.len());
        }
    }
}

/// Packets of several lengths, one after another, at the time of their last sample.
fn with_lengths(codec: Option<Codec>, lengths: &[usize]) -> Vec<TimedPacket> {
    let signal = chord(lengths.iter().sum());
    let mut coder = encoder(Channels::Mono);
    let rate_hz = codec.map_or(48_000, Codec::rate_hz);
    let mut at = 0;
    let numbered = lengths.iter().enumerate().map(|(n, frames)| {
        let block = &signal[at..at + frames];
        let payload = match codec {
            None => coder.encode_vec_float(block, 4000).unwrap(),
            Some(_) => vec![0x55 + (n % 7) as u8; *frames],
        };
        let numbers = HeaderNumbers {
            sequence: n as u16,
            timestamp: at as u32,
            payload_type: codec.map_or(111, |codec| codec.default_payload_type(1)),
            ..FIRST
        };
        at += frames;
        TimedPacket {
            at: Duration::from_secs_f64(at as f64 / f64::from(rate_hz)),
            bytes: datagram(numbers, &payload),
        }
    });
    numbered.collect()
}

#[test]
fn the_delay_is_that_of_the_present_packet_length_after_every_change() {
    let ms = |len: usize, count: usize| vec![48 * len; count];
    for (name, lengths, codec) in [
        (
            "20, 60, 20",
            [ms(20, 50), ms(60, 20), ms(20, 50)].concat(),
            None,
        ),
        (
            "20, 60, 40, 20",
            [ms(20, 50), ms(60, 20), ms(40, 20), ms(20, 50)].concat(),
            None,
        ),
        (
            "10, 20, 10",
            [ms(10, 50), ms(20, 50), ms(10, 50)].concat(),
            None,
        ),
        (
            "20, 120, 20",
            [ms(20, 50), ms(120, 20), ms(20, 50)].concat(),
            None,
        ),
        (
            "20, 5, 20",
            [ms(20, 50), ms(5, 51), ms(20, 50)].concat(),
            None,
        ),
        (
            "20, 30, 20 of G.711",
            [vec![160; 50], vec![240; 30], vec![160; 50]].concat(),
            Some(Codec::Pcmu),
        ),
    ] {
        let sent = with_lengths(codec, &lengths);
        for off in [false, true] {
            let builder = stream().codec(codec.unwrap_or_default()).bypass(off);
            let mut stream = builder.build().unwrap();
            let mut first_delay = None;
            let mut out = run_with(&mut stream, &sent, |n, stream| {
                if n == 20 {
                    first_delay = Some(stream.delay());
                }
            });
            out.extend(drain(&mut stream));
            let case = format!("{name} ms, off: {off}");
            assert_eq!(timestamps(&out), timestamps(&sent), "{case}");
            assert_eq!(Some(stream.delay()), first_delay, "{case}");
            let moves = stream.stats().delay_changes;
            assert!(moves <= 4, "{case}: {moves} changes of the delay");
            for (received, sent) in sent.iter().zip(&out).rev().skip(10).take(25) {
                assert_eq!(sent.at - received.at, stream.delay(), "{case}");
            }
            if off {
                let same = sent.iter().zip(&out);
                assert!(same.into_iter().all(|(a, b)| a.bytes == b.bytes), "{case}");
            }
        }
    }
}

#[test]
fn the_last_packet_before_a_silence_is_sent_after_the_delay() {
    for off in [false, true] {
        // Half a second of audio and two seconds of nothing, four times.
        let mut sent: Vec<TimedPacket> = voice(&chord(480_000));
        sent = (0..sent.len())
            .filter(|n| n % 125 < 25)
            .map(|n| sent[n].clone())
            .collect();
        renumber(&mut sent);
        let mut stream = stream().bypass(off).build().unwrap();
        let out = run_all(&mut stream, &sent);
        assert_eq!(timestamps(&out), timestamps(&sent), "off: {off}");
        for (received, sent) in sent.iter().zip(&out) {
            let delay = sent.at - received.at;
            let max = stream.delay() + Duration::from_millis(15);
            assert!(delay <= max, "off: {off}: {delay:?}");
        }
    }
}

#[test]
fn comfort_noise_of_g711_passes_with_the_level_of_the_clean_noise() {
    let sent = with_lengths(Some(Codec::Pcmu), &[160; 60]);
    // Comfort noise takes the place of packets 20 to 39.
    let arriving: Vec<TimedPacket> = sent
        .iter()
        .enumerate()
        .filter(|(n, _)| !(21..40).contains(n))
        .map(|(n, packet)| {
            let mut packet = packet.clone();
            if n == 20 {
                packet.bytes[1] = 13;
                packet.bytes.truncate(12);
                packet.bytes.extend([50, 3, 4]);
            }
            packet
        })
        .collect();
    let mut arriving = arriving;
    renumber(&mut arriving);
    for (off, level) in [(false, 62), (true, 50)] {
        let builder = stream().codec(Codec::Pcmu).bypass(off).attenuation(12.0);
        let mut stream = builder.build().unwrap();
        let out = run_all(&mut stream, &arriving);
        assert_eq!(timestamps(&out), timestamps(&arriving), "off: {off}");
        let noise = parse(&out[20]);
        assert_eq!(
            (noise.payload_type(), noise.payload()),
            (13, &[level, 3, 4][..])
        );
        let stats = stream.stats();
        assert_eq!((stats.lost, stats.dropped.total()), (0, 0), "{stats:?}");
    }
}

#[test]
fn with_dtx_g711_sends_comfort_noise_in_silence() {
    let silence = |n: usize| !(10..25).contains(&(n % 50));
    let mut sent = with_lengths(Some(Codec::Pcmu), &[160; 200]);
    let mut random = Random::new(3);
    for (n, packet) in sent.iter_mut().enumerate() {
        let level = if silence(n) { 2 } else { 90 };
        for byte in &mut packet.bytes[12..] {
            let sign = (random.bits() & 1) as u8 * 0x80;
            *byte = !(sign | (random.bits() % level) as u8);
        }
    }
    let builder = RtpDenoiser::builder(crate::wire::base())
        .codec(Codec::Pcmu)
        .dtx(true);
    let mut stream = builder.build().unwrap();
    let out = run_all(&mut stream, &sent);
    let noise: Vec<Packet> = out
        .iter()
        .map(parse)
        .filter(|packet| packet.payload_type() == 13)
        .collect();
    assert!(!noise.is_empty(), "{:?}", stream.stats());
    assert!(
        noise
            .iter()
            .all(|packet| packet.payload().len() == 1 && packet.payload()[0] >= 45)
    );
    assert!(stream.stats().dropped.silent > 40, "{:?}", stream.stats());
    let received = timestamps(&sent);
    assert!(timestamps(&out).iter().all(|time| received.contains(time)));
}

#[test]
fn encrypted_payloads_become_silence_and_the_cause_is_reported() {
    let mut random = Random::new(5);
    let mut sent = voice(&chord(192_000));
    for packet in &mut sent[60..140] {
        for byte in &mut packet.bytes[12..] {
            *byte = random.bits() as u8;
        }
    }
    let mut stream = stream().build().unwrap();
    let mut error = None;
    let out = run_with(&mut stream, &sent, |n, stream| {
        if let Some(found) = stream.take_error() {
            error.get_or_insert((n, found));
        }
    });
    let (error_after, error) = error.unwrap();
    assert_eq!(error, RtpError::OtherCodec { codec: "Opus" });
    assert!(error.to_string().contains("encrypted"));
    assert!((60..75).contains(&error_after), "{error_after}");
    assert_eq!(timestamps(&out), timestamps(&sent)[..out.len()]);
    let mut decoder = opus::Decoder::new(48_000, Channels::Mono).unwrap();
    let decoded: Vec<Vec<f32>> = out
        .iter()
        .map(|sent| {
            let mut block = vec![0.0; 5760];
            let frames = decoder.decode_float(parse(sent).payload(), &mut block, false);
            block.truncate(frames.unwrap());
            block
        })
        .collect();
    let level = |from: usize, to: usize| crate::wire::rms_db(&decoded[from..to].concat());
    assert!(level(85, 138) < -50.0, "{} dB", level(85, 138));
    assert!(
        level(160, 195) > -30.0,
        "audio again: {} dB",
        level(160, 195)
    );
    let peak = decoded
        .concat()
        .iter()
        .fold(0.0f32, |peak, x| peak.max(x.abs()));
    assert!(peak < 0.9, "{peak}");
}

#[test]
fn while_off_encrypted_payloads_pass() {
    let mut random = Random::new(6);
    let mut sent = voice(&chord(192_000));
    for packet in &mut sent {
        for byte in &mut packet.bytes[12..] {
            *byte = random.bits() as u8;
        }
    }
    let mut stream = stream().bypass(true).build().unwrap();
    let out = run_all(&mut stream, &sent);
    assert!(sent.iter().zip(&out).all(|(a, b)| a.bytes == b.bytes));
    assert_eq!(out.len(), sent.len());
    assert_eq!(stream.take_error(), None);
}
