//! Redundant audio (RFC 2198), in and out.

use quietwire::rtp::Packet;

use crate::wire::{FRAMES, Sent, assert_continuous, chord, error_db, hear, run, stream, voice};

const RED: u8 = 63;

fn payload(sent: &Sent) -> &[u8] {
    Packet::parse(&sent.bytes).unwrap().payload()
}

/// Each packet with the two before it, as browsers send them.
fn redundant(sent: &[Sent]) -> Vec<Sent> {
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
        out.push(Sent {
            bytes,
            ..sent[n].clone()
        });
    }
    out
}

#[test]
fn redundancy_brings_back_two_of_three_packets() {
    let sent = voice(&chord(192_000));
    let whole = run(&mut stream().build().unwrap(), &sent);
    let arriving: Vec<Sent> = redundant(&sent).into_iter().step_by(3).collect();
    let mut stream = stream().red_payload_type(Some(RED)).build().unwrap();
    let out = run(&mut stream, &arriving);
    assert_continuous(&out, FRAMES);
    let counts = stream.counts();
    assert_eq!(counts.concealed, 0, "{counts:?}");
    assert_eq!(counts.recovered, counts.lost);
    assert!(counts.lost as usize > sent.len() / 2);
    let ((_, a), (_, b)) = (hear(&out), hear(&whole));
    assert!(error_db(&a, &b) < -60.0, "as if nothing had been lost");
}

#[test]
fn redundancy_goes_out_with_each_packet_bringing_the_one_before() {
    let sent = voice(&chord(96_000));
    let plain = run(&mut stream().build().unwrap(), &sent);
    let builder = stream().red_payload_type(Some(RED)).red_out(true);
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
fn off_it_passes_as_it_is() {
    let sent = redundant(&voice(&chord(48_000)));
    let mut stream = stream()
        .red_payload_type(Some(RED))
        .bypass(true)
        .build()
        .unwrap();
    for (came, went) in sent.iter().zip(run(&mut stream, &sent)) {
        assert!(came.bytes == went.bytes);
    }
}
