//! One hour of a sender that does everything senders do, over a network that does everything networks
//! do. The law: the timestamp of sent audio is that of the same audio received, and every packet
//! received is sent, replaced or counted by reason.

use std::collections::HashMap;
use std::time::Duration;

use quietwire_rtp::{Codec, Packet, RtpDenoiser};
use quietwire_testing::Random;
use quietwire_testing::network::TimedPacket;

use crate::wire::{FIRST, HeaderNumbers, check_counts, datagram, stream};

const RATE_HZ: u64 = 48_000;
const CODEC: Codec = Codec::L16 { rate_hz: 48_000 };
const AUDIO: u8 = 96;
const RED: u8 = 63;
const EVENT: u8 = 101;

/// A sender that changes its habits every few seconds.
struct Sender {
    random: Random,
    /// true time of the next sample
    samples: u64,
    sequence: u16,
    /// timestamp of a clock of another rate
    clock_ticks: f64,
    frames: u64,
    rounding: Rounding,
    red: bool,
    /// payloads and true timestamps of the latest packets
    sent: Vec<(u32, Vec<u8>)>,
    packets: Vec<TimedPacket>,
}

#[derive(Clone, Copy)]
enum Rounding {
    None,
    OneTickEarly,
    /// up to most of a packet, both ways
    Jitter,
    /// steps of 6 ticks
    Steps,
    /// a clock with another rate
    Clock(f64),
}

impl Sender {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            samples: 0,
            sequence: FIRST.sequence,
            clock_ticks: 0.0,
            frames: 960,
            rounding: Rounding::None,
            red: false,
            sent: Vec::new(),
            packets: Vec::new(),
        }
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.bits().is_multiple_of(n)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.bits() % n
    }

    fn change_habits(&mut self) {
        self.frames = [480, 480, 960, 960, 960, 1920, 2880][self.below(7) as usize];
        self.red = self.frames == 480 && self.one_in(2);
        self.rounding = match self.below(6) {
            0 => Rounding::OneTickEarly,
            1 => Rounding::Jitter,
            2 => Rounding::Steps,
            3 => Rounding::Clock([1.0 / 6.0, 0.5, 44.1 / 48.0, 1.875][self.below(4) as usize]),
            _ => Rounding::None,
        };
        // The clock continues where it is.
        self.clock_ticks = self.samples as f64;
    }

    fn timestamp(&mut self) -> u32 {
        let ticks = match self.rounding {
            Rounding::None => self.samples as i64,
            Rounding::OneTickEarly => self.samples as i64 - 1,
            Rounding::Jitter => {
                let range = 2 * self.frames - 2;
                self.samples as i64 + self.below(range) as i64 - range as i64 / 2
            }
            Rounding::Steps => (self.samples / 6 * 6) as i64,
            Rounding::Clock(_) => self.clock_ticks as i64,
        };
        FIRST.timestamp.wrapping_add(ticks as u32)
    }

    fn put(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let numbers = HeaderNumbers {
            payload_type,
            sequence: self.sequence,
            timestamp,
            ..FIRST
        };
        self.sequence = self.sequence.wrapping_add(1);
        let seconds = self.samples as f64 / RATE_HZ as f64;
        self.packets.push(TimedPacket {
            at: Duration::from_secs_f64(1.0 + seconds),
            bytes: datagram(numbers, payload),
        });
    }

    fn audio_packet(&mut self) {
        let timestamp = self.timestamp();
        let frames = self.frames as usize;
        // Noise that identifies the packet.
        let mut noise = Random::new(u64::from(timestamp) << 20 | self.samples);
        let mut level = 0.0f64;
        let payload: Vec<u8> = (0..frames)
            .flat_map(|_| {
                level += 0.1 * (noise.uniform() - 0.5 - level);
                ((level * 30_000.0) as i16).to_be_bytes()
            })
            .collect();
        self.samples += self.frames;
        self.clock_ticks += match self.rounding {
            Rounding::Clock(ratio) => self.frames as f64 * ratio,
            _ => self.frames as f64,
        };
        let fits = self.sent.iter().all(|(old, bytes)| {
            timestamp.wrapping_sub(*old).wrapping_sub(1) < 16_383 && bytes.len() < 1024
        });
        if self.red && fits {
            let mut red = Vec::new();
            for (old, bytes) in &self.sent {
                let offset = timestamp.wrapping_sub(*old);
                red.extend([0x80 | AUDIO, (offset >> 6) as u8]);
                red.extend([
                    (offset << 2) as u8 | (bytes.len() >> 8) as u8,
                    bytes.len() as u8,
                ]);
            }
            red.push(AUDIO);
            for (_, bytes) in &self.sent {
                red.extend(bytes);
            }
            red.extend(&payload);
            self.put(RED, timestamp, &red);
        } else {
            self.put(AUDIO, timestamp, &payload);
        }
        self.sent.push((timestamp, payload));
        let keep = self.sent.len().saturating_sub(2);
        self.sent.drain(..keep);
    }

    fn step(&mut self) {
        if self.one_in(300) {
            self.change_habits();
        }
        self.audio_packet();
        if self.one_in(150) {
            // Silence that is not sent.
            let pause = self.frames * (1 + self.below(100));
            self.samples += pause;
            self.clock_ticks += pause as f64;
        }
        if self.one_in(80) {
            let timestamp = self.timestamp();
            match self.below(3) {
                0 => self.put(AUDIO, timestamp, &[]),
                1 => self.put(13, timestamp, &[50]),
                _ => self.put(EVENT, timestamp, &[5, 10, 0, 160]),
            }
        }
    }
}

