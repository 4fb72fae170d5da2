//! A minimal SFU on str0m with noise suppression inside: one `RtpDenoiser` for each publisher.
//!
//! The publisher, both ends of the SFU and the listener run in this process, with real ICE, DTLS and
//! SRTP between them. Datagrams are passed in memory, because str0m and `RtpDenoiser` are sans-IO. A
//! server passes them through sockets; the code between `Event::RtpPacket` and `write_rtp` is the
//! same.
//!
//!     cargo run -p sfu_str0m

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quietwire::Model;
use quietwire_rtp::{Packet, RtpDenoiser};
use str0m::change::SdpOffer;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// 20 ms of Opus.
const FRAMES: usize = 960;
const PACKETS: usize = 200;

/// One end of a connection.
struct Peer {
    rtc: Rtc,
    mid: Option<Mid>,
    is_connected: bool,
}

impl Peer {
    fn new(now: Instant, address: &str) -> Result<Self> {
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(now);
        let address: SocketAddr = address.parse()?;
        rtc.add_local_candidate(Candidate::host(address, Protocol::Udp)?);
        Ok(Self {
            rtc,
            mid: None,
            is_connected: false,
        })
    }

    fn opus(&self) -> Result<Pt> {
        let mut formats = self.rtc.codec_config().params().iter();
        let opus = formats.find(|format| format.spec().codec == Codec::Opus);
        Ok(opus.ok_or("Opus is always offered")?.pt())
    }
}

/// Offer and answer of one-way audio. A web application exchanges them over HTTP.
fn negotiate(sender: &mut Peer, receiver: &mut Peer) -> Result<()> {
    let mut change = sender.rtc.sdp_api();
    let mid = change.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
    let (offer, pending) = change.apply().ok_or("audio was added")?;
    let offer = SdpOffer::from_sdp_string(&offer.to_sdp_string())?;
    let answer = receiver.rtc.sdp_api().accept_offer(offer)?;
    sender.rtc.sdp_api().accept_answer(pending, answer)?;
    (sender.mid, receiver.mid) = (Some(mid), Some(mid));
    Ok(())
}

/// Runs one connection until both ends wait. Returns the RTP packets received by the right end.
fn run(now: Instant, left: &mut Peer, right: &mut Peer) -> Result<Vec<RtpPacket>> {
    let mut packets = Vec::new();
    for peer in [&mut *left, &mut *right] {
        peer.rtc.handle_input(Input::Timeout(now))?;
    }
    loop {
        let mut is_idle = true;
        for from_left in [true, false] {
            let (from, to) = if from_left {
                (&mut *left, &mut *right)
            } else {
                (&mut *right, &mut *left)
            };
            loop {
                match from.rtc.poll_output()? {
                    Output::Timeout(_) => break,
                    Output::Transmit(datagram) => {
                        is_idle = false;
                        let receive = Receive::new(
                            Protocol::Udp,
                            datagram.source,
                            datagram.destination,
                            &datagram.contents,
                        )?;
                        to.rtc.handle_input(Input::Receive(now, receive))?;
                    }
                    Output::Event(Event::IceConnectionStateChange(state)) => {
                        from.is_connected = state == IceConnectionState::Completed
                            || state == IceConnectionState::Connected;
                    }
                    Output::Event(Event::RtpPacket(packet)) if !from_left => packets.push(packet),
                    Output::Event(_) => {}
                }
            }
        }
        if is_idle {
            return Ok(packets);
        }
    }
}

fn write(peer: &mut Peer, now: Instant, packet: &Packet<'_>, sequence: u64) -> Result<()> {
    let (pt, mid) = (peer.opus()?, peer.mid.ok_or("negotiated before")?);
    let mut api = peer.rtc.direct_api();
    let stream = api.stream_tx_by_mid(mid, None).ok_or("negotiated before")?;
    let write = RtpWrite::new(
        pt,
        sequence.into(),
        packet.timestamp(),
        now,
        packet.payload(),
    )
    .marker(packet.marker())
    .ext_vals(ExtensionValues::default());
    stream.write_rtp(write);
    Ok(())
}

