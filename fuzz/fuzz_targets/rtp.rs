//! Arbitrary datagrams, times and switches: sent packets are in order, every packet received is
//! accounted for, and nothing panics.

#![no_main]

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use quietwire::Model;
use quietwire_rtp::{Codec, Packet, RtpDenoiser};

fn model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let load = || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/unity");
        Model::from_folder(&folder).expect("part of the repository")
    };
    MODEL.get_or_init(load).clone()
}

fuzz_target!(|data: &[u8]| {
    let [options, rest @ ..] = data else { return };
    let codec = match options % 4 {
        0 | 1 => Codec::Opus,
        2 => Codec::Pcmu,
        _ => Codec::L16 { rate_hz: 16_000 },
    };
    let stereo = options & 4 != 0 && codec != Codec::Pcmu;
    let mut stream = RtpDenoiser::builder(model())
        .codec(codec)
        .channels(if stereo { 2 } else { 1 })
        .payload_type(111)
        .red_payload_type(Some(63))
        .send_red(options & 8 != 0)
        .passthrough_payload_type(101)
        .audio_level_id(Some(1))
        .bypass(options & 16 != 0)
        .dtx(options & 32 != 0)
        .build()
        .expect("valid options");
    let (mut now, mut packet) = (Duration::ZERO, Vec::new());
    let mut last: Option<u16> = None;
    let mut rest = rest;
    while let [command, size, tail @ ..] = rest {
        let (bytes, next) = tail.split_at(usize::from(*size).min(tail.len()));
        rest = next;
        now += Duration::from_millis(u64::from(command % 64));
        match command / 64 {
            0 => stream.set_bypass(*size % 2 == 0),
            // The bytes as a datagram.
            1 => {
                let _ = stream.receive(now, bytes);
            },
            // A valid header from three bytes, then the payload.
            _ => {
                let [kind, sequence, time, payload @ ..] = bytes else { continue };
                let payload_type = [111, 111, 63, 101][usize::from(kind % 4)];
                let mut datagram = vec![0x80 | kind & 0x10, payload_type, 0, *sequence];
                datagram.extend((u32::from(*time) * 480).to_be_bytes());
                datagram.extend([0, 0, 0, kind >> 7]);
                datagram.extend_from_slice(payload);
                let _ = stream.receive(now, &datagram);
            }
        }
        stream.drive(now);
        while stream.poll_packet(&mut packet) {
            let packet = Packet::parse(&packet).expect("sent packets are RTP");
            if let Some(sequence) = last {
                assert!(packet.sequence().wrapping_sub(sequence) as i16 > 0);
            }
            last = Some(packet.sequence());
        }
        let stats = stream.stats();
        let sent = stats.replaced + stats.passed_through;
        assert_eq!(stats.received, sent + stats.dropped.total() + stats.waiting);
    }
});