/// Loss, outages, stalls, reordering and duplicates.
fn carry(sent: &[TimedPacket], seed: u64) -> Vec<TimedPacket> {
    let mut random = Random::new(seed);
    let mut arriving = Vec::new();
    let (mut outage, mut stalled_until) = (0, Duration::ZERO);
    for packet in sent {
        if random.bits().is_multiple_of(3000) {
            outage = 1 + random.bits() % 1000;
        }
        if random.bits().is_multiple_of(2000) {
            stalled_until = packet.at + Duration::from_millis(random.bits() % 1500);
        }
        if outage > 0 || random.bits().is_multiple_of(70) {
            outage = u64::saturating_sub(outage, 1);
            continue;
        }
        let jitter = Duration::from_micros(random.bits() % 30_000);
        let mut packet = packet.clone();
        packet.at = (packet.at + jitter).max(stalled_until);
        if random.bits().is_multiple_of(60) {
            arriving.push(packet.clone());
        }
        arriving.push(packet);
    }
    arriving.sort_by_key(|packet| packet.at);
    arriving
}

/// What a stream did with the arriving packets.
#[derive(Default)]
struct Record {
    /// timestamp and payload of the packets sent
    sent: Vec<(u32, Vec<u8>)>,
    /// packets of other payload types sent
    others: u64,
    largest_delay: Duration,
}

fn pass(stream: &mut RtpDenoiser, arriving: &[TimedPacket], toggles: Option<u64>) -> Record {
    let mut record = Record::default();
    let mut packet = Vec::new();
    let mut random = Random::new(toggles.unwrap_or(0));
    let mut take = |stream: &mut RtpDenoiser, record: &mut Record| {
        while stream.poll_packet(&mut packet) {
            let sent = Packet::parse(&packet).unwrap();
            if sent.payload_type() == AUDIO || sent.payload_type() == RED {
                record
                    .sent
                    .push((sent.timestamp(), sent.payload().to_vec()));
            } else {
                record.others += 1;
            }
        }
        record.largest_delay = record.largest_delay.max(stream.delay());
    };
    for arrival in arriving {
        while let Some(due) = stream.timeout().filter(|due| *due < arrival.at) {
            stream.drive(due);
            take(stream, &mut record);
        }
        if toggles.is_some() && random.bits().is_multiple_of(400) {
            stream.set_bypass(random.bits().is_multiple_of(2));
        }
        let _ = stream.receive(arrival.at, &arrival.bytes);
        stream.drive(arrival.at);
        take(stream, &mut record);
    }
    while let Some(due) = stream.timeout() {
        stream.drive(due);
        take(stream, &mut record);
    }
    check_counts(stream);
    assert_eq!(stream.stats().waiting, 0);
    record
}

fn new_stream(off: bool) -> RtpDenoiser {
    stream()
        .codec(CODEC)
        .red_payload_type(Some(RED))
        .passthrough_payload_type(EVENT)
        .bypass(off)
        .build()
        .unwrap()
}

/// The L16 samples of a packet sent by [`Sender`], without redundancy.
fn primary(packet: &Packet<'_>) -> Vec<u8> {
    let payload = packet.payload();
    if packet.payload_type() != RED {
        return payload.to_vec();
    }
    let (mut at, mut old) = (0, 0);
    while payload[at] & 0x80 != 0 {
        old += usize::from(payload[at + 2] & 3) << 8 | usize::from(payload[at + 3]);
        at += 4;
    }
    payload[at + 1 + old..].to_vec()
}

fn samples(payload: &[u8]) -> impl Iterator<Item = f64> {
    let pairs = payload.chunks_exact(2);
    pairs.map(|pair| f64::from(i16::from_be_bytes([pair[0], pair[1]])) / 32_768.0)
}

/// Whether sent audio is that of a packet. Its first 5 ms may be faded from the audio before it.
fn is_same_audio(sent: &[u8], received: &[u8]) -> bool {
    if sent.len() != received.len() {
        return false;
    }
    let pairs = samples(sent).zip(samples(received)).skip(240);
    let (mut error, mut power) = (0.0, 1e-9);
    for (a, b) in pairs {
        error += (a - b).powi(2);
        power += b * b;
    }
    error < 0.25 * power
}

