//! Loss, reordering, duplication, jitter and numbers that wrap, from seeds.

use std::time::Duration;

use opus::Channels;
use quietwire_rtp::{Packet, RtpError};

use crate::wire::{
    FRAMES, assert_continuous, chord, decode, encoder, error_db, packets, payloads, run, stream,
    voice,
};
use quietwire_testing::network::{NetworkEmulator, TimedPacket};

#[test]
fn reordered_packets_are_sent_as_if_received_in_order() {
    let sent = voice(&chord(192_000));
    let ordered = run(&mut stream().build().unwrap(), &sent);
    for seed in 0..10 {
        let network = NetworkEmulator {
            jitter: Duration::from_millis(45),
            duplication: 0.1,
            ..NetworkEmulator::default()
        };
        let (arriving, _) = network.carry(&sent, seed);
        let mut stream = stream()
            .reorder_timeout(Duration::from_millis(60))
            .build()
            .unwrap();
        let out = run(&mut stream, &arriving);
        let stats = stream.stats();
        assert_eq!(
            (stats.lost, stats.concealed, stats.dropped.probation),
            (0, 0, 0),
            "{stats:?}"
        );
        assert!(
            stats.dropped.duplicate + stats.dropped.late > 5
                && stats.received == arriving.len() as u64
        );
        let headers = |out: &[TimedPacket]| -> Vec<Vec<u8>> {
            out.iter().map(|sent| sent.bytes[..12].to_vec()).collect()
        };
        let len = out.len().min(ordered.len());
        assert!(sent.len() - len <= 1, "seed {seed}");
        assert!(
            headers(&out[..len]) == headers(&ordered[..len]),
            "seed {seed}"
        );
        // Packets that are overdue are filled for, which changes the audio around them a little.
        let ((_, a), (_, b)) = (decode(&out), decode(&ordered));
        let error = error_db(&a, &b);
        assert!(error < -15.0, "seed {seed}: {error} dB");
    }
}

#[test]
fn lost_packets_are_concealed_without_a_gap() {
    let signal = chord(480_000);
    let sent = voice(&signal);
    let (_, direct) = decode(&sent);
    for (seed, loss, burst) in [(1, 0.02, 1), (2, 0.1, 1), (3, 0.02, 4), (4, 0.3, 2)] {
        let network = NetworkEmulator {
            loss,
            burst_packets: burst,
            jitter: Duration::from_millis(15),
            duplication: 0.02,
        };
        let (arriving, lost) = network.carry(&sent, seed);
        let mut stream = stream().build().unwrap();
        let out = run(&mut stream, &arriving);
        // More than 200 ms in a row are not concealed.
        let skipped = lost_beyond(10, &sent, &arriving);
        let steps = out.windows(2).map(|pair| {
            let [a, b] = [&pair[0], &pair[1]].map(|sent| Packet::parse(&sent.bytes).unwrap());
            assert_eq!(b.sequence(), a.sequence().wrapping_add(1));
            b.timestamp().wrapping_sub(a.timestamp())
        });
        let jumps: u32 = steps.map(|step| step - FRAMES as u32).sum();
        assert_eq!(jumps as usize, skipped * FRAMES);
        assert!(
            out.len() + skipped + 1 >= sent.len(),
            "{} of {}",
            out.len(),
            sent.len()
        );
        let stats = stream.stats();
        assert_eq!(stats.lost, lost as u64, "{stats:?}");
        let concealed = (lost - skipped) as u64;
        assert_eq!(stats.concealed + stats.recovered, concealed, "{stats:?}");
        // The other windows match: no sample was lost or inserted.
        let (_, decoded) = decode(&out);
        let windows = (0..decoded.len() - 9600).step_by(2400);
        let errors: Vec<f32> = windows
            .map(|at| error_db(&decoded[at..at + 2400], &direct[at..at + 2400]))
            .collect();
        let good = errors.iter().filter(|error| **error < -9.0).count();
        let max_bad = 3 * lost; // windows that a lost packet touches, and the next
        assert!(
            good + max_bad >= errors.len(),
            "{good} of {} good, {lost} lost",
            errors.len()
        );
    }
}

