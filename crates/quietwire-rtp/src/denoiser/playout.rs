//! Plays the packets of the jitter buffer in order, and recovers or conceals the missing ones.

use std::time::Duration;

use super::RtpDenoiser;
use crate::jitter_buffer::{BufferedPacket, PacketKind};

/// A sender without packets for this long has paused (DTX). Until then its next packet may only be
/// late, and the audio of this packet is not concealed.
const PAUSE_TIMEOUT: Duration = Duration::from_millis(150);
/// Largest difference of a timestamp from the clock, seconds. Beyond it the source has restarted.
const MAX_TIMESTAMP_ERROR_S: f32 = 2.0;

impl RtpDenoiser {
    /// Plays or conceals one packet. False: nothing is due.
    pub(super) fn play_next(&mut self, now: Duration) -> bool {
        let Some(first) = self.jitter_buffer.first_from(self.next_sequence) else {
            return self.on_timeout(now);
        };
        let ahead = first.sequence - self.next_sequence;
        let gap = first.ticks - self.expected_ticks;
        if ahead == 0 {
            self.play_packet(now, gap);
            return true;
        }
        let arrival = self.jitter_buffer.earliest_arrival(self.next_sequence);
        if now < arrival.unwrap_or(now) + self.options.reorder_timeout {
            return false;
        }
        // The next packet is lost. Audio that was concealed on a timeout is not concealed again.
        self.stats.lost += 1;
        self.sender.enqueue_lost(self.expected_ticks);
        self.next_sequence += 1;
        if let Some(frames) = self.frames_to_conceal(gap).filter(|_| !self.is_first) {
            let next_payload = if ahead == 1 {
                first.codec_payload()
            } else {
                &[]
            };
            let recovered = !self.passthrough_idle
                && frames == gap as usize
                && self
                    .decoder
                    .recover(next_payload, &mut self.block[..frames * self.channels]);
            if recovered {
                self.stats.recovered += 1;
                self.block_ready(frames);
            } else {
                self.conceal(frames);
            }
        }
        true
    }

    /// No packet is in the buffer: conceals the audio of an overdue packet. False: nothing is due, or
    /// the sender has paused.
    fn on_timeout(&mut self, now: Duration) -> bool {
        let Some(due) = self.conceal_at.filter(|due| *due <= now) else {
            return false;
        };
        if self.passthrough_idle {
            // Nothing is concealed. Packets in the delay line do not wait for another packet.
            self.conceal_at = None;
            self.sender.forward_all_until(self.expected_ticks);
            self.sender.mark_silence();
            return false;
        }
        let frames = self.packet_frames;
        // All received audio was sent. More concealment would send audio without a sender.
        if self.concealed_ticks >= self.delay {
            self.conceal_at = None;
            self.forward_passthrough_packets();
            self.sender.mark_silence();
            return false;
        }
        self.conceal_at = Some(due + self.duration_of(frames));
        self.conceal(frames);
        true
    }

    /// Plays the next packet, which is in the buffer. `gap`: ticks from the expected timestamp to
    /// that of the packet.
    fn play_packet(&mut self, now: Duration, gap: i64) {
        let packet = self.buffered_packet();
        let ticks = packet.ticks;
        if packet.kind == PacketKind::Passthrough {
            self.play_passthrough_packet(now);
            return;
        }
        self.after_passthrough = false;
        let concealed_ticks = self.concealed_ticks as i64;
        let timestamp_error = gap - (self.ticks_since_playout(now) - self.packet_frames as i64);
        let max_error = (self.rate_hz as f32 * MAX_TIMESTAMP_ERROR_S) as i64;
        if self.is_first {
            self.expected_ticks = ticks;
        } else if gap < 0 && -gap <= concealed_ticks {
            // Its audio was concealed on a timeout.
            self.stats.late += 1;
            self.remove_played();
            return;
        } else if gap < 0 || gap > max_error && timestamp_error.abs() > max_error {
            self.stats.restarts += 1;
            self.rebase_timeline(now, ticks);
        } else if gap > 0 && self.passthrough_idle {
            // The receiver conceals the gap.
            self.expected_ticks = ticks;
        } else if let Some(frames) = self
            .frames_to_conceal(gap)
            .filter(|_| self.concealed_ticks < self.delay)
        {
            // A silence that the sender did not send (DTX). Fills it until all received audio is
            // sent with its own timestamps.
            self.conceal(frames);
            return;
        } else if gap > 0 {
            self.expected_ticks = ticks;
            self.sender.mark_silence();
        }
        self.decode_packet(now);
    }

