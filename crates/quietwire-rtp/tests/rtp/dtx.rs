//! DTX on the received and the sent side: silence without packets, and the speech after it.

use std::time::Duration;

use opus::Channels;
use quietwire_rtp::{Packet, RtpDenoiser};

use quietwire_testing::network::TimedPacket;

use crate::wire::{
    FRAMES, base, chord, decode, encoder, error_db, packets, payloads, rms_db, run, stream,
};

/// Bursts: half a second of audio, then a second and a half of silence.
fn bursts(seconds: usize) -> Vec<f32> {
    let mut signal = chord(seconds * 48_000);
    for (n, x) in signal.iter_mut().enumerate() {
        if n % 96_000 >= 24_000 {
            *x = 0.0;
        }
    }
    signal
}

/// The packets of a sender with DTX: consecutive sequence numbers, timestamps with jumps.
fn with_dtx(signal: &[f32]) -> Vec<TimedPacket> {
    let mut coder = encoder(Channels::Mono);
    coder.set_bitrate(opus::Bitrate::Bits(24_000)).unwrap();
    coder.set_dtx(true).unwrap();
    let all = packets(&payloads(signal, FRAMES, &mut coder), FRAMES);
    let wanted = all.into_iter().filter(|sent| sent.bytes.len() > 14);
    wanted
        .enumerate()
        .map(|(n, mut sent)| {
            let sequence = crate::wire::FIRST.sequence.wrapping_add(n as u16);
            sent.bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
            sent
        })
        .collect()
}

#[test]
fn unsent_silence_is_not_loss_and_bursts_after_it_are_complete() {
    let signal = bursts(8);
    let sent = with_dtx(&signal);
    assert!(
        sent.len() < 300,
        "{} packets: the sender does not send silence",
        sent.len()
    );
    let (_, direct) = decode(&sent);
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &sent);
    let stats = stream.stats();
    assert_eq!(
        (stats.lost, stats.restarts, stats.dropped.late),
        (0, 0, 0),
        "{stats:?}"
    );
    let (_, decoded) = decode(&out);
    for burst in 1..4 {
        // From the first sample of the burst.
        let at = burst * 96_000;
        let (a, b) = (&decoded[at..at + 12_000], &direct[at..at + 12_000]);
        assert!((rms_db(a) - rms_db(b)).abs() < 1.0, "burst {burst}");
        let error = error_db(a, b);
        assert!(error < -8.0, "burst {burst}: {error} dB");
    }
    let times = out
        .iter()
        .map(|sent| Packet::parse(&sent.bytes).unwrap().timestamp());
    let times: Vec<u32> = times.collect();
    assert!(
        times
            .windows(2)
            .all(|pair| pair[1].wrapping_sub(pair[0]) as i32 >= 960)
    );
}

#[test]
fn with_dtx_silence_is_not_sent_and_onsets_are_complete() {
    let signal = bursts(8);
    let sent = crate::wire::voice(&signal);
    let (_, direct) = decode(&sent);
    let mut stream = stream().dtx(true).bitrate_bps(24_000).build().unwrap();
    let out = run(&mut stream, &sent);
    assert!(
        out.len() < sent.len() * 2 / 3,
        "{} of {}",
        out.len(),
        sent.len()
    );
    let packets: Vec<Packet> = out
        .iter()
        .map(|sent| Packet::parse(&sent.bytes).unwrap())
        .collect();
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        let jump = pair[1].timestamp().wrapping_sub(pair[0].timestamp()) > 960;
        assert_eq!(
            pair[1].marker(),
            jump,
            "the first packet after a silence has the marker bit"
        );
    }
    let (_, decoded) = decode(&out);
    for burst in 1..4 {
        let at = burst * 96_000;
        let (a, b) = (&decoded[at..at + 2400], &direct[at..at + 2400]);
        assert!(
            (rms_db(a) - rms_db(b)).abs() < 2.0,
            "onset of burst {burst}"
        );
    }
}

#[test]
fn after_a_sender_pauses_the_stream_pauses_too() {
    let signal = chord(48_000);
    let mut sent = crate::wire::voice(&signal);
    let mut later = sent.clone();
    let count = later.len();
    for (n, sent) in later.iter_mut().enumerate() {
        sent.at += Duration::from_secs(30);
        let sequence = crate::wire::FIRST.sequence.wrapping_add((count + n) as u16);
        sent.bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
        let at = crate::wire::FIRST
            .timestamp
            .wrapping_add((30 * 48_000 + n * FRAMES) as u32);
        sent.bytes[4..8].copy_from_slice(&at.to_be_bytes());
    }
    sent.extend(later);
    let mut stream = RtpDenoiser::builder(base()).build().unwrap();
    let out = run(&mut stream, &sent);
    assert!(
        out.len() < sent.len() + 20,
        "{} for {}",
        out.len(),
        sent.len()
    );
    assert_eq!(stream.stats().restarts, 0);
    let jumps = out.windows(2).filter(|pair| {
        let [a, b] = [&pair[0], &pair[1]].map(|s| Packet::parse(&s.bytes).unwrap().timestamp());
        b.wrapping_sub(a) != 960
    });
    assert_eq!(jumps.count(), 1);
}