/// Packets lost after the first `max` of a row.
fn lost_beyond(max: usize, sent: &[TimedPacket], arriving: &[TimedPacket]) -> usize {
    let arrives = |packet: &TimedPacket| arriving.iter().any(|other| other.bytes == packet.bytes);
    let (mut row, mut beyond) = (0, 0);
    for packet in sent {
        row = if arrives(packet) { 0 } else { row + 1 };
        beyond += usize::from(row > max);
    }
    beyond
}

#[test]
fn no_packet_waits_longer_than_the_reorder_timeout() {
    let sent = voice(&chord(192_000));
    let timeout = Duration::from_millis(30);
    let arriving: Vec<TimedPacket> = sent
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 7 != 6)
        .map(|(_, s)| s.clone())
        .collect();
    let mut stream = stream().reorder_timeout(timeout).build().unwrap();
    let out = run(&mut stream, &arriving);
    for sent_packet in &out {
        let at = Packet::parse(&sent_packet.bytes).unwrap().timestamp();
        let received = sent.iter().find(|received| {
            Packet::parse(&received.bytes).unwrap().timestamp() == at.wrapping_add(960)
        });
        let Some(received) = received else { continue };
        let next = Duration::from_millis(20);
        assert!(
            sent_packet.at <= received.at + timeout + next,
            "{:?} after {:?}",
            sent_packet.at,
            received.at
        );
    }
}

/// When the packet with the timestamp of packet `n` is sent.
fn sent_at(n: usize, out: &[TimedPacket], sent: &[TimedPacket]) -> Duration {
    let timestamp = |packet: &TimedPacket| Packet::parse(&packet.bytes).unwrap().timestamp();
    let wanted = timestamp(&sent[n]);
    let packet = out.iter().find(|packet| timestamp(packet) == wanted);
    packet.unwrap().at
}

#[test]
fn a_missing_packet_is_waited_for_as_long_as_the_reorder_timeout() {
    let sent = voice(&chord(96_000));
    for timeout_ms in [0, 40, 200, 500] {
        let timeout = Duration::from_millis(timeout_ms);
        let mut arriving = sent.clone();
        arriving.remove(50);
        let mut stream = stream().reorder_timeout(timeout).build().unwrap();
        let out = run(&mut stream, &arriving);
        let at = sent_at(50, &out, &sent);
        assert_eq!(at, sent[51].at + timeout, "{timeout_ms} ms");
        assert_eq!(stream.stats().lost, 1);
    }
}

#[test]
fn the_reorder_timeout_starts_with_the_first_packet_after_the_missing_one() {
    let sent = voice(&chord(48_000));
    let timeout = Duration::from_millis(40);
    let mut arriving = sent[..6].to_vec();
    let later = sent[6].at;
    // Packet 6 is missing, and the packets after it arrive in reverse order.
    for (n, packet) in [11, 10, 9, 8, 7].into_iter().enumerate() {
        arriving.push(TimedPacket {
            at: later + Duration::from_millis(30) * n as u32,
            bytes: sent[packet].bytes.clone(),
        });
    }
    let mut stream = stream().reorder_timeout(timeout).build().unwrap();
    let out = run(&mut stream, &arriving);
    assert_eq!(sent_at(6, &out, &sent), later + timeout);
}

#[test]
fn in_band_fec_recovers_lost_packets() {
    let signal = chord(192_000);
    let mut coder = encoder(Channels::Mono);
    coder.set_bitrate(opus::Bitrate::Bits(24_000)).unwrap();
    coder.set_inband_fec(true).unwrap();
    coder.set_packet_loss_perc(25).unwrap();
    let sent = packets(&payloads(&signal, FRAMES, &mut coder), FRAMES);
    let arriving: Vec<TimedPacket> = sent
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 6 != 5)
        .map(|(_, s)| s.clone())
        .collect();
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &arriving);
    assert_continuous(&out, FRAMES);
    let stats = stream.stats();
    assert!(stats.recovered > stats.lost / 2, "{stats:?}");
}