fn hour(packets: usize, seed: u64) -> (Vec<TimedPacket>, Vec<TimedPacket>) {
    let mut sender = Sender::new(seed);
    for _ in 0..packets {
        sender.step();
    }
    let arriving = carry(&sender.packets, seed);
    (sender.packets, arriving)
}

/// Checks one record against the packets of the sender.
fn check(record: &Record, sent: &[TimedPacket], stream: &RtpDenoiser, case: &str) {
    let mut by_time: HashMap<u32, Vec<Vec<u8>>> = HashMap::new();
    for sent in sent {
        let packet = Packet::parse(&sent.bytes).unwrap();
        if [AUDIO, RED].contains(&packet.payload_type()) && !packet.payload().is_empty() {
            by_time
                .entry(packet.timestamp())
                .or_default()
                .push(primary(&packet));
        }
    }
    let mut same = 0;
    for (time, payload) in &record.sent {
        let received = by_time.get(time);
        let is_same = |received: &Vec<u8>| is_same_audio(payload, received);
        let is_relayed = |received: &Vec<u8>| payload.ends_with(received);
        same += u64::from(
            received.is_some_and(|all| all.iter().any(|one| is_same(one) || is_relayed(one))),
        );
    }
    let stats = stream.stats();
    // All packets with received audio have its timestamp. Around a pause or a restart of the codec the
    // audio of a few is faded.
    let received = stats.replaced + stats.passed_through - record.others;
    assert!(
        same + stats.sent / 500 >= received,
        "{case}: {same} of {received}: {stats:?}"
    );
    // Numbers that jump by more than the time explains are on probation for one packet.
    assert!(
        stats.restarts <= stats.dropped.probation,
        "{case}: {stats:?}"
    );
    assert_eq!(stats.dropped.overflow, 0, "{case}: {stats:?}");
    assert!(record.largest_delay <= Duration::from_millis(120), "{case}");
}

#[test]
fn the_shift_of_the_timestamps_is_constant_for_an_hour_of_any_sender() {
    for seed in 1..=3 {
        let (sent, arriving) = hour(60_000, seed);
        let mut on = new_stream(false);
        let denoised = pass(&mut on, &arriving, None);
        check(&denoised, &sent, &on, "on");
        let mut off = new_stream(true);
        let passed = pass(&mut off, &arriving, None);
        check(&passed, &sent, &off, "off");
        // On and off have the same timeline: all packets of the relayed stream are in the denoised one.
        let (a, b) = (on.stats(), off.stats());
        assert_eq!(a.dropped, b.dropped);
        assert_eq!((a.lost, a.waiting), (b.lost, b.waiting));
        assert_eq!(a.replaced + a.passed_through, b.passed_through);
        let times: std::collections::HashSet<u32> =
            denoised.sent.iter().map(|(time, _)| *time).collect();
        assert!(passed.sent.iter().all(|(time, _)| times.contains(time)));
        let mut both = new_stream(false);
        let switched = pass(&mut both, &arriving, Some(seed));
        check(&switched, &sent, &both, "switched");
        assert!(both.stats().replaced > 10_000 && both.stats().passed_through > 10_000);
    }
}

#[test]
fn two_million_packets_pass_without_a_shift_or_a_silent_loss() {
    for seed in 10..14 {
        let (sent, arriving) = hour(500_000, seed);
        let mut off = new_stream(true);
        let passed = pass(&mut off, &arriving, None);
        let stats = off.stats();
        let audio = passed.sent.len() as u64;
        assert!(audio <= stats.passed_through && stats.sent == stats.passed_through);
        assert_eq!(stats.dropped.overflow, 0, "{stats:?}");
        assert_eq!(stats.received, arriving.len() as u64);
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        for sent in &sent {
            *numbers
                .entry(Packet::parse(&sent.bytes).unwrap().timestamp())
                .or_default() += 1;
        }
        assert!(
            passed
                .sent
                .iter()
                .all(|(time, _)| numbers.contains_key(time))
        );
    }
}

#[test]
fn the_memory_of_a_stream_does_not_grow() {
    let (_, arriving) = hour(200_000, 20);
    let mut stream = new_stream(true);
    let mut packet = Vec::new();
    let mut pass = |arriving: &[TimedPacket]| {
        for arrival in arriving {
            while let Some(due) = stream.timeout().filter(|due| *due < arrival.at) {
                stream.drive(due);
                while stream.poll_packet(&mut packet) {}
            }
            let _ = stream.receive(arrival.at, &arrival.bytes);
            stream.drive(arrival.at);
            while stream.poll_packet(&mut packet) {}
        }
    };
    let (first, second) = arriving.split_at(arriving.len() / 2);
    pass(first);
    let growth = quietwire_testing::measure(|| pass(second));
    // Memory for larger bursts than before, and not ten bytes a packet.
    assert!(
        growth.bytes_current < 10 * second.len() as i64,
        "{growth:?}"
    );
    assert!(growth.count_total < 2000, "{growth:?}");
}
