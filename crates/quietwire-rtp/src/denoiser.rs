//! One RTP stream: reorder, decode, denoise, encode, send.
//!
//! A packet is sent for each packet of audio received, with the clean audio of the same frames and the
//! same timestamp, after a constant delay. A stream that is off sends the received packets with the
//! same delay.

mod builder;
mod emit;
mod play;
mod receive;

use std::sync::Arc;
use std::time::Duration;

use quietwire::{AttenuationLimit, BatchStream, Denoiser, DenoiserOptions, Error, Model};

use crate::audio_chain::AudioChain;
use crate::codec::{Decoder, Encoder};
use crate::comfort_noise::ComfortNoise;
use crate::delay_line::DelayLine;
use crate::error::{RtpBuildError, RtpError};
use crate::jitter_buffer::JitterBuffer;
use crate::options::RtpOptions;
use crate::plausibility::Plausibility;
use crate::playout::{Playout, Step};
use crate::sender::Sender;
use crate::sender_clock::SenderClock;
use crate::source::Source;
use crate::stats::{InterarrivalJitter, RtpStats};
use crate::timeline::Timeline;

pub use builder::RtpDenoiserBuilder;
use emit::Output;

/// One stream of RTP packets: noisy in, clean out. See the [crate] for an example.
///
/// The time is a [`Duration`] on any clock that counts forward. `RtpDenoiser` is `Send`.
pub struct RtpDenoiser {
    options: RtpOptions,
    rate_hz: u32,
    channels: usize,
    audio_payload_type: u8,
    comfort_noise_payload_type: Option<u8>,

    source: Source,
    jitter_buffer: JitterBuffer,
    jitter: InterarrivalJitter,
    /// number of the source whose packets are played
    playing_source: u32,
    playing_ssrc: Option<u32>,
    /// sequence number of the next packet to be played
    next_sequence: u64,

    playout: Playout,
    clock: SenderClock,
    timeline: Timeline,
    plausibility: Plausibility,
    /// frames of the latest packet
    packet_frames: usize,
    /// frames that were concealed since the latest packet
    concealed_frames: usize,
    /// when the latest audio was played
    played_at: Duration,

