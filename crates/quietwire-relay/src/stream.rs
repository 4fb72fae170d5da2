//! One stream of the relay: its socket, its packets, and what it tells of itself.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use quietwire::rtp::{Codec, Packet, RtpDenoiser, RtpError};
use quietwire::{Denoiser, Error, Job, Model};

use super::srtp::{Closed, Closer, Opener};
use super::strips::Strips;
use super::view::{self, Change, CodecName, NewStream, Srtp, State, Suite};

/// Datagrams that are taken in at once, so that a flood on one stream is not the others' matter.
const MAX_AT_ONCE: usize = 64;
/// Without a packet for so long a stream is idle.
const IDLE: Duration = Duration::from_secs(1);
/// Nothing is left of what is so far down.
const MAX_ATTENUATION_DB: f32 = 200.0;
/// EMFILE and ENFILE, which have no kind of their own.
const NO_FILES_HERE: i32 = 24;
const NO_FILES_AT_ALL: i32 = 23;
/// How long strips are made after somebody looked.
const WATCHED: Duration = Duration::from_secs(5);

/// What is wrong with a wish, and whose it is.
#[derive(Debug)]
pub enum Refusal {
    /// a value that cannot be
    Invalid(String),
    /// the id or the address is taken
    Taken(String),
    /// no such stream
    Unknown(String),
    /// the relay takes no more
    Full(String),
}

/// One stream.
pub struct Stream {
    id: String,
    socket: UdpSocket,
    listen: SocketAddr,
    send_to: SocketAddr,
    /// on the legs, and a packet that was opened
    srtp_in: Option<(Suite, Opener)>,
    srtp_out: Option<(Suite, Closer)>,
    opened: Vec<u8>,
    rtp: RtpDenoiser,
    codec: CodecName,
    payload_type: u8,
    channels: usize,
    rate_hz: u32,
    models: Arc<[Arc<Model>]>,
    made: Instant,
    heard: Option<Instant>,
    /// packets cleaned, and those of them with speech
    cleaned: u64,
    spoken: u64,
    send_failures: u64,
    /// packets that came again, and such that the key does not open
    replayed: u64,
    unopened: u64,
    pub(super) cpu: Duration,
    last_error: Option<String>,
    strips: Option<Strips>,
    watched: Option<Instant>,
    /// more datagrams wait than were taken in
    has_more: bool,
    /// a block waits to be cleaned
    pub(super) is_ready: bool,
}

