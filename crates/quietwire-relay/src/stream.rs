//! One stream of the relay: its socket, its keys, its denoiser and its counts.

mod error;
mod network;
mod options;
mod show;
mod socket;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use quietwire::{BatchStream, Denoiser, Error, Model};
use quietwire_rtp::RtpDenoiser;

use crate::api::error::ApiError;
use crate::api::media::{CodecName, Suite};
use crate::api::new_stream::{Change, NewStream};
use crate::api::packets::SocketStats;
use crate::api::relay::Strip;
use crate::api::stream_info::State;
use crate::cpu::{StageTimes, thread_time};
use crate::route::Route;
use crate::senders::SenderFilter;
use crate::spectrogram_feed::{Signal, SpectrogramFeed};
use crate::srtp::{SrtpDecryptor, SrtpEncryptor};
use error::{LatestError, StreamError};

/// A stream without packets for this long is idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Spectrogram columns are computed for this long after a client requested them.
const FEED_TIMEOUT: Duration = Duration::from_secs(5);
/// Speech probability from which a packet counts as speech.
const SPEECH_THRESHOLD: f32 = 0.5;

/// One stream.
pub(crate) struct Stream {
    id: String,
    labels: BTreeMap<String, String>,
    socket: UdpSocket,
    listen: SocketAddr,
    send_to: SocketAddr,
    accept_from: Option<String>,
    senders: SenderFilter,
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
    /// as requested
    on: bool,
    /// an overload stopped decoding and encoding
    is_codec_shed: bool,
    idle_timeout: Option<Duration>,
    created_at: Instant,
    last_packet_at: Option<Instant>,
    /// packets denoised, and those of them with speech
    denoised: u64,
    with_speech: u64,
    socket_stats: SocketStats,
    cpu: StageTimes,
    /// part of `cpu`: the latest block
    latest_encode: Duration,
    last_error: LatestError,
    /// the state of the latest [`take_state_change`](Self::take_state_change)
    reported_state: State,
    feed: Option<SpectrogramFeed>,
    feed_requested_at: Option<Instant>,
    /// datagrams may wait in the socket
    is_readable: bool,
    /// a block waits for the denoiser
    is_ready: bool,
    /// its slot in its worker, and its number in the order of creation
    slot: usize,
    number: u64,
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
        options::check_labels(&config.labels)?;
        options::check_idle_timeout(config.idle_timeout_s)?;
        let senders = options::senders(config.accept_from.as_deref())?;
        let (socket, listen) = socket::bind(config.listen)?;
        options::check_families(listen, config.send_to)?;
        Ok(Self {
            id,
            labels: config.labels.clone(),
            socket,
            listen,
            send_to: config.send_to,
            accept_from: config.accept_from.clone(),
            senders: SenderFilter::new(senders),
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
            on: config.on,
            is_codec_shed: false,
            idle_timeout: idle_timeout(config.idle_timeout_s),
            created_at: Instant::now(),
            last_packet_at: None,
            denoised: 0,
            with_speech: 0,
            socket_stats: SocketStats::default(),
            cpu: StageTimes::default(),
            latest_encode: Duration::ZERO,
            last_error: LatestError::default(),
            reported_state: State::Idle,
            feed: None,
            feed_requested_at: None,
            is_readable: false,
            is_ready: false,
            slot: 0,
            number: 0,
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sets the slot in the worker and the number in the order of creation.
    pub fn set_place(&mut self, slot: usize, number: u64) {
        (self.slot, self.number) = (slot, number);
    }

    pub fn slot(&self) -> usize {
        self.slot
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn route(&self) -> Route {
        Route {
            listen: self.listen,
            send_to: self.send_to,
        }
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
    pub fn add_cpu(&mut self, times: StageTimes) {
        self.cpu += times;
    }

    /// Processor time of the encoder for the latest block. [`BatchStream::complete`] has added it.
    pub fn latest_encode(&self) -> Duration {
        self.latest_encode
    }

    /// Advances until a block waits for the denoiser (true) or nothing more is due (false).
    pub fn prepare(&mut self, now: Instant, clock: Duration) -> bool {
        let is_ready = self.rtp.prepare(clock);
        self.is_ready = is_ready;
        if let Some(error) = self.rtp.take_error() {
            self.last_error.set(StreamError::Payload(error), now);
        }
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
            options::check_families(self.listen, send_to)?;
        }
        if let Some(labels) = &change.labels {
            options::check_labels(labels)?;
        }
        options::check_idle_timeout(change.idle_timeout_s.unwrap_or(0))?;
        let senders = options::senders(change.accept_from.as_deref())?;
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
            self.on = on;
            self.update_bypass();
        }
        if let Some(labels) = &change.labels {
            self.labels.clone_from(labels);
        }
        if let Some(seconds) = change.idle_timeout_s {
            self.idle_timeout = idle_timeout(seconds);
        }
        if senders.is_some() {
            self.accept_from.clone_from(&change.accept_from);
            self.senders = SenderFilter::new(senders);
        }
        self.send_to = change.send_to.unwrap_or(self.send_to);
        self.srtp_in = srtp_in.or(self.srtp_in.take());
        self.srtp_out = srtp_out.or(self.srtp_out.take());
        Ok(())
    }

    fn update_bypass(&mut self) {
        self.rtp.set_bypass(!self.on || self.is_codec_shed);
    }

    /// Stops or starts decoding and encoding because of the load. Payloads pass unchanged meanwhile.
    pub fn set_codec_shed(&mut self, is_shed: bool) {
        self.is_codec_shed = is_shed;
        self.update_bypass();
    }

    pub fn is_codec_shed(&self) -> bool {
        self.is_codec_shed
    }

    /// Whether the stream receives packets that the codec could decode.
    pub fn uses_codec(&self) -> bool {
        self.on && self.reported_state != State::Idle
    }

    /// The spectrogram columns after column `since`. Starts their computation. `column`: the present
    /// column.
    pub fn strip(&mut self, now: Instant, column: u64, since: u64) -> Strip {
        self.feed_requested_at = Some(now);
        let feed = &mut self.feed;
        let feed = feed.get_or_insert_with(|| SpectrogramFeed::new(self.rate_hz, column));
        feed.advance_to(column);
        feed.since(since)
    }

    /// Computes the spectrogram columns up to `column`, if a client requested them.
    pub fn advance_feed(&mut self, column: u64) {
        if let Some(feed) = &mut self.feed {
            feed.advance_to(column);
        }
    }

    /// Whether the stream was without packets for its idle timeout.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at().is_some_and(|at| now >= at)
    }

    fn expires_at(&self) -> Option<Instant> {
        let last = self.last_packet_at.unwrap_or(self.created_at);
        Some(last + self.idle_timeout?)
    }

    /// When something changes even without a packet or a block: the state, the end of the
    /// spectrogram, the end of the stream.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let idle = self
            .last_packet_at
            .filter(|_| self.reported_state != State::Idle);
        let idle = idle.map(|at| at + IDLE_TIMEOUT + Duration::from_nanos(1));
        let feed = self.feed_requested_at.filter(|_| self.feed.is_some());
        let feed = feed.map(|at| at + FEED_TIMEOUT);
        // An expired stream waits for its removal.
        let expiry = self.expires_at().filter(|at| *at > now);
        [idle, feed, expiry].into_iter().flatten().min()
    }
}

/// `None`: never.
fn idle_timeout(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
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
            let error = StreamError::Other("model", error.to_string());
            self.last_error.set(error, Instant::now());
        }
        let start = thread_time();
        self.rtp.complete(result);
        self.latest_encode = thread_time().saturating_sub(start);
        self.cpu.encode += self.latest_encode;
        self.denoised += 1;
        let speech_probability = self.rtp.denoiser().telemetry().speech_probability;
        let has_speech = speech_probability.is_some_and(|p| p > SPEECH_THRESHOLD);
        self.with_speech += u64::from(has_speech);
    }
}

impl BatchStream for Box<Stream> {
    fn stream_and_block(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        (**self).stream_and_block()
    }

    fn complete(&mut self, result: Result<(), Error>) {
        (**self).complete(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L16 at 48 kHz.
    const PAYLOAD_TYPE: u8 = 96;
    const SENDER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4);

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
            stream.receive_datagram(start + clock, clock, SENDER, &packet(n));
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
