//! The jitter buffer: received packets by sequence number, until their playout.

use std::time::Duration;

/// Packets that the buffer holds, counted from the next one to be played.
pub(crate) const WINDOW: u64 = 64;

/// A received packet.
#[derive(Debug, Clone, Default)]
pub(crate) struct BufferedPacket {
    /// without wraps
    pub(crate) sequence: u64,
    /// timestamp without wraps, ticks; the sender's delay line replaces it by the playout time
    pub(crate) ticks: i64,
    /// timestamp of the packet itself without wraps, ticks
    pub(crate) timestamp_ticks: i64,
    pub(crate) arrival: Duration,
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) kind: PacketKind,
    /// as received, with contributing sources and extension
    pub(crate) header: Vec<u8>,
    /// as received
    pub(crate) payload: Vec<u8>,
    /// the part of the payload that the codec decodes
    pub(crate) codec_range: std::ops::Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PacketKind {
    /// audio in its own packet
    #[default]
    Audio,
    /// audio from the redundant block of a later packet
    Redundant,
    /// of a passthrough payload type: neither decoded nor changed
    Passthrough,
    /// not received
    Lost,
}

impl BufferedPacket {
    /// The bytes that the codec decodes.
    pub(crate) fn codec_payload(&self) -> &[u8] {
        &self.payload[self.codec_range.clone()]
    }

    /// Copies another packet into the memory of this one.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let Self {
            mut header,
            mut payload,
            ..
        } = std::mem::take(self);
        header.clear();
        header.extend_from_slice(&other.header);
        payload.clear();
        payload.extend_from_slice(&other.payload);
        *self = Self {
            header,
            payload,
            codec_range: other.codec_range.clone(),
            ..*other
        };
    }
}

/// Packets by sequence number.
#[derive(Debug)]
pub(crate) struct JitterBuffer {
    /// [WINDOW] by sequence number modulo WINDOW: whether the slot is in use, and its packet
    slots: Vec<(bool, BufferedPacket)>,
}

impl JitterBuffer {
    pub(crate) fn new() -> Self {
        let slot = || (false, BufferedPacket::default());
        Self {
            slots: (0..WINDOW).map(|_| slot()).collect(),
        }
    }

    fn slot(sequence: u64) -> usize {
        (sequence % WINDOW) as usize
    }

    pub(crate) fn contains(&self, sequence: u64) -> bool {
        self.slots[Self::slot(sequence)].0
    }

    /// Occupies the slot of a packet within the window and returns it to be filled.
    pub(crate) fn insert(&mut self, sequence: u64) -> &mut BufferedPacket {
        let (used, packet) = &mut self.slots[Self::slot(sequence)];
        *used = true;
        packet.sequence = sequence;
        packet
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&BufferedPacket> {
        let (used, packet) = &self.slots[Self::slot(sequence)];
        used.then_some(packet)
    }

    /// The first received packet from `sequence` on.
    pub(crate) fn first_from(&self, sequence: u64) -> Option<&BufferedPacket> {
        (sequence..sequence + WINDOW).find_map(|sequence| self.get(sequence))
    }

    /// The earliest arrival among the packets from `sequence` on.
    pub(crate) fn earliest_arrival(&self, sequence: u64) -> Option<Duration> {
        let packets = (sequence..sequence + WINDOW).filter_map(|sequence| self.get(sequence));
        packets.map(|packet| packet.arrival).min()
    }

    pub(crate) fn remove(&mut self, sequence: u64) {
        self.slots[Self::slot(sequence)].0 = false;
    }

    pub(crate) fn clear(&mut self) {
        for (used, _) in &mut self.slots {
            *used = false;
        }
    }
}
