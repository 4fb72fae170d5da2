//! Sends packets whose clean audio is complete: encoded, or with their own payloads while the stream
//! is off.

use quietwire::{AttenuationLimit, Denoiser};

use super::RtpDenoiser;
use crate::comfort_noise::{self, Decision};
use crate::delay_line::DelayedPacket;
use crate::jitter_buffer::PacketKind;
use crate::sender::EncodedAudio;

/// Packets after switching on that are encoded without prediction from packets before them, because
/// the receiver's decoder has the state of the other encoder.
const INDEPENDENT_PACKETS: u8 = 2;
/// Speech probability from which a packet counts as voice activity (RFC 6464).
const VOICE_ACTIVITY_THRESHOLD: f32 = 0.5;

/// Whether packets are sent with clean audio or with their own payloads.
#[derive(Debug)]
pub(super) struct Output {
    /// packets are sent with their own payloads: the stream is off
    forwarding: bool,
    /// packets are decoded. While forwarding: for a time after switching on
    decoding: bool,
    /// position from which packets can be encoded
    encodable_from: u64,
    /// frames after which the start of the codecs has no effect
    warm_up: u64,
    /// position from which the denoiser outputs its input
    dry_from: Option<i64>,
    /// the denoiser outputs clean audio
    is_wet: bool,
    /// packets still to be encoded without prediction
    independent_left: u8,
}

impl Output {
    pub(super) fn new(denoiser: &Denoiser, lookahead: usize) -> Self {
        let is_off = denoiser.is_bypassed();
        Self {
            forwarding: is_off,
            decoding: !is_off,
            encodable_from: 0,
            warm_up: (denoiser.latency() + lookahead) as u64,
            dry_from: None,
            is_wet: !is_off,
            independent_left: 0,
        }
    }

    pub(super) fn is_forwarding(&self) -> bool {
        self.forwarding
    }

    pub(super) fn is_decoding(&self) -> bool {
        self.decoding
    }

    /// The packets from position `start` on are decoded again.
    pub(super) fn resume(&mut self, start: u64) {
        self.decoding = true;
        self.encodable_from = start;
        self.dry_from = None;
        self.is_wet = false;
    }

    /// The denoiser has processed a block. `clean_end`: position after its output.
    pub(super) fn update(&mut self, denoiser: &Denoiser, clean_end: i64) {
        let is_bypassed = denoiser.is_bypassed();
        self.is_wet = !is_bypassed;
        if is_bypassed && denoiser.bypass_requested() {
            self.dry_from.get_or_insert(clean_end);
        } else {
            self.dry_from = None;
        }
    }

    /// Whether the packet at position `start` can be encoded.
    fn is_encodable(&self, start: u64) -> bool {
        self.decoding && start >= self.encodable_from
    }

    /// Decides how the packet at position `start` is sent. True: decoding ends with it.
    fn switch(&mut self, start: u64) -> bool {
        if !self.decoding {
            return false;
        }
        if self.dry_from.is_some_and(|dry| start as i64 >= dry) {
            // All audio on the way to the receiver is the input.
            self.forwarding = true;
            self.decoding = false;
            return true;
        }
        if self.forwarding && self.is_wet && start >= self.encodable_from + self.warm_up {
            self.forwarding = false;
            self.independent_left = INDEPENDENT_PACKETS;
        }
        false
    }
}

impl RtpDenoiser {
    /// Sends the packets that are complete.
    pub(super) fn emit(&mut self) {
        while let Some(delayed) = self.delay_line.pop_complete(&self.timeline) {
            self.emit_packet(delayed);
        }
    }

    pub(super) fn emit_packet(&mut self, mut delayed: DelayedPacket) {
        if delayed.frames > 0 {
            if self.output.switch(delayed.start) {
                self.chain.stop();
            }
            let is_encoded =
                self.output.is_encodable(delayed.start) && self.encode_packet(&delayed);
            if !is_encoded {
                self.sender.forward(&delayed);
            }
        } else if self.output.is_forwarding() {
            self.sender.forward(&delayed);
        } else {
            match delayed.packet.kind {
                PacketKind::ComfortNoise => {
                    let gain_db = match self.denoiser.attenuation() {
                        AttenuationLimit::Db(limit) => -limit,
                        _ => f32::NEG_INFINITY,
                    };
                    comfort_noise::apply_gain(&mut delayed.packet.payload, gain_db);
                    self.sender.forward(&delayed);
                }
                PacketKind::Passthrough => self.sender.forward(&delayed),
                // Concealed audio was sent, or nothing.
                _ => {}
            }
        }
        self.jitter_buffer.recycle(delayed.packet);
    }

    /// Encodes the clean audio of a packet. False: the packet is sent with its own payload. The
    /// encoder is then prepared only.
    fn encode_packet(&mut self, delayed: &DelayedPacket) -> bool {
        let is_forwarding = self.output.is_forwarding();
        let speech_probability = self.denoiser.telemetry().speech_probability;
        let voice_activity = speech_probability.unwrap_or(0.0) > VOICE_ACTIVITY_THRESHOLD;
        let lookahead = self.timeline.lookahead() as i64;
        let (mut offset, mut parts, mut is_failed) = (0, 0, false);
        let noise_type = self.comfort_noise_payload_type.filter(|_| self.options.dtx);
        let noise_type = noise_type.filter(|_| !is_forwarding);
        for frames in self.options.codec.packet_lens(delayed.frames) {
            let start = delayed.start as i64 + offset as i64;
            let (block, encoder) = self.chain.take(start + lookahead, frames);
            let level = audio_level(block);
            if let Some(payload_type) = noise_type {
                let is_speech = voice_activity || speech_probability.is_none();
                let decision = self.comfort_noise.decide(is_speech, level, frames);
                if let Decision::Noise(payload) = decision {
                    self.sender
                        .send_comfort_noise(delayed, payload_type, &payload);
                    parts += 1;
                }
                if decision != Decision::Audio {
                    offset += frames;
                    continue;
                }
            }
            encoder.set_independent(self.output.independent_left > 0);
            self.encoded.clear();
            let result = encoder.encode(block, &mut self.encoded);
            if !is_forwarding {
                match result {
                    Ok(true) => {
                        let audio = EncodedAudio {
                            payload: &self.encoded,
                            ticks: delayed.packet.ticks + self.clock.step(offset),
                            is_first: parts == 0,
                            voice_activity,
                            level,
                        };
                        self.sender.send(delayed, &audio);
                        parts += 1;
                    }
                    Ok(false) => {}
                    Err(_) => is_failed = true,
                }
            }
            offset += frames;
        }
        if is_forwarding {
            return false;
        }
        self.output.independent_left = self.output.independent_left.saturating_sub(1);
        self.stats.failed += u64::from(is_failed);
        let dropped = &mut self.stats.dropped;
        if delayed.packet.kind == PacketKind::Audio {
            if delayed.is_undecodable {
                dropped.undecodable += 1;
            } else if parts == 0 && is_failed {
                dropped.failed += 1;
            } else if parts == 0 {
                dropped.silent += 1;
            }
        }
        if parts == 0 {
            self.sender.skip_silence(delayed);
        }
        true
    }
}

/// Audio level, 0 to 127 dB below full scale (RFC 6464 section 3).
fn audio_level(block: &[f32]) -> u8 {
    let power = block.iter().map(|x| x * x).sum::<f32>() / block.len().max(1) as f32;
    // The cast saturates at 0; the logarithm of silence is infinite.
    (-10.0 * power.log10()).round().min(127.0) as u8
}
