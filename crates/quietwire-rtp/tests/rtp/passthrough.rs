//! Off: the received payloads are sent unchanged, and switching has no gap and no click.

use quietwire_rtp::{Packet, RtpDenoiser};

use quietwire_testing::network::TimedPacket;

use crate::wire::{assert_continuous, base, chord, decode, error_db, run, run_with, stream, voice};

fn payload(sent: &TimedPacket) -> &[u8] {
    Packet::parse(&sent.bytes).unwrap().payload()
}

#[test]
fn off_from_the_start_every_packet_is_sent_unchanged() {
    let sent = voice(&chord(96_000));
    let mut stream = RtpDenoiser::builder(base()).bypass(true).build().unwrap();
    let out = run(&mut stream, &sent);
    assert_eq!(
        out.len(),
        sent.len() - 1,
        "the last packet is still delayed"
    );
    for (received, sent_packet) in sent.iter().zip(&out) {
        assert!(received.bytes == sent_packet.bytes, "header and payload");
    }
    assert!(stream.is_passthrough());
    assert_eq!(stream.denoiser().stats().hops, 0);
    assert_eq!(stream.stats().passed_through, out.len() as u64);
}

#[test]
fn switching_in_mid_stream_is_seamless_both_ways() {
    let signal = chord(480_000);
    let sent = voice(&signal);
    let (_, direct) = decode(&sent);
    let mut stream = stream().build().unwrap();
    let mut was_passthrough = [false; 2];
    let out = run_with(&mut stream, &sent, |n, stream| match n {
        100 => stream.set_bypass(true),
        190 => was_passthrough[0] = stream.is_passthrough(),
        200 => stream.set_bypass(false),
        240 => was_passthrough[1] = stream.is_passthrough(),
        300 => stream.set_bypass(true),
        303 => stream.set_bypass(false),
        400 => stream.set_bypass(true),
        402 => stream.set_bypass(false),
        404 => stream.set_bypass(true),
        _ => {}
    });
    assert_eq!(was_passthrough, [true, false]);
    assert!(stream.is_passthrough());
    assert_continuous(&out, 960);
    let same = |n: usize| {
        sent.iter()
            .any(|received| payload(received) == payload(&out[n]))
    };
    assert!((120..200).all(same), "bit-identical while off");
    assert!(!(220..300).any(same), "coded again while on");
    assert!((430..470).all(same));
    let (_, decoded) = decode(&out);
    // The audio matches at every timestamp, at the switches too.
    for at in (4800..decoded.len() - 4800).step_by(960) {
        let error = error_db(&decoded[at..at + 1920], &direct[at..at + 1920]);
        assert!(error < -9.0, "{error} dB at packet {}", at / 960);
    }
    let step = |x: &[f32]| {
        x.windows(2)
            .map(|p| (p[1] - p[0]).abs())
            .fold(0.0, f32::max)
    };
    assert!(
        step(&decoded[4800..]) < 2.0 * step(&direct[4800..]),
        "no click"
    );
}

#[test]
fn while_off_lost_packets_are_left_to_the_receiver_to_conceal() {
    let sent = voice(&chord(96_000));
    let arriving: Vec<TimedPacket> = (0..sent.len())
        .filter(|n| n % 10 != 5)
        .map(|n| sent[n].clone())
        .collect();
    let mut stream = RtpDenoiser::builder(base()).bypass(true).build().unwrap();
    let out = run(&mut stream, &arriving);
    assert!(out.len() >= arriving.len() - 1);
    for (received, sent_packet) in arriving.iter().zip(&out) {
        assert!(
            received.bytes == sent_packet.bytes,
            "numbers and times are those that received"
        );
    }
    let lost = stream.stats().lost;
    assert_eq!(lost, (0..sent.len()).filter(|n| n % 10 == 5).count() as u64);
}

#[test]
fn events_keep_their_order_on_and_off() {
    let mut sent = voice(&chord(96_000));
    for n in [40, 41, 42, 80] {
        // A telephone event instead of audio.
        sent[n].bytes[1] = 101;
        sent[n].bytes.truncate(12);
        sent[n].bytes.extend([5, 10, 0, 160]);
    }
    for off in [false, true] {
        let mut stream = stream()
            .bypass(off)
            .passthrough_payload_type(101)
            .build()
            .unwrap();
        let out = run(&mut stream, &sent);
        let events: Vec<&[u8]> = out
            .iter()
            .filter(|s| s.bytes[1] & 0x7F == 101)
            .map(payload)
            .collect();
        assert_eq!(events, [[5, 10, 0, 160]; 4], "off: {off}");
        let numbers = out
            .iter()
            .map(|sent| Packet::parse(&sent.bytes).unwrap().sequence());
        let numbers: Vec<u16> = numbers.collect();
        assert!(
            numbers.windows(2).all(|p| p[1] == p[0].wrapping_add(1)),
            "off: {off}"
        );
        assert_eq!(stream.stats().dropped.unexpected_payload_type, 0);
    }
}
