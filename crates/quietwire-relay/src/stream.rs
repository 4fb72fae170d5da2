//! One stream of the relay: its socket, its keys, its denoiser and its counts.

mod options;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use quietwire::{BatchStream, Denoiser, Error, Model};
use quietwire_rtp::{Packet, RtpDenoiser, RtpError};

use crate::api::{
    ApiError, Attenuation, Change, CodecName, Levels, NewStream, PacketStats, State, StreamInfo,
    Strip, Suite,
};
use crate::spectrogram_feed::{Signal, SpectrogramFeed};
use crate::srtp::{SrtpDecryptor, SrtpEncryptor, SrtpError};

/// Datagrams that a stream receives before other streams get their turn.
const MAX_DATAGRAMS_PER_TURN: usize = 64;
/// A stream without packets for this long is idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Spectrogram columns are computed for this long after a client requested them.
const FEED_TIMEOUT: Duration = Duration::from_secs(5);
/// Speech probability from which a packet counts as speech.
const SPEECH_THRESHOLD: f32 = 0.5;

/// One stream.
pub struct Stream {
    id: String,
    socket: UdpSocket,
    listen: SocketAddr,
    send_to: SocketAddr,
    srtp_in: Option<(Suite, SrtpDecryptor)>,
    srtp_out: Option<(Suite, SrtpEncryptor)>,
    /// a decrypted packet
    decrypted: Vec<u8>,
    rtp: RtpDenoiser,
    codec: CodecName,
    payload_type: u8,
    channels: usize,
    rate_hz: u32,
    models: Arc<[Arc<Model>]>,
    created_at: Instant,
    last_packet_at: Option<Instant>,
    /// packets denoised, and those of them with speech
    denoised: u64,
    with_speech: u64,
    send_failures: u64,
    /// SRTP packets received twice, and not authentic ones
    replayed: u64,
    not_authentic: u64,
    cpu: Duration,
    last_error: Option<String>,
    feed: Option<SpectrogramFeed>,
    feed_requested_at: Option<Instant>,
    /// datagrams may wait in the socket
    is_readable: bool,
    /// a block waits for the denoiser
    is_ready: bool,
}

