//! One RTP stream: reorder, decode, denoise, encode, send.
//!
//! A packet is sent for each packet received: the clean packet of `delay` ticks before. A timestamp
//! is the sampling instant of the audio, so the timestamps are those of the received packets; only a
//! change of source shifts them. A stream that is off sends the received packets with the same
//! delay.

mod builder;
mod playout;
mod receive;

use std::sync::Arc;
use std::time::Duration;

use quietwire::{AttenuationLimit, BatchStream, Denoiser, DenoiserOptions, Error, Model};

use crate::codec::{Decoder, Encoder, MAX_PACKET_S};
use crate::error::{RtpBuildError, RtpError};
use crate::fifo::Fifo;
use crate::jitter_buffer::JitterBuffer;
use crate::options::RtpOptions;
use crate::sender::{EncodedFrame, Sender};
use crate::stats::{InterarrivalJitter, RtpStats};

pub use builder::RtpDenoiserBuilder;
use receive::FIRST_SEQUENCE;

/// After this many packets of a new length in a row, the delay becomes a multiple of it.
const STEADY_PACKETS: u32 = 8;
/// Packets after switching on that are encoded without prediction from packets before them, because
/// the receiver's decoder has the state of the other encoder.
const INDEPENDENT_PACKETS: u8 = 2;
/// Speech probability from which a packet counts as voice activity (RFC 6464).
const VOICE_ACTIVITY_THRESHOLD: f32 = 0.5;

/// One stream of RTP packets: noisy in, clean out. See the [crate] for an example.
///
/// The time is a [`Duration`] on any clock that counts forward. `RtpDenoiser` is `Send`.
pub struct RtpDenoiser {
    options: RtpOptions,
    /// whether the denoiser supports hop-aligned blocks at the codec's rate
    supports_hop_aligned: bool,
    is_hop_aligned: bool,
    rate_hz: u32,
    channels: usize,
    audio_payload_type: u8,
    decoder: Decoder,
    denoiser: Denoiser,
    encoder: Encoder,
    /// delay of the encoder, frames
    encoder_lookahead: usize,
    jitter_buffer: JitterBuffer,
    sender: Sender,
    /// from a received to a sent packet, ticks
    delay: usize,
    /// clean samples that wait, so that the delay is a whole number of packets
    pad: Fifo,
    pad_frames: usize,

    /// the present source
    ssrc: Option<u32>,
    /// a source on probation and its expected next sequence number
    probation: Option<(u32, u16)>,
    /// sequence number of the next packet to be played, and the ticks of its first frame
    next_sequence: u64,
    expected_ticks: i64,
    /// frames of the latest packet
    packet_frames: usize,
    /// ticks concealed since the latest packet
    concealed_ticks: usize,
    /// when audio is concealed if no packet is received
    conceal_at: Option<Duration>,
    /// when the latest packet was played
    played_at: Duration,
    /// no packet was played yet
    is_first: bool,
    /// the latest packet was a passthrough packet
    after_passthrough: bool,

    /// [largest packet][channels]
    block: Vec<f32>,
    /// frames and ticks of the block that waits for the denoiser
    pending: Option<(usize, i64)>,
    /// received packets are sent unchanged: the stream is off
    passthrough: bool,
    /// nothing is decoded: all audio on the way to the receiver is the input
    passthrough_idle: bool,
    /// frames since the denoiser outputs its input
    dry_frames: usize,
    /// packets still to be encoded without prediction
    independent_left: u8,
    encoded: Vec<u8>,
    jitter: InterarrivalJitter,
    stats: RtpStats,
    /// deadline misses of earlier denoisers of this stream
    earlier_deadline_misses: u64,
    /// packets of the latest length in a row
    same_len_packets: u32,
}

impl RtpDenoiser {
    /// Options as a chain of calls. Default: Opus, mono, payload type 111.
    pub fn builder(model: Arc<Model>) -> RtpDenoiserBuilder {
        RtpDenoiserBuilder::new(model)
    }

