//! Damaged and arbitrary datagrams: each is counted and reported, and the stream continues.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use quietwire_rtp::{Packet, RtpDenoiser, RtpError};

use quietwire_testing::Random;
use quietwire_testing::network::TimedPacket;

use crate::wire::{check_counts, chord, decode, run, run_with, stream, unity, voice};

#[test]
fn datagrams_that_are_no_packets_of_the_stream_are_counted_and_reported() {
    let sent = voice(&chord(9600));
    let mut stream = stream().build().unwrap();
    let now = Duration::ZERO;
    let mut unexpected = sent[0].bytes.clone();
    unexpected[1] = 96;
    let results = [
        stream.receive(now, &[]),
        stream.receive(now, &[0; 12]),
        stream.receive(now, &[0x80; 9001]),
        stream.receive(now, &[0x80, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        stream.receive(now, &unexpected),
    ];
    assert!(matches!(results[0], Err(RtpError::Malformed(_))));
    assert!(matches!(results[1], Err(RtpError::Malformed(_))));
    assert!(matches!(
        results[2],
        Err(RtpError::TooLong {
            found: 9001,
            max: 9000
        })
    ));
    assert!(matches!(results[3], Err(RtpError::Rtcp)));
    assert!(matches!(
        results[4],
        Err(RtpError::PayloadType {
            found: 96,
            expected: 111
        })
    ));
    let stats = stream.stats();
    assert_eq!(
        (
            stats.dropped.malformed,
            stats.dropped.unexpected_payload_type,
            stats.dropped.rtcp,
            stats.received
        ),
        (3, 1, 1, 5)
    );
    assert_eq!(stream.timeout(), None);
    run(&mut stream, &sent);
    assert_eq!(stream.stats().received, 5 + sent.len() as u64);
}

#[test]
fn undecodable_payloads_are_concealed() {
    let mut sent = voice(&chord(96_000));
    for (n, junk) in [(31, &[0xFF][..]), (32, &[0x7B, 0xFF, 0xFF]), (60, &[3, 0])] {
        sent[n].bytes.truncate(12);
        sent[n].bytes.extend(junk);
    }
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &sent);
    let stats = stream.stats();
    assert_eq!(stats.dropped.undecodable, 3, "{stats:?}");
    crate::wire::assert_continuous(&out, 960);
    assert!(decode(&out).1.iter().all(|x| x.is_finite()));
}

#[test]
fn packets_that_the_caller_does_not_take_are_dropped_and_counted() {
    let sent = voice(&chord(720_000));
    let mut stream = stream().bypass(true).build().unwrap();
    for arrival in &sent {
        stream.receive(arrival.at, &arrival.bytes).unwrap();
        stream.drive(arrival.at);
    }
    assert!(stream.stats().dropped.overflow > 100);
    let mut packet = Vec::new();
    let left = std::iter::from_fn(|| stream.poll_packet(&mut packet).then_some(())).count();
    assert_eq!(left, 512);
}

#[test]
fn random_damage_never_breaks_the_order_of_sent_packets() {
    let sent = voice(&chord(192_000));
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut arriving: Vec<TimedPacket> = Vec::new();
        for packet in &sent {
            let mut packet = packet.clone();
            match random.bits() % 20 {
                0 => continue,
                1 => {
                    let at = random.bits() as usize % packet.bytes.len();
                    packet.bytes[at] ^= random.bits() as u8;
                }
                2 => packet.bytes.truncate(random.bits() as usize % 40),
                3 => arriving.push(packet.clone()),
                _ => {}
            }
            packet.at += Duration::from_millis(random.bits() % 50);
            arriving.push(packet);
        }
        arriving.sort_by_key(|sent| sent.at);
        let mut stream = stream().build().unwrap();
        let out = run_with(&mut stream, &arriving, |n, stream| {
            if n % 37 == 0 {
                stream.set_bypass(n % 74 == 0);
            }
        });
        assert!(out.len() > sent.len() / 2, "seed {seed}: {}", out.len());
        check_order(&out, &arriving);
        check_counts(&stream);
    }
}

/// Sequence numbers rise by one, or by more for packets lost while off. Timestamps are those received,
/// or those of lost packets, so a damaged one harms its packet only.
fn check_order(out: &[TimedPacket], arriving: &[TimedPacket]) {
    let timestamps: HashSet<u32> = arriving
        .iter()
        .filter_map(|sent| Some(Packet::parse(&sent.bytes).ok()?.timestamp()))
        .collect();
    let first = Packet::parse(&out[0].bytes).unwrap().timestamp();
    for pair in out.windows(2) {
        let [a, b] = [&pair[0], &pair[1]].map(|sent| Packet::parse(&sent.bytes).unwrap());
        let step = b.sequence().wrapping_sub(a.sequence());
        assert!((1..200).contains(&step), "{step}");
        let is_lost = b.timestamp().wrapping_sub(first).is_multiple_of(960);
        assert!(timestamps.contains(&b.timestamp()) || is_lost);
    }
}

fn datagrams() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    let arbitrary = proptest::collection::vec(any::<u8>(), 0..80);
    // Valid headers, to pass the first checks.
    let valid_header = (
        0u16..200,
        0u32..200,
        any::<bool>(),
        proptest::collection::vec(any::<u8>(), 0..60),
    );
    let valid_header = valid_header.prop_map(|(sequence, time, red, payload)| {
        let mut bytes = vec![0x80, if red { 63 } else { 111 }];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend((time * 960).to_be_bytes());
        bytes.extend([0, 0, 0, 1]);
        bytes.extend(payload);
        bytes
    });
    let one = (0u64..60, prop_oneof![1 => arbitrary, 4 => valid_header]);
    proptest::collection::vec(one, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_datagrams_at_any_times_do_not_panic(datagrams in datagrams(), off in any::<bool>()) {
        let mut stream = RtpDenoiser::builder(unity())
            .red_payload_type(Some(63))
            .bypass(off)
            .build()
            .unwrap();
        let mut now = Duration::ZERO;
        let mut packet = Vec::new();
        let mut out = Vec::new();
        for (wait, bytes) in datagrams {
            now += Duration::from_millis(wait);
            let _ = stream.receive(now, &bytes);
            stream.drive(now);
            while stream.poll_packet(&mut packet) {
                prop_assert!(Packet::parse(&packet).is_ok());
                out.push(TimedPacket { at: now, bytes: packet.clone() });
            }
        }
        for pair in out.windows(2) {
            let [a, b] = [&pair[0], &pair[1]].map(|sent| Packet::parse(&sent.bytes).unwrap());
            prop_assert!(b.sequence().wrapping_sub(a.sequence()) as i16 > 0);
        }
        check_counts(&stream);
    }
}
