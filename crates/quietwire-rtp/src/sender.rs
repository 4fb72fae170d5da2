//! Packets on their way out: those that came, delayed, or clean ones in their place.

use std::collections::VecDeque;

use super::buffer::{Entry, Kind};
use super::packet::{PLAIN_HEADER, Rewrite};
use super::red;

/// Packets that came and whose turn to go out has not: the delay holds a few.
const LINE: usize = 64;
/// Packets that wait for the caller to take them.
const OUTBOX: usize = 64;

/// One stream's.
pub(super) struct Sender {
    /// those that came, oldest first
    line: VecDeque<Entry>,
    /// memory of entries that were dropped from the line
    spare: Vec<Entry>,
    outbox: VecDeque<Vec<u8>>,
    /// memory of packets that were taken
    taken: Vec<Vec<u8>>,
    ssrc: u32,
    sequence: u16,
    /// added to the ticks of what came
    shift: i64,
    /// end of what was sent, ticks with `shift`
    end: Option<i64>,
    silent: bool,
    payload_type: u8,
    red_payload_type: Option<u8>,
    audio_level_id: Option<u8>,
    /// what the next packet brings again, and since when
    redundant: (i64, Vec<u8>),
    pub(super) sent: u64,
    pub(super) relayed: u64,
    pub(super) dropped: u64,
}

/// What was cleaned, as a packet wants it.
pub(super) struct Clean<'a> {
    /// of its first sample, without shift
    pub(super) ticks: i64,
    pub(super) frames: usize,
    /// none: nothing needs to be sent (DTX)
    pub(super) payload: Option<&'a [u8]>,
    pub(super) voice: bool,
    /// dB below full scale
    pub(super) level: u8,
}

impl Sender {
    pub(super) fn new(
        payload_type: u8,
        red_payload_type: Option<u8>,
        audio_level_id: Option<u8>,
    ) -> Self {
        Self {
            line: VecDeque::with_capacity(LINE),
            spare: Vec::with_capacity(LINE),
            outbox: VecDeque::with_capacity(OUTBOX),
            taken: Vec::with_capacity(OUTBOX),
            ssrc: 0,
            sequence: 0,
            shift: 0,
            end: None,
            silent: true,
            payload_type,
            red_payload_type,
            audio_level_id,
            redundant: (0, Vec::new()),
            sent: 0,
            relayed: 0,
            dropped: 0,
        }
    }

    /// The first packet of the stream decides on its numbers.
    pub(super) fn begin(&mut self, ssrc: u32, sequence: u16) {
        self.ssrc = ssrc;
        self.sequence = sequence;
    }

    /// Another source, or one that jumped, goes on at `ticks` where the last ended, `passed` ticks
    /// later.
    pub(super) fn splice(&mut self, ticks: i64, passed: i64) {
        for entry in self.line.drain(..) {
            self.spare.push(entry);
        }
        if let Some(end) = self.end {
            self.shift = end + passed - ticks;
        }
        self.redundant.1.clear();
        self.silent = true;
    }

    /// Remembers a packet whose turn it was, at `ticks`.
    pub(super) fn remember(&mut self, entry: &Entry, ticks: i64) {
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.copy_from(entry);
        kept.ticks = ticks;
        self.keep(kept);
    }

    /// Remembers that a packet never came, whose turn was at `ticks`.
    pub(super) fn remember_lost(&mut self, ticks: i64) {
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.ticks = ticks;
        kept.kind = Kind::Lost;
        self.keep(kept);
    }

    fn keep(&mut self, entry: Entry) {
        if self.line.len() == LINE {
            self.spare.extend(self.line.pop_front());
            self.dropped += 1;
        }
        self.line.push_back(entry);
    }

    /// Nothing comes for a while: the next packet begins anew.
    pub(super) fn rest(&mut self) {
        self.silent = true;
    }

    /// Sends, as they came, the packets up to `ticks`. Those that were lost leave their numbers
    /// out, so that the receiver knows of them.
    pub(super) fn relay_until(&mut self, ticks: i64) {
        self.pass_until(ticks, |_| true);
    }

    /// Sends what is neither sound nor changed, up to `ticks`, and forgets the sound.
    pub(super) fn pass_others_until(&mut self, ticks: i64) {
        self.pass_until(ticks, |kind| kind == Kind::Other);
    }

