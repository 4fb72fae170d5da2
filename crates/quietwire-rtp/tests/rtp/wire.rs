//! Senders and receivers of RTP packets.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opus::{Application, Channels};
use quietwire::{AttenuationLimit, Model};
use quietwire_rtp::{Packet, RtpDenoiser, RtpDenoiserBuilder};
use quietwire_testing::network::TimedPacket;

pub const RATE_HZ: usize = 48_000;
/// 20 ms.
pub const FRAMES: usize = 960;

/// A model whose output is its input.
pub fn unity() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/unity");
    MODEL
        .get_or_init(|| Model::from_folder(&folder).unwrap())
        .clone()
}

pub fn base() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    MODEL
        .get_or_init(|| Model::embedded("base").unwrap())
        .clone()
}

/// A stream that changes its audio as little as possible.
pub fn stream() -> RtpDenoiserBuilder {
    RtpDenoiser::builder(unity())
        .attenuation(AttenuationLimit::Unlimited)
        .bitrate_bps(96_000)
        .complexity(9)
}

/// A chord whose level rises and falls, like syllables.
pub fn chord(samples: usize) -> Vec<f32> {
    let sine = |n: usize, hz: f32| (n as f32 * hz * std::f32::consts::TAU / 48_000.0).sin();
    (0..samples)
        .map(|n| {
            let level = 0.55 + 0.45 * sine(n, 1.7);
            0.2 * level * (sine(n, 220.0) + 0.5 * sine(n, 441.0) + 0.3 * sine(n, 1330.0))
        })
        .collect()
}

/// The header fields of a packet.
#[derive(Debug, Clone, Copy)]
pub struct HeaderNumbers {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub payload_type: u8,
}

