//! Redundant audio (RFC 2198), received and sent.

use quietwire_rtp::Packet;

use quietwire_testing::network::TimedPacket;

use crate::wire::{FRAMES, assert_continuous, chord, decode, error_db, run, stream, voice};

const RED: u8 = 63;

fn payload(sent: &TimedPacket) -> &[u8] {
    Packet::parse(&sent.bytes).unwrap().payload()
}

/// Each packet with the two before it, as browsers send.
fn redundant(sent: &[TimedPacket]) -> Vec<TimedPacket> {
    let mut out = Vec::new();
    for n in 0..sent.len() {
        let mut bytes = sent[n].bytes[..12].to_vec();
        bytes[1] = RED;
        let old: Vec<usize> = (1..=2).rev().filter(|back| *back <= n).collect();
        for back in &old {
            let (behind, len) = ((back * FRAMES) as u32, payload(&sent[n - back]).len());
            bytes.extend([0x80 | 111, (behind >> 6) as u8]);
            bytes.extend([(behind << 2) as u8 | (len >> 8) as u8, len as u8]);
        }
        bytes.push(111);
        for back in &old {
            bytes.extend(payload(&sent[n - back]));
        }
        bytes.extend(payload(&sent[n]));
        out.push(TimedPacket {
            bytes,
            ..sent[n].clone()
        });
    }
    out
}

#[test]
fn redundancy_recovers_two_of_three_packets() {
    let sent = voice(&chord(192_000));
    let complete = run(&mut stream().build().unwrap(), &sent);
    let arriving: Vec<TimedPacket> = redundant(&sent).into_iter().step_by(3).collect();
    let mut stream = stream().red_payload_type(Some(RED)).build().unwrap();
    let out = run(&mut stream, &arriving);
    assert_continuous(&out, FRAMES);
    let stats = stream.stats();
    assert_eq!(stats.concealed, 0, "{stats:?}");
    assert_eq!(stats.recovered, stats.lost);
    assert!(stats.lost as usize > sent.len() / 2);
    let ((_, a), (_, b)) = (decode(&out), decode(&complete));
    let error = error_db(&a[48_000..], &b[48_000..]);
    assert!(error < -25.0, "as if nothing had been lost: {error} dB");
}

#[test]
fn each_sent_packet_repeats_the_one_before() {
    let sent = voice(&chord(96_000));
    let plain = run(&mut stream().build().unwrap(), &sent);
    let builder = stream().red_payload_type(Some(RED)).send_red(true);
    let out = run(&mut builder.build().unwrap(), &sent);
    assert_eq!(out.len(), plain.len());
    for n in 1..out.len() {
        let (now, before) = (payload(&plain[n]), payload(&plain[n - 1]));
        let packet = Packet::parse(&out[n].bytes).unwrap();
        assert_eq!(packet.payload_type(), RED);
        let found = packet.payload();
        let behind = u32::from(found[1]) << 6 | u32::from(found[2]) >> 2;
        assert_eq!((found[0], behind, found[4]), (0x80 | 111, 960, 111));
        assert!(found[5..] == [before, now].concat());
    }
}

#[test]
fn while_off_redundant_packets_are_sent_unchanged() {
    let sent = redundant(&voice(&chord(48_000)));
    let mut stream = stream()
        .red_payload_type(Some(RED))
        .bypass(true)
        .build()
        .unwrap();
    for (received, sent_packet) in sent.iter().zip(run(&mut stream, &sent)) {
        assert!(received.bytes == sent_packet.bytes);
    }
}
