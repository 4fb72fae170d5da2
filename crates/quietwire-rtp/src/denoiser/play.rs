//! Plays the packets of the jitter buffer in order, and recovers or conceals the missing ones.

use std::time::Duration;

use super::RtpDenoiser;
use crate::delay_line::DelayedPacket;
use crate::error::RtpError;
use crate::jitter_buffer::{BufferedPacket, PacketKind};
use crate::plausibility::Plausibility;
use crate::playout::Next;
use crate::sender_clock::SenderClock;

/// Audio that is concealed in a row, seconds. Extrapolated audio has faded to silence by then, and the
/// receiver conceals the rest.
const MAX_CONCEALED_S: f32 = 0.2;

impl RtpDenoiser {
    /// What is known of the next packet.
    pub(super) fn next(&self) -> Next {
        let first = self.jitter_buffer.first();
        let Some(first) = first.filter(|_| self.jitter_buffer.is_playable()) else {
            return Next::None;
        };
        if first.source != self.playing_source {
            return Next::OtherSource;
        }
        if first.sequence > self.next_sequence {
            // Packets of another source prove that this one has ended.
            let other_source = self.jitter_buffer.last_source() != Some(self.playing_source);
            return Next::Missing {
                since: self.jitter_buffer.earliest_arrival().unwrap_or_default(),
                crowded: self.jitter_buffer.is_crowded() || other_source,
            };
        }
        if first.kind.is_audio() && self.clock.is_pause(first.ticks) {
            Next::AfterPause
        } else {
            Next::Ready
        }
    }

    /// Plays the next packet, which is in the buffer.
    pub(super) fn play(&mut self, now: Duration) {
        let Some(packet) = self.jitter_buffer.pop_first() else {
            return;
        };
        self.next_sequence = packet.sequence + 1;
        match packet.kind {
            PacketKind::Audio | PacketKind::Redundant => self.play_audio(now, packet),
            PacketKind::Passthrough | PacketKind::ComfortNoise => {
                let delayed = DelayedPacket::new(packet, self.timeline.pushed());
                if self.delay_line.is_empty() {
                    self.emit_packet(delayed);
                } else {
                    self.enqueue(delayed);
                }
            }
            PacketKind::Dropped | PacketKind::Lost => self.jitter_buffer.recycle(packet),
        }
    }

    fn play_audio(&mut self, now: Duration, packet: BufferedPacket) {
        self.resume_decoding();
        let is_decoding = self.output.is_decoding();
        let payload = packet.codec_payload();
        let found = self.chain.decoder().frames(payload, self.rate_hz).ok();
        let ticks_since = self.clock.ticks_since(packet.sequence, packet.ticks);
        let is_decodable = if is_decoding && self.chain.decoder().can_check_payloads() {
            self.plausibility.check_payload(payload, found, ticks_since)
        } else {
            found.is_some()
        };
        let frames = found.filter(|_| is_decodable).unwrap_or(self.packet_frames);
        let delay = self.timeline.delay();
        let is_first = self.clock.latest_ticks().is_none();
        let filled = self.timeline.adapt(frames);
        self.timeline.push(filled);
        if is_decoding {
            self.chain.mirror(filled);
        }
        let mut delayed = DelayedPacket::new(packet, self.timeline.pushed());
        delayed.frames = frames;
        delayed.after_pause = self.clock.is_pause(delayed.packet.ticks);
        self.timeline.push(frames);
        if is_decoding {
            let payload = delayed.packet.codec_payload();
            let plausibility = &mut self.plausibility;
            let is_decoded = if is_decodable {
                let is_audio = |samples: &[f32]| plausibility.check_samples(samples);
                self.chain.decode(payload, frames, is_audio)
            } else if plausibility.is_other_codec() {
                self.chain.silence(frames);
                false
            } else {
                self.chain.conceal(frames);
                false
            };
            delayed.is_undecodable = !is_decoded;
        }
        self.report_other_codec();
        if delayed.packet.kind == PacketKind::Redundant {
            self.stats.lost += 1;
            self.stats.recovered += 1;
        }
        let (sequence, ticks) = (delayed.packet.sequence, delayed.packet.ticks);
        let arrival = delayed.packet.arrival;
        self.clock.played(sequence, ticks, frames, arrival);
        let len = self.duration_of(frames);
        self.playout
            .played(now, arrival, len, is_decoding, !delayed.after_pause);
        self.stats.delay_changes += u64::from(!is_first && self.timeline.delay() != delay);
        self.packet_frames = frames;
        self.concealed_frames = 0;
        self.played_at = now;
        self.enqueue(delayed);
    }

