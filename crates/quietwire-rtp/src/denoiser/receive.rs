//! Packets that come: checked, and put in their places.

use std::time::Duration;

use super::RtpDenoiser;
use crate::rtp::RtpError;
use crate::rtp::buffer::{Entry, Kind, WINDOW};
use crate::rtp::packet::Packet;
use crate::rtp::red::{Block, Blocks};

/// Longest datagram that is taken in: 40 ms of the fastest L16 that one frame of any network holds.
const MAX_BYTES: usize = 9000;
/// A packet further behind than this belongs to another beginning (RFC 3550, appendix A.1).
const MAX_BEHIND: i64 = 100;
/// Counting on across wraps begins here, so that what came before the first has a number too.
pub(super) const FIRST_TURN: u64 = 1 << 32;

impl RtpDenoiser {
    pub(super) fn take_in(&mut self, now: Duration, datagram: &[u8]) -> Result<(), RtpError> {
        if datagram.len() > MAX_BYTES {
            return Err(RtpError::TooLong {
                found: datagram.len(),
                most: MAX_BYTES,
            });
        }
        let packet = Packet::parse(datagram)?;
        let found = packet.payload_type();
        let sound = self.options.sound();
        let is_red = self.options.red_payload_type == Some(found);
        let is_other = self.options.relayed_payload_types.contains(&found);
        if found != sound && !is_red && !is_other {
            return Err(RtpError::PayloadType {
                found,
                expected: sound,
            });
        }
        // Nothing of a packet is taken before all of it is known to be right.
        let blocks = is_red
            .then(|| Blocks::parse(packet.payload()))
            .transpose()?;
        if blocks
            .as_ref()
            .is_some_and(|b| b.primary().payload_type != sound)
        {
            return Err(RtpError::Malformed("redundant audio of another codec"));
        }
        let sequence = self.place(now, &packet)?;
        let ticks = self.unwrapped(packet.timestamp());
        let all = 0..packet.payload().len();
        let coded = blocks.as_ref().map_or(all, |b| b.primary().bytes.clone());
        let arrived = Arrived {
            ticks,
            now,
            packet: &packet,
        };
        let kind = if is_other { Kind::Other } else { Kind::Sound };
        arrived.write(self.buffer.put(sequence), kind, coded);
        if let Some(blocks) = blocks {
            self.take_redundant(sequence, &arrived, blocks.redundant());
        }
        if !is_other {
            self.jitter.note(now, ticks, self.rate_hz);
        }
        Ok(())
    }

    /// The number of a packet, counted on across wraps, if there is a place for it.
    fn place(&mut self, now: Duration, packet: &Packet<'_>) -> Result<u64, RtpError> {
        let sequence = packet.sequence();
        let ssrc = packet.ssrc();
        let Some(source) = self.ssrc else {
            self.ssrc = Some(ssrc);
            self.turn = FIRST_TURN + u64::from(sequence);
            self.expected = i64::from(packet.timestamp());
            self.sender.begin(ssrc, sequence);
            return Ok(self.turn);
        };
        let ahead = i64::from(sequence.wrapping_sub(self.turn as u16) as i16);
        if ssrc != source || ahead < -MAX_BEHIND || ahead >= WINDOW as i64 {
            let follows = self.candidate == Some((ssrc, sequence));
            self.candidate = Some((ssrc, sequence.wrapping_add(1)));
            if !follows {
                return Err(RtpError::Strange { sequence, ssrc });
            }
            self.restart(now, packet);
            return Ok(self.turn);
        }
        let place = self.turn.wrapping_add_signed(ahead);
        if ahead < 0 {
            self.counts.late += 1;
            return Err(RtpError::Late { sequence });
        }
        let held = self.buffer.get(place).map(|entry| entry.kind);
        if held.is_some_and(|kind| kind != Kind::Recovered) {
            self.counts.duplicate += 1;
            return Err(RtpError::Late { sequence });
        }
        Ok(place)
    }

    /// A new beginning, where the old one ended.
    fn restart(&mut self, now: Duration, packet: &Packet<'_>) {
        self.counts.restarts += 1;
        self.candidate = None;
        self.ssrc = Some(packet.ssrc());
        self.buffer.clear();
        self.decoder.reset();
        self.jitter.begin_anew();
        self.turn = FIRST_TURN + u64::from(packet.sequence());
        self.splice(now, i64::from(packet.timestamp()));
    }

    /// The stream goes on at `ticks`, whatever was expected.
    pub(super) fn splice(&mut self, now: Duration, ticks: i64) {
        let passed = self.ticks_since(now) - self.frames as i64;
        self.expected = ticks;
        self.made_up = 0;
        self.sender.splice(ticks - self.delay as i64, passed.max(0));
    }

    pub(super) fn ticks_since(&self, now: Duration) -> i64 {
        let seconds = now.saturating_sub(self.taken_at).as_secs_f64();
        (seconds * f64::from(self.rate_hz)) as i64
    }

    fn unwrapped(&self, timestamp: u32) -> i64 {
        self.expected + i64::from(timestamp.wrapping_sub(self.expected as u32) as i32)
    }

    /// Puts what a packet brings again in the places that are still empty.
    fn take_redundant(&mut self, sequence: u64, arrived: &Arrived<'_>, blocks: &[Block]) {
        for (block, before) in blocks.iter().rev().zip(1..) {
            let place = sequence.saturating_sub(before);
            let is_wanted = place >= self.turn
                && !block.bytes.is_empty()
                && block.payload_type == self.options.sound()
                && !self.buffer.holds(place);
            if is_wanted {
                let again = Arrived {
                    ticks: arrived.ticks - i64::from(block.behind),
                    ..*arrived
                };
                again.write(self.buffer.put(place), Kind::Recovered, block.bytes.clone());
            }
        }
    }
}

/// A packet with when it came and what it is.
#[derive(Clone, Copy)]
struct Arrived<'a> {
    ticks: i64,
    now: Duration,
    packet: &'a Packet<'a>,
}

impl Arrived<'_> {
    fn write(&self, entry: &mut Entry, kind: Kind, coded: std::ops::Range<usize>) {
        entry.ticks = self.ticks;
        entry.stamp = self.ticks;
        entry.arrival = self.now;
        entry.marker = self.packet.marker();
        entry.payload_type = self.packet.payload_type();
        entry.kind = kind;
        entry.header.clear();
        entry.header.extend_from_slice(self.packet.header());
        entry.payload.clear();
        entry.payload.extend_from_slice(self.packet.payload());
        entry.coded = coded;
    }
}