    chain: AudioChain,
    denoiser: Denoiser,
    delay_line: DelayLine,
    output: Output,
    comfort_noise: ComfortNoise,
    sender: Sender,
    /// scratch memory of the encoder's output
    encoded: Vec<u8>,
    stats: RtpStats,
    playout_error: Option<RtpError>,
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
        // The denoiser takes whole hops wherever a hop is a whole number of frames at the codec's rate.
        denoiser_options.hop_aligned = true;
        let denoiser = match Denoiser::new(models, &denoiser_options) {
            Err(Error::HopAligned { .. }) => {
                denoiser_options.hop_aligned = false;
                Denoiser::new(models, &denoiser_options)?
            }
            built => built?,
        };
        let hop = if denoiser_options.hop_aligned {
            denoiser.hop_frames()
        } else {
            1
        };
        // Until the first packet is received: 20 ms, the usual length.
        let packet_frames = rate_hz as usize / 50;
        let lookahead = encoder.lookahead();
        let timeline = Timeline::new(hop, denoiser.latency(), lookahead, packet_frames);
        let decoder = Decoder::new(options.codec, channels)?;
        let mut chain = AudioChain::new(decoder, encoder, channels, hop, rate_hz);
        chain.start(0, timeline.clean_end());
        let audio_payload_type = options.audio_payload_type(channels);
        Ok(Self {
            rate_hz,
            channels,
            audio_payload_type,
            comfort_noise_payload_type: options.comfort_noise_payload_type(),
            source: Source::new(rate_hz),
            jitter_buffer: JitterBuffer::new(),
            jitter: InterarrivalJitter::default(),
            playing_source: 0,
            playing_ssrc: None,
            next_sequence: 0,
            playout: Playout::new(options.reorder_timeout),
            clock: SenderClock::new(rate_hz),
            timeline,
            plausibility: Plausibility::default(),
            packet_frames,
            concealed_frames: 0,
            played_at: Duration::ZERO,
            chain,
            output: Output::new(&denoiser, lookahead),
            comfort_noise: ComfortNoise::new(rate_hz),
            denoiser,
            delay_line: DelayLine::default(),
            sender: Sender::new(
                audio_payload_type,
                options.red_payload_type.filter(|_| options.send_red),
                options.audio_level_id,
            ),
            encoded: Vec::new(),
            stats: RtpStats::default(),
            playout_error: None,
            options,
        })
    }

    /// Delay from audio in a received packet to the same audio in a sent packet: constant, on or
    /// off. With 20 ms packets of Opus and the embedded models, 20 ms. It is a whole number of
    /// packets. When the length of the packets changes and stays, it changes once, to what packets of
    /// the new length need; see [`RtpStats::delay_changes`].
    pub fn delay(&self) -> Duration {
        self.duration_of(self.timeline.delay())
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
        let counts = &self.sender.counts;
        stats.sent = counts.sent;
        stats.replaced = counts.replaced;
        stats.passed_through = counts.passed_through;
        stats.dropped.overflow += counts.overflow;
        let waiting =
            self.jitter_buffer.received() + self.delay_line.received() + self.sender.received();
        stats.waiting = waiting as u64;
        stats
    }

    /// The error of a packet that was found after [`receive`](Self::receive), if there was one since the
    /// latest call: [`RtpError::OtherCodec`].
    pub fn take_error(&mut self) -> Option<RtpError> {
        self.playout_error.take()
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
        self.output.is_forwarding()
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
    /// Allocates when more packets wait, or a packet is longer, than ever before.
    pub fn receive(&mut self, now: Duration, datagram: &[u8]) -> Result<(), RtpError> {
        self.stats.received += 1;
        let result = self.insert(now, datagram);
        if let Err(error) = &result {
            let dropped = &mut self.stats.dropped;
            *match error {
                RtpError::Malformed(_) | RtpError::TooLong { .. } => &mut dropped.malformed,
                RtpError::Rtcp => &mut dropped.rtcp,
                RtpError::PayloadType { .. } => &mut dropped.unexpected_payload_type,
                RtpError::Probation { .. } => &mut dropped.probation,
                RtpError::Late { .. } => &mut dropped.late,
                RtpError::Duplicate { .. } => &mut dropped.duplicate,
                RtpError::Empty { .. } => &mut dropped.empty,
                RtpError::Overflow { .. } => &mut dropped.overflow,
                RtpError::OtherCodec { .. } => &mut dropped.undecodable,
            } += 1;
        }
        result
    }

    /// When [`drive`](Self::drive) or [`prepare`](Self::prepare) must be called even if no packet is
    /// received. `None`: only after a packet.
    pub fn timeout(&self) -> Option<Duration> {
        self.playout.timeout(self.next())
    }

    /// Processes everything that is due at `now`. For a stream that is not in a batch.
    ///
    /// # Real-time
    /// As [`Denoiser::process`].
    pub fn drive(&mut self, now: Duration) {
        while self.prepare(now) {
            let result = self.denoiser.process_in_place(self.chain.pending());
            self.finish_block(result);
        }
    }

    /// Advances until a block waits for the denoiser (true) or nothing more is due at `now` (false).
    /// After true, process the stream in a [`Batch`](quietwire::Batch) and call `prepare` again.
    ///
    /// # Real-time
    /// As [`drive`](Self::drive).
    pub fn prepare(&mut self, now: Duration) -> bool {
        loop {
            if self.chain.pending_frames() > 0 {
                return true;
            }
            self.emit();
            let next = self.next();
            match self.playout.step(now, next, self.delay_line.is_empty()) {
                Step::Wait => return false,
                Step::Play => self.play(now),
                Step::GiveUp => self.give_up(now),
                Step::Fill => self.fill(),
                Step::SwitchSource => self.switch_source(now),
            }
        }
    }

    /// The block that waits, interleaved: noisy before its turn in a batch, clean after it until
    /// [`complete`](BatchStream::complete) is called.
    pub fn block(&self) -> Option<&[f32]> {
        Some(self.chain.pending_block()).filter(|block| !block.is_empty())
    }

    /// Replaces `packet` by the next packet to be sent. False: there is none.
    pub fn poll_packet(&mut self, packet: &mut Vec<u8>) -> bool {
        self.sender.poll(packet)
    }

    /// Takes the block after the denoiser.
    fn finish_block(&mut self, result: Result<(), Error>) {
        let frames = self.chain.pending_frames();
        if frames == 0 {
            return;
        }
        self.stats.failed += u64::from(result.is_err());
        self.output
            .update(&self.denoiser, self.chain.clean_end() + frames as i64);
        self.chain.complete_pending();
        self.emit();
    }
}

impl BatchStream for RtpDenoiser {
    fn stream_and_block(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        let block = self.chain.pending();
        if block.is_empty() {
            None
        } else {
            Some((&mut self.denoiser, block))
        }
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
            .field("mode", &self.playout.mode())
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
