//! Telephone events (RFC 4733) beside audio packets and instead of them: complete and in time.

use std::time::Duration;

use quietwire_rtp::{Packet, RtpDenoiser};

use quietwire_testing::network::TimedPacket;

use crate::wire::{FIRST, FRAMES, HeaderNumbers, chord, datagram, drain, run, stream, voice};

const EVENT: u8 = 101;
const BEGIN: usize = 40;
const PACKETS: usize = 90;

/// A call with one event of `digit` packets, whose end is repeated twice.
fn call(digit: usize, beside_audio: bool) -> Vec<TimedPacket> {
    let audio = voice(&chord(PACKETS * FRAMES));
    let mut sent = Vec::new();
    for (n, audio) in audio.iter().enumerate() {
        let packet = Packet::parse(&audio.bytes).unwrap();
        let timestamp = |n: usize| FIRST.timestamp.wrapping_add((n * FRAMES) as u32);
        let mut put = |payload_type, timestamp, payload: &[u8]| {
            let sequence = FIRST.sequence.wrapping_add(sent.len() as u16);
            let numbers = HeaderNumbers {
                payload_type,
                sequence,
                timestamp,
                ..FIRST
            };
            sent.push(TimedPacket {
                at: audio.at,
                bytes: datagram(numbers, payload),
            });
        };
        let has_event = (BEGIN..BEGIN + digit + 2).contains(&n);
        if has_event {
            let place = n - BEGIN;
            let is_end = place + 1 >= digit;
            let length = ((place + 1).min(digit) * FRAMES) as u16;
            let [high, low] = length.to_be_bytes();
            put(
                EVENT,
                timestamp(BEGIN),
                &[5, 10 | u8::from(is_end) << 7, high, low],
            );
        }
        if !has_event || beside_audio {
            put(packet.payload_type(), timestamp(n), packet.payload());
        }
    }
    sent
}

fn split(sent: &[TimedPacket]) -> (Vec<&TimedPacket>, Vec<&TimedPacket>) {
    sent.iter()
        .partition(|sent| Packet::parse(&sent.bytes).unwrap().payload_type() == EVENT)
}

#[test]
fn an_event_is_sent_complete_in_time_and_with_its_start_timestamp() {
    for (digit, beside, off) in (1..=30)
        .step_by(4)
        .flat_map(|digit| [false, true].map(|beside| (digit, beside)))
        .flat_map(|(digit, beside)| [false, true].map(|off| (digit, beside, off)))
    {
        let case = format!("{digit} packets, beside audio: {beside}, off: {off}");
        let received = call(digit, beside);
        let builder = stream().bypass(off).passthrough_payload_type(EVENT);
        let mut stream: RtpDenoiser = builder.build().unwrap();
        let sent_packet = run(&mut stream, &received);
        let ((events, audio), (events_out, audio_out)) = (split(&received), split(&sent_packet));
        assert_eq!(events.len(), events_out.len(), "{case}");
        for (event, out) in events.iter().zip(events_out) {
            let [a, b] = [*event, out].map(|sent| Packet::parse(&sent.bytes).unwrap());
            assert_eq!(
                (a.payload(), a.timestamp()),
                (b.payload(), b.timestamp()),
                "{case}"
            );
            let late = out.at.saturating_sub(event.at);
            assert!(late <= Duration::from_millis(65), "{case}: {late:?}");
        }
        // Every audio packet is sent with its own timestamp, except the one that is still delayed.
        let times = |sent: &[&TimedPacket]| -> Vec<u32> {
            let times = sent.iter().map(|sent| Packet::parse(&sent.bytes).unwrap());
            times.map(|packet| packet.timestamp()).collect()
        };
        let out = times(&audio_out);
        let missing: Vec<u32> = times(&audio)
            .into_iter()
            .filter(|t| !out.contains(t))
            .collect();
        assert_eq!(missing.len(), 1, "{case}: {missing:?}");
        let ordered = out
            .windows(2)
            .all(|pair| (pair[1].wrapping_sub(pair[0]) as i32) > 0);
        assert!(ordered, "{case}: {out:?}");
    }
}

#[test]
fn an_event_at_the_end_of_a_call_is_sent_to_its_end() {
    let mut received = call(10, false);
    received.truncate(BEGIN + 12);
    let mut stream = stream().passthrough_payload_type(EVENT).build().unwrap();
    let mut sent_packet = run(&mut stream, &received);
    sent_packet.extend(drain(&mut stream));
    assert_eq!(split(&sent_packet).0.len(), 12);
}

#[test]
fn audio_before_a_single_event_keeps_its_timestamps() {
    for off in [false, true] {
        let mut received = call(1, false);
        // Without the repetitions of its end.
        received.retain(|sent| {
            let packet = Packet::parse(&sent.bytes).unwrap();
            packet.payload_type() != EVENT || packet.sequence() == FIRST.sequence.wrapping_add(40)
        });
        for (n, sent) in received.iter_mut().enumerate() {
            let sequence = FIRST.sequence.wrapping_add(n as u16);
            sent.bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
        }
        let builder = stream().bypass(off).passthrough_payload_type(EVENT);
        let sent_packet = run(&mut builder.build().unwrap(), &received);
        let times = |sent: &[TimedPacket]| -> Vec<u32> {
            let packets = sent.iter().map(|sent| Packet::parse(&sent.bytes).unwrap());
            let audio = packets.filter(|packet| packet.payload_type() != EVENT);
            audio.map(|packet| packet.timestamp()).collect()
        };
        let out = times(&sent_packet);
        let missing = times(&received).into_iter().filter(|at| !out.contains(at));
        assert_eq!(
            missing.count(),
            1,
            "off: {off}: only the delayed packet is missing"
        );
    }
}