#[test]
fn another_source_continues_the_timeline_of_the_first() {
    let signal = chord(96_000);
    let first = voice(&signal);
    let mut second = voice(&signal);
    for (n, sent) in second.iter_mut().enumerate() {
        sent.at += Duration::from_millis(2000);
        sent.bytes[2..4].copy_from_slice(&(7000 + n as u16).to_be_bytes());
        sent.bytes[4..8].copy_from_slice(&(99_000 + (n * FRAMES) as u32).to_be_bytes());
        sent.bytes[8..12].copy_from_slice(&[9, 9, 9, 9]);
    }
    let arriving: Vec<TimedPacket> = first.iter().chain(&second).cloned().collect();
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &arriving);
    let stats = stream.stats();
    assert_eq!(
        (stats.restarts, stats.dropped.probation),
        (1, 1),
        "{stats:?}"
    );
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
fn single_packets_on_probation_change_nothing() {
    let sent = voice(&chord(96_000));
    let plain = run(&mut stream().build().unwrap(), &sent);
    let mut arriving = sent.clone();
    for (n, (place, change)) in [(20, 8), (40, 2), (60, 9)].into_iter().enumerate() {
        let mut damaged = sent[place + n].clone();
        damaged.bytes[change] ^= 0x55;
        damaged.at = arriving[place + n].at;
        arriving.insert(place + n, damaged);
    }
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &arriving);
    let stats = stream.stats();
    assert_eq!(stats.restarts, 0, "{stats:?}");
    assert!(stats.dropped.probation >= 2, "{stats:?}");
    let bytes =
        |sent: &[TimedPacket]| -> Vec<Vec<u8>> { sent.iter().map(|s| s.bytes.clone()).collect() };
    assert!(bytes(&out) == bytes(&plain));
}

#[test]
fn timestamps_that_jump_are_sent_as_they_are() {
    let mut sent = voice(&chord(96_000));
    for sent in &mut sent[50..] {
        let at = u32::from_be_bytes(sent.bytes[4..8].try_into().unwrap());
        sent.bytes[4..8].copy_from_slice(&at.wrapping_add(0x7000_0000).to_be_bytes());
    }
    let mut stream = stream().build().unwrap();
    let out = run(&mut stream, &sent);
    assert_eq!(stream.stats().restarts, 0);
    assert_eq!(out.len(), sent.len() - 1);
    for (received, sent_packet) in sent.iter().zip(&out) {
        assert_eq!(
            received.bytes[2..8],
            sent_packet.bytes[2..8],
            "sequence number and timestamp"
        );
    }
}

#[test]
fn timestamps_that_slip_by_less_than_a_packet_do_not_restart_the_stream() {
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
        let stats = stream.stats();
        assert_eq!((stats.failed, stats.restarts), (0, 0), "{slip}: {stats:?}");
        let times = |sent: &[TimedPacket]| -> Vec<u32> {
            let packets = sent.iter().map(|sent| Packet::parse(&sent.bytes).unwrap());
            packets.map(|packet| packet.timestamp()).collect()
        };
        let out = times(&out);
        let missing = times(&sent).into_iter().filter(|at| !out.contains(at));
        // The delayed packet at the end, and a packet whose timestamp the slip moved.
        assert!(missing.count() <= 2, "{slip}");
    }
}

#[test]
fn a_late_packet_is_reported() {
    let sent = voice(&chord(48_000));
    let mut stream = stream().build().unwrap();
    run(&mut stream, &sent[..20]);
    let late = stream.receive(sent[20].at, &sent[3].bytes);
    assert!(matches!(late, Err(RtpError::Late { .. })));
    assert_eq!(stream.stats().dropped.late, 1);
}