    fn report_other_codec(&mut self) {
        if self.output.is_decoding() && self.plausibility.is_other_codec() {
            self.playout_error = Some(RtpError::OtherCodec {
                codec: self.options.codec.name(),
            });
        }
    }

    /// The next packet is lost.
    pub(super) fn give_up(&mut self, now: Duration) {
        let Some(first) = self.jitter_buffer.first() else {
            return;
        };
        let missing = first.sequence - self.next_sequence;
        let following = self.jitter_buffer.first_audio(self.playing_source);
        let audio = following.map_or(0, |packet| self.clock.missing_audio(missing, packet.ticks));
        let next_payload = match following {
            Some(packet) if packet.sequence == self.next_sequence + 1 => packet.codec_payload(),
            _ => &[],
        };
        let frames = self.packet_frames;
        let max_frames = (self.rate_hz as f32 * MAX_CONCEALED_S) as usize;
        let is_concealed = audio > 0 && self.concealed_frames + frames <= max_frames;
        let is_decoding = self.output.is_decoding();
        let is_recovered = is_concealed && is_decoding && self.chain.recover(next_payload, frames);
        self.next_sequence += 1;
        self.stats.lost += 1;
        let ticks = if audio > 0 { self.clock.lost() } else { None };
        if let Some(ticks) = ticks.filter(|_| is_concealed) {
            if is_recovered {
                self.stats.recovered += 1;
            } else if is_decoding {
                self.stats.concealed += 1;
                self.chain.conceal(frames);
            }
            self.concealed_frames += frames;
            let mut delayed = self.lost_packet();
            delayed.packet.ticks = ticks;
            delayed.frames = frames;
            self.timeline.push(frames);
            let len = self.duration_of(frames);
            self.playout.extend(now, len, is_decoding);
            self.enqueue(delayed);
        } else if !self.delay_line.add_lost() {
            let mut delayed = self.lost_packet();
            delayed.lost = 1;
            self.enqueue(delayed);
        }
    }

    /// The place of a lost packet in the delay line.
    fn lost_packet(&mut self) -> DelayedPacket {
        let mut packet = self.jitter_buffer.take_from_pool();
        packet.kind = PacketKind::Lost;
        packet.marker = false;
        DelayedPacket::new(packet, self.timeline.pushed())
    }

    fn enqueue(&mut self, delayed: DelayedPacket) {
        if let Some(oldest) = self.delay_line.push(delayed) {
            self.stats.dropped.overflow += u64::from(oldest.packet.kind.is_received());
            self.jitter_buffer.recycle(oldest.packet);
        }
    }

    /// Fills a pause, so that the clean audio before it becomes complete. The filled audio is not
    /// sent. Ends at the end of a hop.
    pub(super) fn fill(&mut self) {
        let frames = self.packet_frames;
        self.timeline.push(frames);
        let rest = self.timeline.to_hop_end();
        self.timeline.push(rest);
        if self.output.is_decoding() {
            self.chain.conceal(frames);
            self.chain.mirror(rest);
        }
    }

    /// Continues with the next source, whose first packet is in the buffer.
    pub(super) fn switch_source(&mut self, now: Duration) {
        let Some(first) = self.jitter_buffer.first() else {
            return;
        };
        let (ssrc, ticks) = (first.ssrc(), first.ticks);
        self.playing_source = first.source;
        self.next_sequence = first.sequence;
        if self.playing_ssrc == Some(ssrc) {
            self.sender.restart();
        } else {
            let passed_s = now.saturating_sub(self.played_at).as_secs_f64();
            let passed = (passed_s * f64::from(self.rate_hz)) as i64 - self.packet_frames as i64;
            self.sender.switch_source(ticks, passed.max(0));
        }
        self.playing_ssrc = Some(ssrc);
        self.stats.restarts += 1;
        self.clock = SenderClock::new(self.rate_hz);
        self.plausibility = Plausibility::default();
        self.jitter.restart();
        if self.output.is_decoding() {
            self.chain.reset_decoder();
        }
    }

    /// Starts the codecs when the stream was switched on after nothing was decoded.
    fn resume_decoding(&mut self) {
        if !self.output.is_decoding() && !self.denoiser.bypass_requested() {
            self.output.resume(self.timeline.pushed());
            self.chain
                .start(self.timeline.partial_hop(), self.timeline.clean_end());
        }
    }
}