    pub(crate) fn new(
        models: &[Arc<Model>],
        mut denoiser_options: DenoiserOptions,
        options: RtpOptions,
    ) -> Result<Self, RtpBuildError> {
        let (rate_hz, channels) = (options.codec.rate_hz(), denoiser_options.channels);
        let mut encoder = Encoder::new(&options.encoder(channels))?;
        let encoder_lookahead = encoder.lookahead();
        // Packets are whole hops wherever a hop is a whole number of frames at the codec's rate.
        denoiser_options.hop_aligned = true;
        let denoiser = match Denoiser::new(models, &denoiser_options) {
            Err(Error::HopAligned { .. }) => {
                denoiser_options.hop_aligned = false;
                Denoiser::new(models, &denoiser_options)?
            }
            built => built?,
        };
        // Until the first packet is received: 20 ms, the usual length.
        let packet_frames = rate_hz as usize / 50;
        let audio_payload_type = options.audio_payload_type(channels);
        let sender = Sender::new(
            audio_payload_type,
            options.red_payload_type.filter(|_| options.send_red),
            options.audio_level_id,
        );
        let max_frames = (rate_hz as f32 * MAX_PACKET_S) as usize;
        let mut stream = Self {
            supports_hop_aligned: denoiser_options.hop_aligned,
            is_hop_aligned: denoiser_options.hop_aligned,
            rate_hz,
            channels,
            audio_payload_type,
            decoder: Decoder::new(options.codec, channels)?,
            passthrough: denoiser.is_bypassed(),
            passthrough_idle: denoiser.is_bypassed(),
            denoiser,
            encoder,
            encoder_lookahead,
            jitter_buffer: JitterBuffer::new(),
            sender,
            delay: 0,
            pad: Fifo::new(0, 0),
            pad_frames: 0,
            ssrc: None,
            probation: None,
            next_sequence: FIRST_SEQUENCE,
            expected_ticks: 0,
            packet_frames,
            concealed_ticks: 0,
            conceal_at: None,
            played_at: Duration::ZERO,
            is_first: true,
            after_passthrough: false,
            block: vec![0.0; max_frames * channels],
            pending: None,
            dry_frames: 0,
            independent_left: 0,
            encoded: Vec::new(),
            jitter: InterarrivalJitter::default(),
            stats: RtpStats::default(),
            earlier_deadline_misses: 0,
            same_len_packets: 0,
            options,
        };
        stream.set_delay(packet_frames, packet_frames);
        Ok(stream)
    }

    /// Delay from audio in a received packet to the same audio in a sent packet: constant, on or
    /// off. With 20 ms packets of Opus and the embedded models, 20 ms. When the length of the packets
    /// changes and stays, it becomes the next whole number of packets.
    pub fn delay(&self) -> Duration {
        self.duration_of(self.delay)
    }

    fn duration_of(&self, frames: usize) -> Duration {
        Duration::from_secs_f64(frames as f64 / f64::from(self.rate_hz))
    }

    /// The denoiser of the stream, to read its telemetry and settings.
    pub fn denoiser(&self) -> &Denoiser {
        &self.denoiser
    }

    /// Packet counts since the stream was created.
    pub fn stats(&self) -> RtpStats {
        let mut stats = self.stats;
        stats.passed_through = self.sender.passed_through;
        stats.sent = self.sender.encoded_packets + self.sender.passed_through;
        stats.failed += self.sender.dropped;
        stats
    }

    /// Hops without time for a model, since the stream was created; see
    /// [`DenoiserStats::deadline_misses`](quietwire::DenoiserStats::deadline_misses).
    pub fn deadline_misses(&self) -> u64 {
        self.earlier_deadline_misses + self.denoiser.stats().deadline_misses
    }

    /// Interarrival jitter (RFC 3550 section 6.4.1).
    pub fn jitter(&self) -> Duration {
        Duration::from_secs_f64(self.jitter.jitter_s)
    }

    /// Switches the stream off (true) or on. Off: packets are sent with the payloads that were
    /// received, with the same delay, and nothing is decoded. Takes effect within 200 ms without a
    /// gap or a click.
    pub fn set_bypass(&mut self, bypass: bool) {
        self.denoiser.set_bypass(bypass);
    }

    /// Whether packets are sent unchanged.
    pub fn is_passthrough(&self) -> bool {
        self.passthrough
    }