impl Stream {
    /// # Errors
    /// [`ApiError`] for a configuration that is not valid, or a socket that cannot be bound.
    pub fn new(
        id: String,
        config: &NewStream,
        models: Arc<[Arc<Model>]>,
    ) -> Result<Self, ApiError> {
        let codec = options::codec(config)?;
        let rtp = options::denoiser(config, codec, &models)?;
        let srtp_in = options::srtp("srtp_in", config.srtp_in.as_ref(), SrtpDecryptor::new)?;
        let srtp_out = options::srtp("srtp_out", config.srtp_out.as_ref(), SrtpEncryptor::new)?;
        options::check_target(config.send_to)?;
        let (socket, listen) = options::bind(config.listen)?;
        options::check_pair(listen, config.send_to)?;
        Ok(Self {
            id,
            socket,
            listen,
            send_to: config.send_to,
            srtp_in,
            srtp_out,
            decrypted: Vec::new(),
            rtp,
            codec: config.codec,
            payload_type: config
                .payload_type
                .unwrap_or_else(|| codec.default_payload_type(config.channels)),
            channels: config.channels,
            rate_hz: codec.rate_hz(),
            models,
            created_at: Instant::now(),
            last_packet_at: None,
            denoised: 0,
            with_speech: 0,
            send_failures: 0,
            replayed: 0,
            not_authentic: 0,
            cpu: Duration::ZERO,
            last_error: None,
            feed: None,
            feed_requested_at: None,
            is_readable: false,
            is_ready: false,
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn socket(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    /// Datagrams may wait in the socket. The poll reports a socket once only.
    pub fn set_readable(&mut self) {
        self.is_readable = true;
    }

    pub fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// A block waits for the denoiser; see [`prepare`](Self::prepare).
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Adds processor time that was spent on the stream.
    pub fn add_cpu(&mut self, time: Duration) {
        self.cpu += time;
    }

    /// Receives the datagrams in the socket. `clock`: `now` on the clock of the RTP stream.
    pub fn receive(&mut self, now: Instant, clock: Duration, buffer: &mut [u8]) {
        for _ in 0..MAX_DATAGRAMS_PER_TURN {
            match self.socket.recv_from(buffer) {
                Ok((len, _)) => self.receive_datagram(now, clock, &buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // An ICMP error of an earlier send. Receiving continues.
                Err(error) => self.count_send_failure(&error),
            }
        }
    }

    fn receive_datagram(&mut self, now: Instant, clock: Duration, datagram: &[u8]) {
        let mut packet = datagram;
        // RTCP has other keys. It is reported as RTCP with SRTP too.
        let is_rtcp = Packet::parse(datagram) == Err(RtpError::Rtcp);
        if let Some((_, decryptor)) = self.srtp_in.as_mut().filter(|_| !is_rtcp) {
            match decryptor.decrypt(datagram, &mut self.decrypted) {
                Ok(()) => packet = &self.decrypted,
                Err(SrtpError::Replayed) => {
                    self.replayed += 1;
                    return;
                }
                Err(SrtpError::Invalid(error)) => {
                    self.not_authentic += 1;
                    self.last_error = Some(format!("srtp_in: {error}"));
                    return;
                }
            }
        }
        match self.rtp.receive(clock, packet) {
            Ok(()) => self.last_packet_at = Some(now),
            // Usual on every network.
            Err(RtpError::Late { .. } | RtpError::Duplicate { .. } | RtpError::Empty { .. }) => {}
            Err(error) => self.last_error = Some(error.to_string()),
        }
    }

    /// Advances until a block waits for the denoiser (true) or nothing more is due (false).
    pub fn prepare(&mut self, now: Instant, clock: Duration) -> bool {
        let is_ready = self.rtp.prepare(clock);
        self.is_ready = is_ready;
        let requested_at = self.feed_requested_at;
        if requested_at.is_none_or(|at| now >= at + FEED_TIMEOUT) {
            self.feed = None;
        } else if let (Some(feed), Some(block)) = (&mut self.feed, self.rtp.block()) {
            feed.push(Signal::Input, block, self.channels);
        }
        is_ready
    }

    /// When [`prepare`](Self::prepare) must be called even without a packet.
    pub fn timeout(&self) -> Option<Duration> {
        self.rtp.timeout()
    }

    /// Sends the packets that are ready. `packet` is scratch memory.
    pub fn send(&mut self, packet: &mut Vec<u8>) {
        while self.rtp.poll_packet(packet) {
            if let Some((_, encryptor)) = &mut self.srtp_out
                && let Err(error) = encryptor.encrypt(packet)
            {
                self.send_failures += 1;
                self.last_error = Some(format!("srtp_out: {error}"));
                continue;
            }
            if let Err(error) = self.socket.send_to(packet, self.send_to) {
                self.count_send_failure(&error);
            }
        }
    }

    fn count_send_failure(&mut self, error: &std::io::Error) {
        self.send_failures += 1;
        self.last_error = Some(format!("{}: {error}", self.send_to));
    }

    /// Applies all of a change or, on an error, nothing.
    pub fn change(&mut self, change: &Change) -> Result<(), ApiError> {
        // First everything that can fail.
        let model = match &change.model {
            Some(model) => Some(options::model_index(&self.models, model)?),
            None => None,
        };
        if let Some(attenuation) = change.attenuation_db {
            options::check_attenuation(attenuation)?;
        }
        if let Some(send_to) = change.send_to {
            options::check_target(send_to)?;
            options::check_pair(self.listen, send_to)?;
        }
        let srtp_in = options::srtp("srtp_in", change.srtp_in.as_ref(), SrtpDecryptor::new)?;
        let srtp_out = options::srtp("srtp_out", change.srtp_out.as_ref(), SrtpEncryptor::new)?;
        if let Some(attenuation) = change.attenuation_db {
            self.rtp
                .set_attenuation(attenuation.0)
                .map_err(|error| ApiError::Invalid(error.to_string()))?;
        }
        if let Some(index) = model {
            self.rtp
                .set_model(index)
                .map_err(|error| ApiError::Invalid(error.to_string()))?;
        }
        if let Some(on) = change.on {
            self.rtp.set_bypass(!on);
        }
        self.send_to = change.send_to.unwrap_or(self.send_to);
        self.srtp_in = srtp_in.or(self.srtp_in.take());
        self.srtp_out = srtp_out.or(self.srtp_out.take());
        Ok(())
    }

    /// The spectrogram columns after column `since`. Starts their computation. `column`: the present
    /// column.
    pub fn strip(&mut self, now: Instant, column: u64, since: u64) -> Strip {
        self.feed_requested_at = Some(now);
        let feed = &mut self.feed;
        let feed = feed.get_or_insert_with(|| SpectrogramFeed::new(self.rate_hz, column));
        feed.since(since)
    }

    /// Computes the spectrogram columns up to `column`, if a client requested them.
    pub fn advance_feed(&mut self, column: u64) {
        if let Some(feed) = &mut self.feed {
            feed.advance_to(column);
        }
    }

    fn state(&self, now: Instant) -> State {
        let is_idle = self.last_packet_at.is_none_or(|at| now > at + IDLE_TIMEOUT);
        if is_idle {
            State::Idle
        } else if self.rtp.is_passthrough() {
            State::Passthrough
        } else if self.rtp.denoiser().fallback_level() > 0 {
            State::SteppedDown
        } else {
            State::Denoising
        }
    }

    fn levels(&self) -> Levels {
        let telemetry = self.rtp.denoiser().telemetry();
        Levels {
            input_dbfs: telemetry.input_dbfs,
            output_dbfs: telemetry.output_dbfs,
            snr_db: telemetry.snr_db,
            gain_db: telemetry.gain_db,
            speech_probability: telemetry.speech_probability,
            speech_share: self.with_speech as f32 / self.denoised.max(1) as f32,
        }
    }

    fn packet_stats(&self) -> PacketStats {
        let mut packets = PacketStats::from(self.rtp.stats());
        packets.failed += self.send_failures;
        packets.malformed += self.not_authentic;
        packets.duplicate += self.replayed;
        packets
    }

    /// The stream as the control interface shows it.
    pub fn snapshot(&self, now: Instant) -> StreamInfo {
        let denoiser = self.rtp.denoiser();
        let model_id = |model: &Arc<Model>| model.manifest().id().to_owned();
        let state = self.state(now);
        let has_levels = matches!(state, State::Denoising | State::SteppedDown);
        StreamInfo {
            id: self.id.clone(),
            listen: self.listen,
            send_to: self.send_to,
            srtp_in: self.srtp_in.as_ref().map(|(suite, _)| *suite),
            srtp_out: self.srtp_out.as_ref().map(|(suite, _)| *suite),
            codec: self.codec,
            payload_type: self.payload_type,
            channels: self.channels,
            on: !denoiser.bypass_requested(),
            attenuation_db: Attenuation(denoiser.attenuation()),
            model: model_id(denoiser.model()),
            active_model: denoiser.active_model().map(model_id),
            delay_ms: self.rtp.delay().as_secs_f64() * 1000.0,
            state,
            seconds: now.saturating_duration_since(self.created_at).as_secs_f64(),
            levels: has_levels.then(|| self.levels()),
            packets: self.packet_stats(),
            jitter_ms: self.rtp.jitter().as_secs_f64() * 1000.0,
            missed_deadlines: denoiser.stats().deadline_misses,
            cpu_seconds: self.cpu.as_secs_f64(),
            last_error: self.last_error.clone(),
        }
    }
}

impl BatchStream for Stream {
    fn stream_and_block(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        self.rtp.stream_and_block()
    }

    fn complete(&mut self, result: Result<(), Error>) {
        if let (Some(feed), Some(block)) = (&mut self.feed, self.rtp.block()) {
            feed.push(Signal::Output, block, self.channels);
        }
        if let Err(error) = &result {
            self.last_error = Some(error.to_string());
        }
        let start = Instant::now();
        self.rtp.complete(result);
        self.cpu += start.elapsed();
        self.denoised += 1;
        let speech_probability = self.rtp.denoiser().telemetry().speech_probability;
        let has_speech = speech_probability.is_some_and(|p| p > SPEECH_THRESHOLD);
        self.with_speech += u64::from(has_speech);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L16 at 48 kHz.
    const PAYLOAD_TYPE: u8 = 96;

    fn stream(fields: &str) -> Result<Stream, ApiError> {
        let text =
            format!(r#"{{"send_to": "127.0.0.1:9", "codec": "l16", "rate_hz": 48000 {fields}}}"#);
        let models = [Model::embedded("tiny").unwrap()];
        let config = serde_json::from_str(&text).unwrap();
        Stream::new("test".into(), &config, Arc::from(models))
    }

    /// 20 ms of silence.
    fn packet(n: u16) -> Vec<u8> {
        let mut bytes = vec![0x80, PAYLOAD_TYPE];
        bytes.extend(n.to_be_bytes());
        bytes.extend((u32::from(n) * 960).to_be_bytes());
        bytes.extend([0, 0, 0, 1]);
        bytes.extend([0; 2 * 960]);
        bytes
    }

    fn drive(stream: &mut Stream, now: Instant, clock: Duration) {
        while stream.prepare(now, clock) {
            let (denoiser, block) = stream.stream_and_block().unwrap();
            let result = denoiser.process_in_place(block);
            stream.complete(result);
        }
    }

    #[test]
    fn a_stream_is_idle_one_second_after_its_last_packet() {
        let mut stream = stream("").unwrap();
        let start = Instant::now();
        assert_eq!(stream.snapshot(start).state, State::Idle);
        for n in 0..10 {
            let clock = Duration::from_millis(20 * u64::from(n));
            stream.receive_datagram(start + clock, clock, &packet(n));
            drive(&mut stream, start + clock, clock);
        }
        let last = start + Duration::from_millis(180);
        let snapshot = stream.snapshot(last + IDLE_TIMEOUT);
        assert_eq!(snapshot.state, State::Denoising);
        assert!(snapshot.levels.is_some());
        let snapshot = stream.snapshot(last + IDLE_TIMEOUT + Duration::from_nanos(1));
        assert_eq!(snapshot.state, State::Idle);
        assert!(snapshot.levels.is_none());
    }

    #[test]
    fn spectrograms_stop_five_seconds_after_the_last_request() {
        let mut stream = stream("").unwrap();
        let start = Instant::now();
        stream.strip(start, 0, 0);
        stream.prepare(
            start + FEED_TIMEOUT - Duration::from_nanos(1),
            Duration::ZERO,
        );
        assert!(stream.feed.is_some());
        stream.prepare(start + FEED_TIMEOUT, Duration::ZERO);
        assert!(stream.feed.is_none());
    }

    #[test]
    fn a_change_with_an_error_changes_nothing() {
        let mut stream = stream("").unwrap();
        let now = Instant::now();
        let change = |text: &str| serde_json::from_str::<Change>(text).unwrap();
        let wrong = change(r#"{"on": false, "attenuation_db": 12, "model": "missing"}"#);
        assert!(matches!(stream.change(&wrong), Err(ApiError::Invalid(_))));
        assert!(stream.snapshot(now).on);
        let right = change(r#"{"on": false, "attenuation_db": "unlimited"}"#);
        stream.change(&right).unwrap();
        let snapshot = stream.snapshot(now);
        assert!(!snapshot.on);
        assert_eq!(
            snapshot.attenuation_db.0,
            quietwire::AttenuationLimit::Unlimited
        );
    }

    #[test]
    fn an_attenuation_beyond_200_db_is_rejected() {
        for (wrong, text) in [("-1", "-1"), ("200.5", "200.5")] {
            let error = stream(&format!(r#", "attenuation_db": {wrong}"#)).err();
            assert!(
                matches!(&error, Some(ApiError::Invalid(found)) if found.contains(text)),
                "{error:?}"
            );
        }
        assert!(stream(r#", "attenuation_db": 200"#).is_ok());
        assert!(stream(r#", "attenuation_db": null"#).is_ok());
    }
}
