//! Checks received packets and inserts them into the jitter buffer.

use std::time::Duration;

use super::RtpDenoiser;
use crate::error::RtpError;
use crate::jitter_buffer::{BufferedPacket, PacketKind, WINDOW};
use crate::packet::Packet;
use crate::red::{Block, Blocks};

/// Longest datagram, bytes: the payload of an Ethernet jumbo frame.
const MAX_DATAGRAM_BYTES: usize = 9000;
/// Packets further behind the expected one belong to a restarted source (MAX_MISORDER of RFC 3550,
/// appendix A.1).
const MAX_MISORDER: i64 = 100;
/// Offset of the sequence numbers without wraps, so that numbers before the first packet are
/// positive.
pub(super) const FIRST_SEQUENCE: u64 = 1 << 32;

impl RtpDenoiser {
    /// Inserts a packet into the jitter buffer.
    pub(super) fn insert(&mut self, now: Duration, datagram: &[u8]) -> Result<(), RtpError> {
        if datagram.len() > MAX_DATAGRAM_BYTES {
            return Err(RtpError::TooLong {
                found: datagram.len(),
                max: MAX_DATAGRAM_BYTES,
            });
        }
        let packet = Packet::parse(datagram)?;
        let found = packet.payload_type();
        let expected = self.audio_payload_type;
        let is_red = self.options.red_payload_type == Some(found);
        let is_passthrough = self.options.passthrough_payload_types.contains(&found);
        if found != expected && !is_red && !is_passthrough {
            return Err(RtpError::PayloadType { found, expected });
        }
        // The whole packet is checked before any state changes.
        let blocks = is_red
            .then(|| Blocks::parse(packet.payload()))
            .transpose()?;
        if blocks
            .as_ref()
            .is_some_and(|blocks| blocks.primary().payload_type != expected)
        {
            return Err(RtpError::Malformed("redundant audio of another codec"));
        }
        let sequence = self.locate(now, &packet)?;
        let ticks = self.unwrap_timestamp(packet.timestamp());
        let complete_payload = 0..packet.payload().len();
        let codec_range = blocks
            .as_ref()
            .map_or(complete_payload, |blocks| blocks.primary().bytes.clone());
        let received = ReceivedPacket {
            ticks,
            arrival: now,
            packet: &packet,
        };
        let kind = if is_passthrough {
            PacketKind::Passthrough
        } else {
            PacketKind::Audio
        };
        received.write(self.jitter_buffer.insert(sequence), kind, codec_range);
        if let Some(blocks) = blocks {
            self.insert_redundant(sequence, &received, blocks.redundant());
        }
        if !is_passthrough {
            self.jitter.update(now, ticks, self.rate_hz);
        }
        Ok(())
    }

    /// The sequence number of a packet without wraps, if the jitter buffer has a free slot for it.
    fn locate(&mut self, now: Duration, packet: &Packet<'_>) -> Result<u64, RtpError> {
        let sequence = packet.sequence();
        let ssrc = packet.ssrc();
        let Some(present_ssrc) = self.ssrc else {
            self.ssrc = Some(ssrc);
            self.next_sequence = FIRST_SEQUENCE + u64::from(sequence);
            self.expected_ticks = i64::from(packet.timestamp());
            self.sender.start(ssrc, sequence);
            return Ok(self.next_sequence);
        };
        let ahead = i64::from(sequence.wrapping_sub(self.next_sequence as u16) as i16);
        if ssrc != present_ssrc || ahead < -MAX_MISORDER || ahead >= WINDOW as i64 {
            let is_successor = self.probation == Some((ssrc, sequence));
            self.probation = Some((ssrc, sequence.wrapping_add(1)));
            if !is_successor {
                return Err(RtpError::Probation { sequence, ssrc });
            }
            self.restart(now, packet);
            return Ok(self.next_sequence);
        }
        if ahead < 0 {
            return Err(RtpError::Late { sequence });
        }
        let located = self.next_sequence.wrapping_add_signed(ahead);
        let buffered = self.jitter_buffer.get(located).map(|packet| packet.kind);
        if buffered.is_some_and(|kind| kind != PacketKind::Redundant) {
            return Err(RtpError::Duplicate { sequence });
        }
        Ok(located)
    }

    /// Switches to another source, or to new sequence numbers of the present source.
    fn restart(&mut self, now: Duration, packet: &Packet<'_>) {
        self.stats.restarts += 1;
        self.probation = None;
        self.ssrc = Some(packet.ssrc());
        self.jitter_buffer.clear();
        self.decoder.reset();
        self.jitter.restart();
        self.next_sequence = FIRST_SEQUENCE + u64::from(packet.sequence());
        self.rebase_timeline(now, i64::from(packet.timestamp()));
    }

    /// The stream continues at received timestamp `ticks`.
    pub(super) fn rebase_timeline(&mut self, now: Duration, ticks: i64) {
        let elapsed = self.ticks_since_playout(now) - self.packet_frames as i64;
        self.expected_ticks = ticks;
        self.concealed_ticks = 0;
        self.sender
            .rebase_timeline(ticks - self.delay as i64, elapsed.max(0));
    }

    /// Ticks since the latest packet was played.
    pub(super) fn ticks_since_playout(&self, now: Duration) -> i64 {
        let seconds = now.saturating_sub(self.played_at).as_secs_f64();
        (seconds * f64::from(self.rate_hz)) as i64
    }

    fn unwrap_timestamp(&self, timestamp: u32) -> i64 {
        let expected = self.expected_ticks;
        expected + i64::from(timestamp.wrapping_sub(expected as u32) as i32)
    }

    /// Inserts redundant blocks for the packets that were not received.
    fn insert_redundant(&mut self, sequence: u64, received: &ReceivedPacket<'_>, blocks: &[Block]) {
        for (block, distance) in blocks.iter().rev().zip(1..) {
            let earlier = sequence.saturating_sub(distance);
            let is_needed = earlier >= self.next_sequence
                && !block.bytes.is_empty()
                && block.payload_type == self.audio_payload_type
                && !self.jitter_buffer.contains(earlier);
            if is_needed {
                let redundant = ReceivedPacket {
                    ticks: received.ticks - i64::from(block.timestamp_offset),
                    ..*received
                };
                redundant.write(
                    self.jitter_buffer.insert(earlier),
                    PacketKind::Redundant,
                    block.bytes.clone(),
                );
            }
        }
    }
}

/// A packet with its arrival time and its timestamp without wraps.
#[derive(Clone, Copy)]
struct ReceivedPacket<'a> {
    ticks: i64,
    arrival: Duration,
    packet: &'a Packet<'a>,
}

impl ReceivedPacket<'_> {
    fn write(
        &self,
        buffered: &mut BufferedPacket,
        kind: PacketKind,
        codec_range: std::ops::Range<usize>,
    ) {
        buffered.ticks = self.ticks;
        buffered.timestamp_ticks = self.ticks;
        buffered.arrival = self.arrival;
        buffered.marker = self.packet.marker();
        buffered.payload_type = self.packet.payload_type();
        buffered.kind = kind;
        buffered.header.clear();
        buffered.header.extend_from_slice(self.packet.header());
        buffered.payload.clear();
        buffered.payload.extend_from_slice(self.packet.payload());
        buffered.codec_range = codec_range;
    }
}