pub fn datagram(numbers: HeaderNumbers, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, numbers.payload_type];
    bytes.extend(numbers.sequence.to_be_bytes());
    bytes.extend(numbers.timestamp.to_be_bytes());
    bytes.extend(numbers.ssrc.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A datagram with an audio level in extension element 1.
pub fn with_level(mut datagram: Vec<u8>, level: u8) -> Vec<u8> {
    datagram[0] |= 0x10;
    let payload = datagram.split_off(12);
    datagram.extend([0xBE, 0xDE, 0, 1, 0x10, level, 0, 0]);
    datagram.extend(payload);
    datagram
}

pub fn encoder(channels: Channels) -> opus::Encoder {
    let mut encoder = opus::Encoder::new(48_000, channels, Application::Audio).unwrap();
    encoder.set_bitrate(opus::Bitrate::Bits(64_000)).unwrap();
    encoder
}

/// Opus payloads of a mono signal, `frames` each.
pub fn payloads(signal: &[f32], frames: usize, encoder: &mut opus::Encoder) -> Vec<Vec<u8>> {
    let blocks = signal.chunks_exact(frames);
    blocks
        .map(|block| encoder.encode_vec_float(block, 1275).unwrap())
        .collect()
}

pub const FIRST: HeaderNumbers = HeaderNumbers {
    ssrc: 0x1234_5678,
    sequence: 65_500,
    timestamp: u32::MAX - 30_000,
    payload_type: 111,
};

/// Payloads as packets, one every `frames`; sequence numbers and timestamps wrap soon.
pub fn packets(payloads: &[Vec<u8>], frames: usize) -> Vec<TimedPacket> {
    let number = |n: usize| HeaderNumbers {
        sequence: FIRST.sequence.wrapping_add(n as u16),
        timestamp: FIRST.timestamp.wrapping_add((n * frames) as u32),
        ..FIRST
    };
    let time = |n: usize| Duration::from_secs_f64((n * frames) as f64 / RATE_HZ as f64);
    let packets = payloads.iter().enumerate();
    packets
        .map(|(n, payload)| TimedPacket {
            at: Duration::from_secs(5) + time(n),
            bytes: datagram(number(n), payload),
        })
        .collect()
}

/// Opus packets of 20 ms of a mono signal.
pub fn voice(signal: &[f32]) -> Vec<TimedPacket> {
    packets(
        &payloads(signal, FRAMES, &mut encoder(Channels::Mono)),
        FRAMES,
    )
}

/// Passes arriving packets to a stream, and calls it on its timeouts in between. Returns the sent
/// packets.
pub fn run(stream: &mut RtpDenoiser, arriving: &[TimedPacket]) -> Vec<TimedPacket> {
    run_with(stream, arriving, |_, _| {})
}

/// [`run`] with a call of `before`, with the packet's index, before each arrival.
pub fn run_with(
    stream: &mut RtpDenoiser,
    arriving: &[TimedPacket],
    mut before: impl FnMut(usize, &mut RtpDenoiser),
) -> Vec<TimedPacket> {
    let mut sent = Vec::new();
    let mut drive = |stream: &mut RtpDenoiser, at: Duration| {
        stream.drive(at);
        let mut packet = Vec::new();
        while stream.poll_packet(&mut packet) {
            let bytes = packet.clone();
            sent.push(TimedPacket { at, bytes });
        }
    };
    for (n, arrival) in arriving.iter().enumerate() {
        while let Some(due) = stream.timeout().filter(|due| *due < arrival.at) {
            drive(stream, due);
        }
        before(n, stream);
        let _ = stream.receive(arrival.at, &arrival.bytes);
        drive(stream, arrival.at);
    }
    check_counts(stream);
    sent
}

/// The audio of a receiver, with the timestamp of its first sample: decoded in order, concealed where
/// a sequence number is missing, silent where a timestamp jumps.
pub fn decode(sent: &[TimedPacket]) -> (u32, Vec<f32>) {
    let mut decoder = opus::Decoder::new(48_000, Channels::Mono).unwrap();
    let mut out: Vec<f32> = Vec::new();
    let first = Packet::parse(&sent[0].bytes).unwrap();
    let mut expected = first.sequence();
    let mut block = vec![0.0; 5760];
    for packet in sent {
        let packet = Packet::parse(&packet.bytes).unwrap();
        let at = packet.timestamp().wrapping_sub(first.timestamp()) as usize;
        assert!(at >= out.len(), "timestamps never go back");
        if packet.sequence() != expected {
            let missing = (at - out.len()).min(5760);
            decoder
                .decode_float(&[], &mut block[..missing], false)
                .unwrap();
            out.extend(&block[..missing]);
        }
        out.resize(at, 0.0);
        expected = packet.sequence().wrapping_add(1);
        let frames = decoder
            .decode_float(packet.payload(), &mut block, false)
            .unwrap();
        out.extend(&block[..frames]);
    }
    (first.timestamp(), out)
}

/// Sequence numbers rise by 1 and timestamps by `frames`.
pub fn assert_continuous(sent: &[TimedPacket], frames: usize) {
    for (n, pair) in sent.windows(2).enumerate() {
        let [a, b] = [&pair[0], &pair[1]].map(|sent| Packet::parse(&sent.bytes).unwrap());
        assert_eq!(b.sequence(), a.sequence().wrapping_add(1), "packet {n}");
        assert_eq!(
            b.timestamp(),
            a.timestamp().wrapping_add(frames as u32),
            "packet {n}"
        );
        assert_eq!(a.ssrc(), b.ssrc());
    }
}

/// Error of `found` relative to `expected`, dB, with the gain that minimizes it.
pub fn error_db(found: &[f32], expected: &[f32]) -> f32 {
    let len = found.len().min(expected.len());
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let (found, expected) = (&found[..len], &expected[..len]);
    let gain = dot(found, expected) / dot(expected, expected);
    let error: f64 = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - gain * f64::from(*b)).powi(2))
        .sum();
    (10.0 * (error / (gain * gain * dot(expected, expected))).log10()) as f32
}

pub fn rms_db(samples: &[f32]) -> f32 {
    let power = samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32;
    10.0 * (power + 1e-20).log10()
}

/// Calls a stream on its timeouts until nothing more is due. Returns the sent packets.
pub fn drain(stream: &mut RtpDenoiser) -> Vec<TimedPacket> {
    let mut sent = Vec::new();
    while let Some(due) = stream.timeout() {
        stream.drive(due);
        let mut bytes = Vec::new();
        while stream.poll_packet(&mut bytes) {
            sent.push(TimedPacket {
                at: due,
                bytes: bytes.clone(),
            });
        }
    }
    sent
}

/// Every packet received is sent, dropped for a reason, or waits.
pub fn check_counts(stream: &RtpDenoiser) {
    let stats = stream.stats();
    assert_eq!(
        stats.received,
        stats.replaced + stats.passed_through + stats.dropped.total() + stats.waiting,
        "{stats:?}"
    );
}
