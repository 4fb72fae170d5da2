//! Telephone events (RFC 4733): in one piece and in time, beside voice and in its place.

use std::time::Duration;

use quietwire::rtp::{Packet, RtpDenoiser};

use crate::wire::{FIRST, FRAMES, Numbers, Sent, chord, datagram, run, stream, voice};

const EVENT: u8 = 101;
const BEGIN: usize = 40;
const PACKETS: usize = 90;

/// A call in which a digit of `digit` packets is dialled, and the end of it told twice more.
fn call(digit: usize, beside_voice: bool) -> Vec<Sent> {
    let spoken = voice(&chord(PACKETS * FRAMES));
    let mut sent = Vec::new();
    for (n, spoken) in spoken.iter().enumerate() {
        let packet = Packet::parse(&spoken.bytes).unwrap();
        let timestamp = |n: usize| FIRST.timestamp.wrapping_add((n * FRAMES) as u32);
        let mut put = |payload_type, timestamp, payload: &[u8]| {
            let sequence = FIRST.sequence.wrapping_add(sent.len() as u16);
            let numbers = Numbers {
                payload_type,
                sequence,
                timestamp,
                ..FIRST
            };
            sent.push(Sent {
                at: spoken.at,
                bytes: datagram(numbers, payload),
            });
        };
        let is_dialled = (BEGIN..BEGIN + digit + 2).contains(&n);
        if is_dialled {
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
        if !is_dialled || beside_voice {
            put(packet.payload_type(), timestamp(n), packet.payload());
        }
    }
    sent
}

fn split(sent: &[Sent]) -> (Vec<&Sent>, Vec<&Sent>) {
    sent.iter()
        .partition(|sent| Packet::parse(&sent.bytes).unwrap().payload_type() == EVENT)
}

#[test]
fn a_digit_comes_out_whole_in_time_and_with_the_time_of_its_beginning() {
    for (digit, beside, off) in (1..=30)
        .step_by(4)
        .flat_map(|digit| [false, true].map(|beside| (digit, beside)))
        .flat_map(|(digit, beside)| [false, true].map(|off| (digit, beside, off)))
    {
        let case = format!("{digit} packets, beside voice: {beside}, off: {off}");
        let came = call(digit, beside);
        let builder = stream().bypass(off).relayed_payload_type(EVENT);
        let mut stream: RtpDenoiser = builder.build().unwrap();
        let went = run(&mut stream, &came);
        let ((events, spoken), (events_out, spoken_out)) = (split(&came), split(&went));
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
        // Every word that came goes out at its own time, but for what the delay still holds.
        let times = |sent: &[&Sent]| -> Vec<u32> {
            let times = sent.iter().map(|sent| Packet::parse(&sent.bytes).unwrap());
            times.map(|packet| packet.timestamp()).collect()
        };
        let out = times(&spoken_out);
        let missing: Vec<u32> = times(&spoken)
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
fn a_digit_that_ends_a_call_is_told_to_its_end() {
    let mut came = call(10, false);
    came.truncate(BEGIN + 12);
    let mut stream = stream().relayed_payload_type(EVENT).build().unwrap();
    let mut went = run(&mut stream, &came);
    while let Some(due) = stream.timeout() {
        stream.drive(due);
        let mut bytes = Vec::new();
        while stream.poll_packet(&mut bytes) {
            went.push(Sent {
                at: due,
                bytes: bytes.clone(),
            });
        }
    }
    assert_eq!(split(&went).0.len(), 12);
}

#[test]
fn words_before_a_lone_event_keep_their_time() {
    for off in [false, true] {
        let mut came = call(1, false);
        // Without those that tell the end again.
        came.retain(|sent| {
            let packet = Packet::parse(&sent.bytes).unwrap();
            packet.payload_type() != EVENT || packet.sequence() == FIRST.sequence.wrapping_add(40)
        });
        for (n, sent) in came.iter_mut().enumerate() {
            let sequence = FIRST.sequence.wrapping_add(n as u16);
            sent.bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
        }
        let builder = stream().bypass(off).relayed_payload_type(EVENT);
        let went = run(&mut builder.build().unwrap(), &came);
        let times = |sent: &[Sent]| -> Vec<u32> {
            let packets = sent.iter().map(|sent| Packet::parse(&sent.bytes).unwrap());
            let spoken = packets.filter(|packet| packet.payload_type() != EVENT);
            spoken.map(|packet| packet.timestamp()).collect()
        };
        let out = times(&went);
        let missing = times(&came).into_iter().filter(|at| !out.contains(at));
        assert_eq!(
            missing.count(),
            1,
            "off: {off}; all but what the delay holds"
        );
    }
}