    /// See [`Denoiser::set_attenuation`].
    ///
    /// # Errors
    /// As [`Denoiser::set_attenuation`].
    pub fn set_attenuation(&mut self, limit: impl Into<AttenuationLimit>) -> Result<(), Error> {
        self.denoiser.set_attenuation(limit)
    }

    /// See [`Denoiser::set_model`].
    ///
    /// # Errors
    /// As [`Denoiser::set_model`].
    pub fn set_model(&mut self, index: usize) -> Result<(), Error> {
        self.denoiser.set_model(index)
    }

    /// Takes a datagram that was received at `now`.
    ///
    /// # Errors
    /// [`RtpError`] for a packet that is dropped. It is counted, and the stream continues.
    ///
    /// # Real-time
    /// Allocates when a packet is longer than every packet before it.
    pub fn receive(&mut self, now: Duration, datagram: &[u8]) -> Result<(), RtpError> {
        let result = self.insert(now, datagram);
        let count = match result {
            Ok(()) => &mut self.stats.received,
            Err(RtpError::Malformed(_) | RtpError::TooLong { .. }) => &mut self.stats.malformed,
            Err(RtpError::Rtcp | RtpError::PayloadType { .. }) => {
                &mut self.stats.unexpected_payload_type
            }
            Err(RtpError::Probation { .. }) => &mut self.stats.probation,
            Err(RtpError::Late { .. }) => &mut self.stats.late,
            Err(RtpError::Duplicate { .. }) => &mut self.stats.duplicate,
        };
        *count += 1;
        result
    }

    /// When [`drive`](Self::drive) or [`prepare`](Self::prepare) must be called even if no packet is
    /// received. `None`: only after a packet.
    pub fn timeout(&self) -> Option<Duration> {
        if self.jitter_buffer.contains(self.next_sequence) {
            return Some(Duration::ZERO);
        }
        match self.jitter_buffer.earliest_arrival(self.next_sequence) {
            Some(arrival) => Some(arrival + self.options.reorder_timeout),
            None => self.conceal_at,
        }
    }

    /// Processes everything that is due at `now`. For a stream that is not in a batch.
    ///
    /// # Real-time
    /// As [`Denoiser::process`], except when the length of the packets changes: then the stream may
    /// create a new denoiser, which allocates.
    pub fn drive(&mut self, now: Duration) {
        while self.prepare(now) {
            let (frames, _) = self.pending.expect("prepare returned true");
            let block = &mut self.block[..frames * self.channels];
            let result = self.denoiser.process_in_place(block);
            self.finish_block(result);
        }
    }

    /// Advances until a block waits for the denoiser (true) or nothing more is due at `now` (false).
    /// After true, process the stream in a [`Batch`](quietwire::Batch) and call `prepare` again.
    ///
    /// # Real-time
    /// As [`drive`](Self::drive).
    pub fn prepare(&mut self, now: Duration) -> bool {
        while self.pending.is_none() {
            if !self.play_next(now) {
                return false;
            }
        }
        true
    }

    /// The block that waits, interleaved: noisy before its turn in a batch, clean after it until
    /// [`complete`](BatchStream::complete) is called.
    pub fn block(&self) -> Option<&[f32]> {
        let (frames, _) = self.pending?;
        Some(&self.block[..frames * self.channels])
    }

    /// Replaces `packet` by the next packet to be sent. False: there is none.
    pub fn poll_packet(&mut self, packet: &mut Vec<u8>) -> bool {
        self.sender.poll(packet)
    }

