//! Checks received packets and inserts them into the jitter buffer.

use std::ops::Range;
use std::time::Duration;

use super::RtpDenoiser;
use crate::error::RtpError;
use crate::jitter_buffer::PacketKind;
use crate::packet::Packet;
use crate::red::{Block, Blocks};
use crate::source::Place;

/// Longest datagram, bytes: the payload of an Ethernet jumbo frame.
const MAX_DATAGRAM_BYTES: usize = 9000;

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
        let expected = self.audio_payload_type;
        let Some(kind) = self.kind_of(packet.payload_type()) else {
            // Its number is not missing. If it has no place, nothing is lost with it.
            if self.source.is_current(&packet)
                && let Ok(place) = self.locate(now, &packet)
            {
                let _ = self.store(now, &packet, place, PacketKind::Dropped, 0..0);
            }
            return Err(RtpError::PayloadType {
                found: packet.payload_type(),
                expected,
            });
        };
        // The whole packet is checked before any state changes.
        let is_red = self.options.red_payload_type == Some(packet.payload_type());
        let blocks = if is_red && !packet.payload().is_empty() {
            Some(Blocks::parse(packet.payload())?)
        } else {
            None
        };
        if let Some(blocks) = &blocks
            && blocks.primary().payload_type != expected
        {
            return Err(RtpError::Malformed("redundant audio of another codec"));
        }
        let codec_range = blocks.as_ref().map_or(0..packet.payload().len(), |blocks| {
            blocks.primary().bytes.clone()
        });
        let is_empty = kind == PacketKind::Audio && codec_range.is_empty();
        let place = self.locate(now, &packet)?;
        let kind = if is_empty { PacketKind::Dropped } else { kind };
        self.store(now, &packet, place, kind, codec_range)?;
        if let Some(blocks) = blocks {
            self.insert_redundant(now, &packet, place, blocks.redundant());
        }
        if is_empty {
            return Err(RtpError::Empty {
                sequence: packet.sequence(),
            });
        }
        if kind == PacketKind::Audio {
            self.jitter.update(now, place.ticks, self.rate_hz);
        }
        Ok(())
    }

    /// What packets of a payload type are. `None`: the stream was not configured for it.
    fn kind_of(&self, payload_type: u8) -> Option<PacketKind> {
        if payload_type == self.audio_payload_type
            || self.options.red_payload_type == Some(payload_type)
        {
            Some(PacketKind::Audio)
        } else if self
            .options
            .passthrough_payload_types
            .contains(&payload_type)
        {
            Some(PacketKind::Passthrough)
        } else if self.comfort_noise_payload_type == Some(payload_type) {
            Some(PacketKind::ComfortNoise)
        } else {
            None
        }
    }

    /// The place of a packet that was not received before.
    fn locate(&mut self, now: Duration, packet: &Packet<'_>) -> Result<Place, RtpError> {
        let last_sequence = self.jitter_buffer.last_sequence();
        let place = self
            .source
            .locate(now, packet, self.next_sequence, last_sequence)?;
        if self.playing_ssrc.is_none() {
            self.playing_ssrc = Some(packet.ssrc());
            self.next_sequence = place.sequence;
            self.sender.start(packet.ssrc(), packet.sequence());
        }
        let buffered = self.jitter_buffer.get(place.sequence);
        let is_replaced =
            |kind: PacketKind| matches!(kind, PacketKind::Redundant | PacketKind::Dropped);
        if buffered.is_some_and(|packet| !is_replaced(packet.kind)) {
            return Err(RtpError::Duplicate {
                sequence: packet.sequence(),
            });
        }
        Ok(place)
    }

    /// Copies a packet, or the audio of one of its blocks, into the jitter buffer.
    fn store(
        &mut self,
        now: Duration,
        packet: &Packet<'_>,
        place: Place,
        kind: PacketKind,
        codec_range: Range<usize>,
    ) -> Result<(), RtpError> {
        let Some(buffered) = self.jitter_buffer.insert(place.sequence) else {
            return Err(RtpError::Overflow {
                sequence: packet.sequence(),
            });
        };
        buffered.source = place.source;
        buffered.ticks = place.ticks;
        buffered.arrival = now;
        buffered.marker = packet.marker();
        buffered.payload_type = packet.payload_type();
        buffered.kind = kind;
        buffered.header.clear();
        buffered.header.extend_from_slice(packet.header());
        buffered.payload.clear();
        buffered.payload.extend_from_slice(packet.payload());
        buffered.codec_range = codec_range;
        Ok(())
    }

    /// Inserts redundant blocks in the places of packets that were not received. The timestamp offset
    /// of a block places it (RFC 2198 section 3): the blocks of a packet need not be those right
    /// before it.
    fn insert_redundant(
        &mut self,
        now: Duration,
        packet: &Packet<'_>,
        place: Place,
        blocks: &[Block],
    ) {
        for block in blocks.iter().rev() {
            let offset = i64::from(block.timestamp_offset);
            let payload = &packet.payload()[block.bytes.clone()];
            let frames = self.chain.decoder().frames(payload, self.rate_hz);
            let (Ok(frames), true) = (frames, offset > 0) else {
                continue;
            };
            let ticks = place.ticks - offset;
            let is_played = place.source == self.playing_source
                && self
                    .clock
                    .latest_ticks()
                    .is_some_and(|latest| ticks <= latest);
            let step = self.clock.step(frames).max(1);
            let distance = ((offset + step / 2) / step).max(1) as u64;
            let sequence = place.sequence.saturating_sub(distance);
            let is_needed = !is_played
                && block.payload_type == self.audio_payload_type
                && self.source.has_number(sequence, self.next_sequence)
                && self.jitter_buffer.get(sequence).is_none()
                && !self.jitter_buffer.contains_ticks(place.source, ticks);
            if is_needed {
                let place = Place {
                    sequence,
                    ticks,
                    ..place
                };
                // A full buffer has no room for redundancy.
                let _ = self.store(
                    now,
                    packet,
                    place,
                    PacketKind::Redundant,
                    block.bytes.clone(),
                );
            }
        }
    }
}