/// The bytes of a packet of str0m.
fn datagram(packet: &RtpPacket, payload_type: u8) -> Vec<u8> {
    let mut bytes = vec![0x80, u8::from(packet.header.marker) << 7 | payload_type];
    bytes.extend(packet.header.sequence_number.to_be_bytes());
    bytes.extend(packet.header.timestamp.to_be_bytes());
    bytes.extend(packet.header.ssrc.to_be_bytes());
    bytes.extend_from_slice(&packet.payload);
    bytes
}

fn level_dbfs(decoder: &mut opus::Decoder, payload: &[u8]) -> Result<f32> {
    let mut block = [0.0; FRAMES];
    decoder.decode_float(payload, &mut block, false)?;
    let power = block.iter().map(|x| x * x).sum::<f32>() / block.len() as f32;
    Ok(10.0 * (power + 1e-12).log10())
}

fn main() -> Result<()> {
    str0m::crypto::from_feature_flags().install_process_default();
    let mut now = Instant::now();
    let mut publisher = Peer::new(now, "10.0.0.1:1000")?;
    let mut sfu_in = Peer::new(now, "10.0.0.2:2000")?;
    let mut sfu_out = Peer::new(now, "10.0.0.2:2001")?;
    let mut listener = Peer::new(now, "10.0.0.3:3000")?;
    negotiate(&mut publisher, &mut sfu_in)?;
    negotiate(&mut sfu_out, &mut listener)?;

    // One for each publisher. In RTP mode the packets of str0m are decrypted.
    let payload_type = 111;
    let model = Model::embedded("base")?;
    let mut denoiser = RtpDenoiser::builder(model)
        .payload_type(payload_type)
        .build()?;

    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip)?;
    let mut decoders = [
        opus::Decoder::new(48_000, opus::Channels::Mono)?,
        opus::Decoder::new(48_000, opus::Channels::Mono)?,
    ];
    let (mut noise, mut levels) = (1u32, [Vec::new(), Vec::new()]);
    let mut forwarded = 0u64;
    let mut sent = 0;
    let start = now;
    while sent < PACKETS {
        // Noise, as from a microphone in a noisy room.
        if publisher.is_connected && sfu_out.is_connected {
            let block: Vec<f32> = (0..FRAMES)
                .map(|_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (noise >> 8) as f32 / (1 << 23) as f32 * 0.05 - 0.05
                })
                .collect();
            let payload = encoder.encode_vec_float(&block, 1275)?;
            levels[0].push(level_dbfs(&mut decoders[0], &payload)?);
            let mut bytes = vec![0x80, payload_type, 0, 0];
            bytes.extend((sent as u32 * FRAMES as u32).to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(payload);
            write(&mut publisher, now, &Packet::parse(&bytes)?, sent as u64)?;
            sent += 1;
        }

        // The SFU: packets of the publisher pass through its denoiser to every listener.
        let clock = now - start;
        for packet in run(now, &mut publisher, &mut sfu_in)? {
            // An error concerns one packet only.
            let _ = denoiser.receive(clock, &datagram(&packet, payload_type));
        }
        denoiser.drive(clock);
        let mut clean = Vec::new();
        while denoiser.poll_packet(&mut clean) {
            let packet = Packet::parse(&clean)?;
            // str0m needs sequence numbers without wraps. This stream starts with 0.
            write(&mut sfu_out, now, &packet, forwarded)?;
            forwarded += 1;
        }

        for packet in run(now, &mut sfu_out, &mut listener)? {
            levels[1].push(level_dbfs(&mut decoders[1], &packet.payload)?);
        }
        now += Duration::from_millis(20);
        if now - start > Duration::from_secs(60) {
            return Err("the peers did not connect".into());
        }
    }

    let last = |levels: &[f32]| levels.iter().rev().take(50).sum::<f32>() / 50.0;
    let [noisy, clean] = [last(&levels[0]), last(&levels[1])];
    println!(
        "{} packets published at {noisy:.1} dBFS, {} received at {clean:.1} dBFS, {} ms later",
        sent,
        levels[1].len(),
        denoiser.delay().as_millis()
    );
    if levels[1].len() + 5 < sent || clean > noisy - 15.0 {
        return Err(
            "the listener did not receive all packets, or the noise was not removed".into(),
        );
    }
    Ok(())
}