    /// Encodes and sends the block after the denoiser.
    fn finish_block(&mut self, result: Result<(), Error>) {
        let Some((frames, ticks)) = self.pending.take() else {
            return;
        };
        self.stats.failed += u64::from(result.is_err());
        let block = &mut self.block[..frames * self.channels];
        self.pad.delay(block);
        let is_bypassed = self.denoiser.is_bypassed();
        if is_bypassed && self.denoiser.bypass_requested() {
            self.dry_frames += frames;
        } else {
            self.dry_frames = 0;
        }
        if self.passthrough && !is_bypassed {
            self.passthrough = false;
            self.independent_left = INDEPENDENT_PACKETS;
        } else if self.dry_frames >= self.pad_frames + self.encoder_lookahead + frames {
            // All audio on the way to the receiver is the input.
            self.passthrough = true;
            self.passthrough_idle = true;
        }
        let telemetry = self.denoiser.telemetry();
        let level = audio_level(block);
        self.encoder.set_independent(self.independent_left > 0);
        self.encoded.clear();
        let encoded = self.encoder.encode(block, &mut self.encoded);
        if self.passthrough {
            self.forward(ticks, frames);
            return;
        }
        self.independent_left = self.independent_left.saturating_sub(1);
        let payload = match encoded {
            Ok(is_sent) => is_sent.then_some(&self.encoded[..]),
            Err(_) => {
                self.stats.failed += 1;
                None
            }
        };
        let speech_probability = telemetry.speech_probability.unwrap_or(0.0);
        self.sender.send(&EncodedFrame {
            ticks: ticks - self.delay as i64,
            frames,
            payload,
            voice_activity: speech_probability > VOICE_ACTIVITY_THRESHOLD,
            level,
        });
    }

    /// Adapts the delay and the denoiser to packets of `frames`.
    fn adapt_packet_len(&mut self, frames: usize) {
        self.same_len_packets = if frames == self.packet_frames {
            self.same_len_packets + 1
        } else {
            0
        };
        let is_hop_multiple = frames.is_multiple_of(self.denoiser.hop_frames());
        let hop_aligned = self.supports_hop_aligned && is_hop_multiple;
        let breaks_hops = self.is_hop_aligned && !is_hop_multiple;
        // The length of some senders' packets varies by one frame: do not adapt to each of them.
        let fits = self.delay.is_multiple_of(frames) || self.same_len_packets != STEADY_PACKETS;
        if fits && !breaks_hops && !self.is_first {
            return;
        }
        if hop_aligned != self.is_hop_aligned && self.rebuild_denoiser(hop_aligned).is_err() {
            // The delay stays. Switching may then be audible.
            self.stats.failed += 1;
            return;
        }
        // Before the first packet there is no earlier length to keep.
        let before = if self.is_first { frames } else { self.delay };
        self.set_delay(frames, before);
    }

    /// Replaces the denoiser by one with the same settings and another `hop_aligned`.
    fn rebuild_denoiser(&mut self, hop_aligned: bool) -> Result<(), Error> {
        let new = self
            .denoiser
            .rebuild(|options| options.hop_aligned = hop_aligned)?;
        self.earlier_deadline_misses += self.denoiser.stats().deadline_misses;
        self.is_hop_aligned = hop_aligned;
        self.denoiser = new;
        Ok(())
    }

    /// Sets the delay to a whole number of packets of `frames`, and of `before` frames if possible.
    fn set_delay(&mut self, frames: usize, before: usize) {
        let max_frames = self.block.len() / self.channels;
        let common_multiple = frames / gcd(frames, before) * before;
        let step = if common_multiple <= max_frames {
            common_multiple
        } else {
            frames
        };
        self.delay = (self.denoiser.latency() + self.encoder_lookahead).next_multiple_of(step);
        self.reset_pad();
    }

    fn reset_pad(&mut self) {
        self.pad_frames = self.delay - self.denoiser.latency() - self.encoder_lookahead;
        self.pad = Fifo::new(self.pad_frames * self.channels, self.block.len());
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Audio level, 0 to 127 dB below full scale (RFC 6464 section 3).
fn audio_level(block: &[f32]) -> u8 {
    let power = block.iter().map(|x| x * x).sum::<f32>() / block.len().max(1) as f32;
    // The cast saturates at 0; the logarithm of silence is infinite.
    (-10.0 * power.log10()).round().min(127.0) as u8
}

impl BatchStream for RtpDenoiser {
    fn stream_and_block(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        let (frames, _) = self.pending?;
        Some((
            &mut self.denoiser,
            &mut self.block[..frames * self.channels],
        ))
    }

    fn complete(&mut self, result: Result<(), Error>) {
        self.finish_block(result);
    }
}

impl std::fmt::Debug for RtpDenoiser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RtpDenoiser")
            .field("codec", &self.options.codec)
            .field("channels", &self.channels)
            .field("delay", &self.delay())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_can_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<RtpDenoiser>();
    }
}
