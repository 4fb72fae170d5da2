//! Loss, reordering, repetition, jitter, wrapping numbers: seeded.

use std::time::Duration;

use opus::Channels;
use quietwire::rtp::{Packet, RtpError};

use crate::noise::Dice;
use crate::wire::{
    FRAMES, Sent, assert_continuous, chord, encoder, error_db, hear, packets, payloads, run,
    stream, voice,
};

/// What a network does to packets.
#[derive(Default)]
struct Network {
    loss: f64,
    /// packets that are lost together
    burst: usize,
    repeat: f64,
    jitter: Duration,
}

impl Network {
    fn carry(&self, sent: &[Sent], seed: u64) -> (Vec<Sent>, usize) {
        let mut dice = Dice::new(seed);
        let (mut arriving, mut lost) = (Vec::new(), 0usize);
        let mut losing = 0;
        for (n, packet) in sent.iter().enumerate() {
            if losing == 0 && n > 5 && n + 10 < sent.len() && dice.share() < self.loss {
                losing = self.burst.max(1);
            }
            if losing > 0 {
                losing -= 1;
                lost += 1;
                continue;
            }
            let copies = if dice.share() < self.repeat { 2 } else { 1 };
            for _ in 0..copies {
                // The stream begins with the first that comes.
                let jitter = if n < 5 { Duration::ZERO } else { self.jitter };
                let at = packet.at + jitter.mul_f64(dice.share());
                arriving.push(Sent {
                    at,
                    bytes: packet.bytes.clone(),
                });
            }
        }
        arriving.sort_by_key(|sent| sent.at);
        (arriving, lost)
    }
}

#[test]
fn packets_in_any_order_come_out_as_if_they_had_come_in_order() {
    let sent = voice(&chord(192_000));
    let ordered: Vec<Vec<u8>> = run(&mut stream().build().unwrap(), &sent)
        .into_iter()
        .map(|sent| sent.bytes)
        .collect();
    for seed in 0..10 {
        let network = Network {
            jitter: Duration::from_millis(45),
            repeat: 0.1,
            ..Network::default()
        };
        let (arriving, _) = network.carry(&sent, seed);
        let mut stream = stream().hold(Duration::from_millis(60)).build().unwrap();
        let out: Vec<Vec<u8>> = run(&mut stream, &arriving)
            .into_iter()
            .map(|sent| sent.bytes)
            .collect();
        let counts = stream.counts();
        assert_eq!(
            (counts.lost, counts.concealed, counts.strange),
            (0, 0, 0),
            "{counts:?}"
        );
        assert!(counts.duplicate + counts.late > 5 && counts.received == sent.len() as u64);
        assert!(out == ordered, "seed {seed}");
    }
}

#[test]
fn what_is_lost_is_made_up_in_time_and_in_number() {
    let signal = chord(480_000);
    let sent = voice(&signal);
    let (_, direct) = hear(&sent);
    for (seed, loss, burst) in [(1, 0.02, 1), (2, 0.1, 1), (3, 0.02, 4), (4, 0.3, 2)] {
        let network = Network {
            loss,
            burst,
            jitter: Duration::from_millis(15),
            repeat: 0.02,
        };
        let (arriving, lost) = network.carry(&sent, seed);
        let mut stream = stream().build().unwrap();
        let out = run(&mut stream, &arriving);
        assert_continuous(&out, FRAMES);
        assert!(
            out.len() + 2 >= sent.len(),
            "{} of {}",
            out.len(),
            sent.len()
        );
        let counts = stream.counts();
        assert_eq!(counts.lost, lost as u64, "{counts:?}");
        assert_eq!(
            counts.concealed + counts.recovered,
            lost as u64,
            "{counts:?}"
        );
        // The rest is where it was: no sample was lost or added.
        let (_, heard) = hear(&out);
        let heard = &heard[960..];
        let windows = (0..heard.len() - 9600).step_by(2400);
        let errors: Vec<f32> = windows
            .map(|at| error_db(&heard[at..at + 2400], &direct[at..at + 2400]))
            .collect();
        let good = errors.iter().filter(|error| **error < -9.0).count();
        let most_lost = 3 * lost; // windows that a lost packet touches, and the one after
        assert!(
            good + most_lost >= errors.len(),
            "{good} of {} good, {lost} lost",
            errors.len()
        );
    }
}

#[test]
fn no_packet_waits_longer_than_the_bound() {
    let sent = voice(&chord(192_000));
    let hold = Duration::from_millis(30);
    let arriving: Vec<Sent> = sent
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 7 != 6)
        .map(|(_, s)| s.clone())
        .collect();
    let mut stream = stream().hold(hold).build().unwrap();
    let out = run(&mut stream, &arriving);
    for went in &out {
        let at = Packet::parse(&went.bytes).unwrap().timestamp();
        let came = sent
            .iter()
            .find(|came| Packet::parse(&came.bytes).unwrap().timestamp() == at.wrapping_add(960));
        let Some(came) = came else { continue };
        let next = Duration::from_millis(20);
        assert!(
            went.at <= came.at + hold + next,
            "{:?} after {:?}",
            went.at,
            came.at
        );
    }
}