    /// Passes a packet of a passthrough payload type to the delay line.
    fn play_passthrough_packet(&mut self, now: Duration) {
        let packet = self.jitter_buffer.get(self.next_sequence);
        let packet = packet.expect("the packet is in the buffer");
        self.sender.enqueue(packet, self.expected_ticks);
        self.remove_played();
        if std::mem::replace(&mut self.after_passthrough, true) {
            // The sequence numbers prove that no audio was sent between the two packets: the audio is
            // not late, there is none.
            let silent_at = now.max(self.played_at + self.duration_of(2 * self.packet_frames));
            self.conceal_at = self.conceal_at.map(|due| due.min(silent_at));
        }
        if self.conceal_at.is_none() {
            self.forward_passthrough_packets();
        } else if self.passthrough_idle {
            self.sender
                .forward_all_until(self.expected_ticks - self.delay as i64);
        }
    }

    /// Decodes the next packet into the block.
    fn decode_packet(&mut self, now: Duration) {
        let packet = self.buffered_packet();
        let is_redundant = packet.kind == PacketKind::Redundant;
        let Ok(frames) = self.decoder.frames(packet.codec_payload(), self.rate_hz) else {
            self.stats.undecodable += 1;
            self.sender.enqueue_lost(self.expected_ticks);
            self.remove_played();
            self.conceal(self.packet_frames);
            return;
        };
        if is_redundant {
            self.stats.lost += 1;
            self.stats.recovered += 1;
        }
        self.adapt_packet_len(frames);
        let packet = self.jitter_buffer.get(self.next_sequence);
        let packet = packet.expect("the packet is in the buffer");
        self.sender.enqueue(packet, self.expected_ticks);
        self.played_at = now;
        self.conceal_at = Some(packet.arrival.max(now) + self.duration_of(frames) + PAUSE_TIMEOUT);
        self.packet_frames = frames;
        self.is_first = false;
        self.resume_codec();
        if !self.passthrough_idle {
            let packet = self.jitter_buffer.get(self.next_sequence);
            let payload = packet.expect("the packet is in the buffer").codec_payload();
            let block = &mut self.block[..frames * self.channels];
            self.encoder.match_mode(payload);
            if self.decoder.decode(payload, block).is_err() {
                self.stats.undecodable += 1;
                self.decoder.conceal(block);
            }
        }
        self.remove_played();
        self.block_ready(frames);
        self.concealed_ticks = 0;
    }

    /// The next packet, which is in the buffer.
    fn buffered_packet(&self) -> &BufferedPacket {
        let packet = self.jitter_buffer.get(self.next_sequence);
        packet.expect("the packet is in the buffer")
    }

    /// Removes the next packet from the buffer and advances.
    fn remove_played(&mut self) {
        self.jitter_buffer.remove(self.next_sequence);
        self.next_sequence += 1;
    }

    /// Sends the passthrough packets that no audio before them waits for.
    fn forward_passthrough_packets(&mut self) {
        if self.passthrough_idle {
            self.sender.forward_all_until(self.expected_ticks);
        } else {
            self.sender.forward_passthrough_until(self.expected_ticks);
        }
    }

    /// Frames to conceal in a gap: one packet, or a smaller gap that the codec and the denoiser
    /// support as one block. `None`: the gap is skipped.
    fn frames_to_conceal(&self, gap: i64) -> Option<usize> {
        let gap = usize::try_from(gap).ok().filter(|gap| *gap > 0)?;
        if gap >= self.packet_frames {
            return Some(self.packet_frames);
        }
        let fits_hops = !self.is_hop_aligned || gap.is_multiple_of(self.denoiser.hop_frames());
        Some(gap).filter(|_| fits_hops && self.options.codec.supports_packet_len(gap))
    }

    /// Fills the block with concealed audio.
    fn conceal(&mut self, frames: usize) {
        self.resume_codec();
        if !self.passthrough_idle {
            self.stats.concealed += 1;
            self.decoder
                .conceal(&mut self.block[..frames * self.channels]);
            self.concealed_ticks += frames;
        }
        self.block_ready(frames);
    }

    /// The block holds the next `frames`: they wait for the denoiser, or packets are forwarded.
    fn block_ready(&mut self, frames: usize) {
        let ticks = self.expected_ticks;
        self.expected_ticks += frames as i64;
        if self.passthrough_idle {
            self.forward(ticks, frames);
        } else {
            self.pending = Some((frames, ticks));
        }
    }

    /// Sends the packets that were played one delay ago.
    pub(super) fn forward(&mut self, ticks: i64, frames: usize) {
        let ticks = ticks - self.delay as i64;
        self.sender.forward_all_until(ticks);
        self.sender.extend_sent(ticks + frames as i64);
    }

    /// Resets the codecs when the stream was switched on after nothing was decoded. Their output is
    /// not sent before the denoiser has faded in.
    fn resume_codec(&mut self) {
        if self.passthrough_idle && !self.denoiser.bypass_requested() {
            self.passthrough_idle = false;
            self.decoder.reset();
            self.encoder.reset();
            self.reset_pad();
        }
    }
}