impl Stream {
    pub fn new(id: String, wish: &NewStream, models: Arc<[Arc<Model>]>) -> Result<Self, Refusal> {
        check_attenuation(Some(wish.attenuation_db))?;
        let codec = match (wish.codec, wish.rate_hz) {
            (CodecName::Opus, None | Some(48_000)) => Codec::Opus,
            (CodecName::Pcmu, None | Some(8_000)) => Codec::Pcmu,
            (CodecName::Pcma, None | Some(8_000)) => Codec::Pcma,
            (CodecName::L16, Some(rate_hz)) => Codec::L16 { rate_hz },
            (CodecName::L16, None) => {
                return Err(Refusal::Invalid(
                    "rate_hz: l16 needs one, 8000 to 192000".into(),
                ));
            }
            (_, Some(found)) => {
                let text = format!("rate_hz: {found} is not that of this codec; leave it out");
                return Err(Refusal::Invalid(text));
            }
        };
        let mut builder = RtpDenoiser::builder(models[0].clone())
            .codec(codec)
            .channels(wish.channels)
            .red_payload_type(wish.red_payload_type)
            .red_out(wish.red_out)
            .audio_level_id(wish.audio_level_id)
            .attenuation_db(wish.attenuation_db)
            .bypass(!wish.on)
            .dtx(wish.dtx);
        for model in &models[1..] {
            builder = builder.alternative(model.clone());
        }
        for payload_type in &wish.relayed_payload_types {
            builder = builder.relayed_payload_type(*payload_type);
        }
        if let Some(payload_type) = wish.payload_type {
            builder = builder.payload_type(payload_type);
        }
        if let Some(bitrate_bps) = wish.bitrate_bps {
            builder = builder.bitrate_bps(bitrate_bps);
        }
        if let Some(complexity) = wish.complexity {
            builder = builder.complexity(complexity);
        }
        if let Some(percent) = wish.expected_loss_percent {
            builder = builder.expected_loss_percent(percent);
        }
        if let Some(hold_ms) = wish.hold_ms {
            builder = builder.hold(Duration::from_millis(hold_ms.into()));
        }
        let mut rtp = builder
            .build()
            .map_err(|e| Refusal::Invalid(e.to_string()))?;
        if let Some(model) = &wish.model {
            rtp.set_model(place(&models, model)?)
                .map_err(|e| Refusal::Invalid(e.to_string()))?;
        }
        let srtp_in = under_key("srtp_in", wish.srtp_in.as_ref(), Opener::new)?;
        let srtp_out = under_key("srtp_out", wish.srtp_out.as_ref(), Closer::new)?;
        check_target(wish.send_to)?;
        let listen = wish.listen.unwrap_or(([127, 0, 0, 1], 0).into());
        let socket = UdpSocket::bind(listen).map_err(|e| match (e.kind(), e.raw_os_error()) {
            (ErrorKind::AddrInUse, _) => Refusal::Taken(format!("listen: {listen} is in use")),
            (_, Some(NO_FILES_HERE | NO_FILES_AT_ALL)) => Refusal::Full(format!(
                "the system gives no more sockets: {e}; see ulimit -n"
            )),
            _ => Refusal::Invalid(format!("listen: cannot receive on {listen}: {e}")),
        })?;
        let listen = socket.local_addr().unwrap_or(listen);
        check_pair(listen, wish.send_to)?;
        Ok(Self {
            id,
            socket,
            listen,
            send_to: wish.send_to,
            srtp_in,
            srtp_out,
            opened: Vec::new(),
            rtp,
            codec: wish.codec,
            payload_type: wish
                .payload_type
                .unwrap_or_else(|| codec.usual_payload_type(wish.channels)),
            channels: wish.channels,
            rate_hz: codec.rate_hz(),
            models,
            made: Instant::now(),
            heard: None,
            cleaned: 0,
            spoken: 0,
            send_failures: 0,
            replayed: 0,
            unopened: 0,
            cpu: Duration::ZERO,
            last_error: None,
            strips: None,
            watched: None,
            has_more: false,
            is_ready: false,
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn socket(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    /// Whether datagrams wait that the socket will not tell of again.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Takes in what has come.
    pub fn receive(&mut self, now: Instant, since: Duration, buffer: &mut [u8]) {
        self.has_more = true;
        for _ in 0..MAX_AT_ONCE {
            match self.socket.recv_from(buffer) {
                Ok((len, _)) => {
                    let mut datagram = &buffer[..len];
                    // RTCP, which other keys protect, is told as it is without them.
                    let is_rtcp = |datagram| Packet::parse(datagram) == Err(RtpError::Rtcp);
                    let opener = self.srtp_in.as_mut().filter(|_| !is_rtcp(datagram));
                    if let Some((_, opener)) = opener {
                        match opener.open(datagram, &mut self.opened) {
                            Ok(()) => datagram = &self.opened,
                            Err(Closed::Again) => {
                                self.replayed += 1;
                                continue;
                            }
                            Err(Closed::Wrong(error)) => {
                                self.unopened += 1;
                                self.last_error = Some(format!("srtp_in: {error}"));
                                continue;
                            }
                        }
                    }
                    let result = self.rtp.receive(since, datagram);
                    if result.is_ok() {
                        self.heard = Some(now);
                    } else if let Err(error) = result
                        && !matches!(error, RtpError::Late { .. })
                    {
                        self.last_error = Some(error.to_string());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.has_more = false;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody we sent to was not there; what comes to us is another matter.
                Err(error) => self.fail(&error),
            }
        }
    }

    /// Goes on to a block that waits to be cleaned.
    pub fn prepare(&mut self, now: Instant, since: Duration) -> bool {
        let ready = self.rtp.prepare(since);
        self.is_ready = ready;
        let watched = self.watched.is_some_and(|at| now < at + WATCHED);
        if !watched {
            self.strips = None;
        } else if let (Some(strips), Some(block)) = (&mut self.strips, self.rtp.block()) {
            strips.hear(0, block, self.channels);
        }
        ready
    }

    pub fn timeout(&self) -> Option<Duration> {
        self.rtp.timeout()
    }

    /// Sends what is ready.
    pub fn send(&mut self, packet: &mut Vec<u8>) {
        while self.rtp.poll_packet(packet) {
            if let Some((_, closer)) = &mut self.srtp_out
                && let Err(error) = closer.close(packet)
            {
                self.send_failures += 1;
                self.last_error = Some(format!("srtp_out: {error}"));
                continue;
            }
            if let Err(error) = self.socket.send_to(packet, self.send_to) {
                self.fail(&error);
            }
        }
    }

    fn fail(&mut self, error: &std::io::Error) {
        self.send_failures += 1;
        self.last_error = Some(format!("{}: {error}", self.send_to));
    }

    pub fn change(&mut self, change: &Change) -> Result<(), Refusal> {
        // All or nothing: what may fail comes first.
        let model = match &change.model {
            Some(model) => Some(place(&self.models, model)?),
            None => None,
        };
        check_attenuation(change.attenuation_db)?;
        if let Some(send_to) = change.send_to {
            check_target(send_to)?;
            check_pair(self.listen, send_to)?;
        }
        let srtp_in = under_key("srtp_in", change.srtp_in.as_ref(), Opener::new)?;
        let srtp_out = under_key("srtp_out", change.srtp_out.as_ref(), Closer::new)?;
        if let Some(attenuation_db) = change.attenuation_db {
            self.rtp
                .set_attenuation_db(attenuation_db)
                .map_err(|e| Refusal::Invalid(e.to_string()))?;
        }
        if let Some(index) = model {
            self.rtp
                .set_model(index)
                .map_err(|e| Refusal::Invalid(e.to_string()))?;
        }
        if let Some(on) = change.on {
            self.rtp.set_bypass(!on);
        }
        self.send_to = change.send_to.unwrap_or(self.send_to);
        self.srtp_in = srtp_in.or(self.srtp_in.take());
        self.srtp_out = srtp_out.or(self.srtp_out.take());
        Ok(())
    }

    /// Its strips after column `since`; makes them from now on.
    pub fn strips(&mut self, now: Instant, column: u64, since: u64) -> view::Strip {
        self.watched = Some(now);
        let strips = &mut self.strips;
        let strips = strips.get_or_insert_with(|| Strips::new(self.rate_hz, column));
        strips.since(since)
    }

    pub fn draw_until(&mut self, column: u64) {
        if let Some(strips) = &mut self.strips {
            strips.draw_until(column);
        }
    }

    pub fn view(&self, now: Instant) -> view::Stream {
        let mut packets = self.rtp.counts();
        packets.failed += self.send_failures;
        packets.malformed += self.unopened;
        packets.duplicate += self.replayed;
        let denoiser = self.rtp.denoiser();
        let idle = self.heard.is_none_or(|at| now > at + IDLE);
        let state = if idle {
            State::Idle
        } else if self.rtp.is_relaying() {
            State::Relaying
        } else if denoiser.steps_down() > 0 {
            State::SteppedDown
        } else {
            State::Denoising
        };
        let telemetry = denoiser.telemetry();
        let levels = view::Levels {
            input_dbfs: telemetry.input_dbfs,
            output_dbfs: telemetry.output_dbfs,
            snr_db: telemetry.snr_db,
            gain_db: telemetry.gain_db,
            speech_probability: telemetry.speech_probability,
            speech_share: self.spoken as f32 / self.cleaned.max(1) as f32,
        };
        view::Stream {
            id: self.id.clone(),
            listen: self.listen,
            send_to: self.send_to,
            srtp_in: self.srtp_in.as_ref().map(|(suite, _)| *suite),
            srtp_out: self.srtp_out.as_ref().map(|(suite, _)| *suite),
            codec: self.codec,
            payload_type: self.payload_type,
            channels: self.channels,
            on: !denoiser.bypass(),
            attenuation_db: denoiser.attenuation_db(),
            model: denoiser.model().manifest().id().into(),
            model_heard: denoiser.model_heard().map(|model| model.manifest().id().into()),
            delay_ms: self.rtp.delay().as_secs_f64() * 1000.0,
            state,
            seconds: now.duration_since(self.made).as_secs_f64(),
            levels: matches!(state, State::Denoising | State::SteppedDown).then_some(levels),
            packets,
            jitter_ms: self.rtp.jitter().as_secs_f64() * 1000.0,
            missed_deadlines: self.rtp.missed_hops(),
            cpu_seconds: self.cpu.as_secs_f64(),
            last_error: self.last_error.clone(),
        }
    }
}

/// What opens or closes packets on a leg that has a key; `field` is where the key came from.
fn under_key<T>(
    field: &str,
    key: Option<&Srtp>,
    new: fn(&Srtp) -> Result<T, String>,
) -> Result<Option<(Suite, T)>, Refusal> {
    let made = key.map(|key| new(key).map(|made| (key.suite, made)));
    made.transpose()
        .map_err(|e| Refusal::Invalid(format!("{field}: {e}")))
}

/// The place of a model among those that streams are made with.
fn place(models: &[Arc<Model>], id: &str) -> Result<usize, Refusal> {
    let place = models.iter().position(|model| model.manifest().id() == id);
    place.ok_or_else(|| {
        let known: Vec<&str> = models.iter().map(|model| model.manifest().id()).collect();
        Refusal::Invalid(format!(
            "model: `{id}` is not one of {}; start the relay with it",
            known.join(", ")
        ))
    })
}

/// JSON has no infinity, so what is as good as no limit is one.
fn check_attenuation(db: Option<f32>) -> Result<(), Refusal> {
    match db {
        Some(db) if !(0.0..=MAX_ATTENUATION_DB).contains(&db) => {
            let text = format!("attenuation_db: {db} is not 0 to {MAX_ATTENUATION_DB}");
            Err(Refusal::Invalid(text))
        }
        _ => Ok(()),
    }
}

fn check_target(send_to: SocketAddr) -> Result<(), Refusal> {
    if send_to.port() == 0 || send_to.ip().is_unspecified() {
        let text = format!("send_to: nothing can be sent to {send_to}");
        return Err(Refusal::Invalid(text));
    }
    Ok(())
}

/// That a stream reaches its target, and does not hear itself.
fn check_pair(listen: SocketAddr, send_to: SocketAddr) -> Result<(), Refusal> {
    let any = listen.ip().is_unspecified() && send_to.ip().is_loopback();
    if listen.is_ipv4() != send_to.is_ipv4() {
        let text = format!("send_to: {send_to} cannot be reached from {listen}: IPv4 and IPv6");
        return Err(Refusal::Invalid(text));
    }
    if listen.port() == send_to.port() && (listen.ip() == send_to.ip() || any) {
        let text = format!("send_to: {send_to} is where the stream itself listens");
        return Err(Refusal::Invalid(text));
    }
    Ok(())
}

impl Job for Stream {
    fn work(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        self.rtp.work()
    }

    fn done(&mut self, result: Result<(), Error>) {
        if let (Some(strips), Some(block)) = (&mut self.strips, self.rtp.block()) {
            strips.hear(1, block, self.channels);
        }
        if let Err(error) = &result {
            self.last_error = Some(error.to_string());
        }
        let began = Instant::now();
        self.rtp.done(result);
        self.cpu += began.elapsed();
        self.cleaned += 1;
        let speech = self.rtp.telemetry().speech_probability > 0.5;
        self.spoken += u64::from(speech);
    }
}
