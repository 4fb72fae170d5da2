//! Silence that is not sent, in and out, and the words after it.

use std::time::Duration;

use opus::Channels;
use quietwire::rtp::{Packet, RtpDenoiser};

use crate::wire::{
    FRAMES, Sent, base, chord, encoder, error_db, hear, packets, payloads, rms_db, run, stream,
};

/// Half a second of sound, a second and a half of silence, again and again.
fn words(seconds: usize) -> Vec<f32> {
    let mut signal = chord(seconds * 48_000);
    for (n, x) in signal.iter_mut().enumerate() {
        if n % 96_000 >= 24_000 {
            *x = 0.0;
        }
    }
    signal
}

/// As a sender with DTX sends it: numbers go on, times jump.
fn with_dtx(signal: &[f32]) -> Vec<Sent> {
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
fn silence_that_was_not_sent_is_no_loss_and_words_after_it_are_whole() {
    let signal = words(8);
    let sent = with_dtx(&signal);
    assert!(
        sent.len() < 300,
        "{} packets: the sender keeps silent",
        sent.len()
    );
    let (_, direct) = hear(&sent);
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &sent);
    let counts = stream.counts();
    assert_eq!(
        (counts.lost, counts.restarts, counts.late),
        (0, 0, 0),
        "{counts:?}"
    );
    let (_, heard) = hear(&out);
    let heard = &heard[960..];
    for word in 1..4 {
        // From the very onset.
        let at = word * 96_000;
        let (a, b) = (&heard[at..at + 12_000], &direct[at..at + 12_000]);
        assert!((rms_db(a) - rms_db(b)).abs() < 1.0, "word {word}");
        let error = error_db(a, b);
        assert!(error < -8.0, "word {word}: {error} dB");
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
fn with_dtx_out_silence_is_not_sent_and_onsets_are_whole() {
    let signal = words(8);
    let sent = crate::wire::voice(&signal);
    let (_, direct) = hear(&sent);
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
            "the first after a silence is marked"
        );
    }
    let (_, heard) = hear(&out);
    let heard = &heard[960..];
    for word in 1..4 {
        let at = word * 96_000;
        let (a, b) = (&heard[at..at + 2400], &direct[at..at + 2400]);
        assert!((rms_db(a) - rms_db(b)).abs() < 2.0, "onset of word {word}");
    }
}

#[test]
fn a_sender_that_pauses_leaves_no_endless_stream_behind() {
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
    assert_eq!(stream.counts().restarts, 0);
    let jumps = out.windows(2).filter(|pair| {
        let [a, b] = [&pair[0], &pair[1]].map(|s| Packet::parse(&s.bytes).unwrap().timestamp());
        b.wrapping_sub(a) != 960
    });
    assert_eq!(jumps.count(), 1);
}