    fn pass_until(&mut self, ticks: i64, is_sent: fn(Kind) -> bool) {
        while self.line.front().is_some_and(|entry| entry.ticks <= ticks) {
            let Some(entry) = self.line.pop_front() else {
                break;
            };
            if is_sent(entry.kind) {
                self.relay(&entry);
            }
            self.spare.push(entry);
        }
    }

    fn relay(&mut self, entry: &Entry) {
        let at = entry.ticks + self.shift;
        // What was sent before a change of the delay is not sent twice.
        if entry.kind != Kind::Other && self.end.is_some_and(|end| at < end) {
            return;
        }
        match entry.kind {
            Kind::Lost | Kind::Recovered => {
                self.sequence = self.sequence.wrapping_add(1);
                return;
            }
            Kind::Sound => self.silent = false,
            Kind::Other => {}
        }
        // All packets of an event have the time of its beginning (RFC 4733 section 2.3.5).
        let stamp = match entry.kind {
            Kind::Other => entry.stamp + self.shift,
            _ => at,
        };
        let mut packet = self.rewrite(entry.marker, entry.payload_type, stamp, None, &entry.header);
        packet.extend_from_slice(&entry.payload);
        self.post(packet);
        self.relayed += 1;
    }

    /// The end of what was relayed: `frames` after `ticks`.
    pub(super) fn ends_at(&mut self, ticks: i64) {
        let end = ticks + self.shift;
        self.end = Some(self.end.map_or(end, |before| before.max(end)));
    }

    /// Sends what was cleaned in the place of what came.
    pub(super) fn send(&mut self, clean: &Clean<'_>) {
        self.pass_others_until(clean.ticks - 1);
        let is_place = |came: &Entry| came.ticks == clean.ticks && came.kind == Kind::Sound;
        let came = if self.line.front().is_some_and(is_place) {
            self.line.pop_front()
        } else {
            None
        };
        let at = clean.ticks + self.shift;
        if self.end.is_none_or(|end| at >= end) {
            let header = came.as_ref().map_or(&PLAIN_HEADER[..], |came| &came.header);
            match clean.payload {
                Some(payload) => self.post_clean(clean, payload, at, header),
                None => self.silent = true,
            }
            self.ends_at(clean.ticks + clean.frames as i64);
        }
        self.spare.extend(came);
        self.pass_others_until(clean.ticks);
    }

    fn post_clean(&mut self, clean: &Clean<'_>, payload: &[u8], at: i64, header: &[u8]) {
        let level = self.audio_level_id.map(|id| (id, clean.voice, clean.level));
        let marker = std::mem::take(&mut self.silent);
        let payload_type = self.red_payload_type.unwrap_or(self.payload_type);
        let mut packet = self.rewrite(marker, payload_type, at, level, header);
        if self.red_payload_type.is_some() {
            let behind = u32::try_from(at - self.redundant.0).unwrap_or(u32::MAX);
            let redundant = (!marker).then_some((behind, &self.redundant.1[..]));
            red::write(self.payload_type, redundant, payload, &mut packet);
            self.redundant.0 = at;
            self.redundant.1.clear();
            self.redundant.1.extend_from_slice(payload);
        } else {
            packet.extend_from_slice(payload);
        }
        self.post(packet);
        self.sent += 1;
    }

    fn rewrite(
        &mut self,
        marker: bool,
        payload_type: u8,
        at: i64,
        audio_level: Option<(u8, bool, u8)>,
        header: &[u8],
    ) -> Vec<u8> {
        let rewrite = Rewrite {
            marker,
            payload_type,
            sequence: self.sequence,
            timestamp: at as u32,
            ssrc: self.ssrc,
            audio_level,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = self.taken.pop().unwrap_or_default();
        rewrite.write(header, &mut packet);
        packet
    }

    fn post(&mut self, packet: Vec<u8>) {
        if self.outbox.len() == OUTBOX {
            self.taken.extend(self.outbox.pop_front());
            self.dropped += 1;
        }
        self.outbox.push_back(packet);
    }

    /// The next packet for the wire, in `packet`'s place.
    pub(super) fn take(&mut self, packet: &mut Vec<u8>) -> bool {
        match self.outbox.pop_front() {
            Some(next) => {
                self.taken.push(std::mem::replace(packet, next));
                true
            }
            None => false,
        }
    }
}