#[test]
fn in_band_fec_brings_back_what_was_lost() {
    let signal = chord(192_000);
    let mut coder = encoder(Channels::Mono);
    coder.set_bitrate(opus::Bitrate::Bits(24_000)).unwrap();
    coder.set_inband_fec(true).unwrap();
    coder.set_packet_loss_perc(25).unwrap();
    let sent = packets(&payloads(&signal, FRAMES, &mut coder), FRAMES);
    let arriving: Vec<Sent> = sent
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 6 != 5)
        .map(|(_, s)| s.clone())
        .collect();
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &arriving);
    assert_continuous(&out, FRAMES);
    let counts = stream.counts();
    assert!(counts.recovered > counts.lost / 2, "{counts:?}");
}

#[test]
fn another_source_goes_on_where_the_first_ended() {
    let signal = chord(96_000);
    let first = voice(&signal);
    let mut second = voice(&signal);
    for (n, sent) in second.iter_mut().enumerate() {
        sent.at += Duration::from_millis(2000);
        sent.bytes[2..4].copy_from_slice(&(7000 + n as u16).to_be_bytes());
        sent.bytes[4..8].copy_from_slice(&(99_000 + (n * FRAMES) as u32).to_be_bytes());
        sent.bytes[8..12].copy_from_slice(&[9, 9, 9, 9]);
    }
    let arriving: Vec<Sent> = first.iter().chain(&second).cloned().collect();
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &arriving);
    let counts = stream.counts();
    assert_eq!((counts.restarts, counts.strange), (1, 1), "{counts:?}");
    let packets: Vec<Packet> = out
        .iter()
        .map(|sent| Packet::parse(&sent.bytes).unwrap())
        .collect();
    assert!(
        packets
            .iter()
            .all(|packet| packet.ssrc() == packets[0].ssrc())
    );
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        let step = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
        assert!((960..=9600).contains(&step), "{step}");
    }
    let (begin, end) = (
        packets[0].timestamp(),
        packets[packets.len() - 1].timestamp(),
    );
    let length = end.wrapping_sub(begin) as i64;
    assert!((length - 192_000).abs() < 4 * 960, "{length}");
}

#[test]
fn one_strange_packet_changes_nothing() {
    let sent = voice(&chord(96_000));
    let plain = run(&mut stream().build().unwrap(), &sent);
    let mut arriving = sent.clone();
    for (n, (place, change)) in [(20, 8), (40, 2), (60, 9)].into_iter().enumerate() {
        let mut strange = sent[place + n].clone();
        strange.bytes[change] ^= 0x55;
        arriving.insert(place + n, strange);
    }
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &arriving);
    let counts = stream.counts();
    assert_eq!(counts.restarts, 0, "{counts:?}");
    assert!(counts.strange >= 2, "{counts:?}");
    let bytes = |sent: &[Sent]| -> Vec<Vec<u8>> { sent.iter().map(|s| s.bytes.clone()).collect() };
    assert!(bytes(&out) == bytes(&plain));
}

#[test]
fn timestamps_that_jump_for_no_reason_are_mended() {
    let mut sent = voice(&chord(96_000));
    for sent in &mut sent[50..] {
        let at = u32::from_be_bytes(sent.bytes[4..8].try_into().unwrap());
        sent.bytes[4..8].copy_from_slice(&at.wrapping_add(0x7000_0000).to_be_bytes());
    }
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &sent);
    assert_continuous(&out, FRAMES);
    assert_eq!(stream.counts().restarts, 1);
}

#[test]
fn timestamps_that_slip_by_less_than_a_packet_break_nothing() {
    for (slip, lost) in [(10, None), (10, Some(49)), (480, None), (961, Some(49))] {
        let mut sent = voice(&chord(96_000));
        for sent in &mut sent[50..] {
            let at = u32::from_be_bytes(sent.bytes[4..8].try_into().unwrap());
            sent.bytes[4..8].copy_from_slice(&at.wrapping_add(slip).to_be_bytes());
        }
        if let Some(lost) = lost {
            sent.remove(lost);
        }
        let mut stream = stream().build().unwrap();
        let out = run(&mut stream, &sent);
        let counts = stream.counts();
        assert_eq!(
            (counts.failed, counts.restarts),
            (0, 0),
            "{slip}: {counts:?}"
        );
        let times = |sent: &[Sent]| -> Vec<u32> {
            let packets = sent.iter().map(|sent| Packet::parse(&sent.bytes).unwrap());
            packets.map(|packet| packet.timestamp()).collect()
        };
        let out = times(&out);
        let missing = times(&sent).into_iter().filter(|at| !out.contains(at));
        // What the delay holds at the end, and a packet whose time the slip moved.
        assert!(missing.count() <= 2, "{slip}");
    }
}

#[test]
fn a_late_packet_says_so() {
    let sent = voice(&chord(48_000));
    let mut stream = stream().build().unwrap();
    run(&mut stream, &sent[..20]);
    let late = stream.receive(sent[20].at, &sent[3].bytes);
    assert!(matches!(late, Err(RtpError::Late { .. })));
    assert_eq!(stream.counts().late, 1);
}
