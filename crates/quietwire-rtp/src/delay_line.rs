//! The delay line: played packets that wait until their clean audio is complete.

use std::collections::VecDeque;

use crate::jitter_buffer::{BufferedPacket, PacketKind};
use crate::timeline::Timeline;

/// Packets that the delay line holds. The delay is a few packets long.
const CAPACITY: usize = 512;

/// A played packet.
#[derive(Debug)]
pub(crate) struct DelayedPacket {
    pub(crate) packet: BufferedPacket,
    /// position of its first frame
    pub(crate) start: u64,
    /// 0: the packet has no audio
    pub(crate) frames: usize,
    /// the sender sent nothing for a time before it
    pub(crate) after_pause: bool,
    /// the codec cannot decode its payload
    pub(crate) is_undecodable: bool,
    /// lost packets that are not concealed, for which it stands
    pub(crate) lost: u16,
}

impl DelayedPacket {
    /// A packet without audio at position `start`.
    pub(crate) fn new(packet: BufferedPacket, start: u64) -> Self {
        Self {
            packet,
            start,
            frames: 0,
            after_pause: false,
            is_undecodable: false,
            lost: 0,
        }
    }

    /// Whether sent clean audio is that of a received packet, not made up for one.
    pub(crate) fn is_replaceable(&self) -> bool {
        self.packet.kind == PacketKind::Audio && !self.is_undecodable
    }
}

/// Played packets, oldest first.
#[derive(Debug, Default)]
pub(crate) struct DelayLine {
    packets: VecDeque<DelayedPacket>,
}

impl DelayLine {
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Appends a packet. Returns the oldest one if there is no room for both.
    pub(crate) fn push(&mut self, packet: DelayedPacket) -> Option<DelayedPacket> {
        let oldest = if self.packets.len() == CAPACITY {
            self.packets.pop_front()
        } else {
            None
        };
        self.packets.push_back(packet);
        oldest
    }

    /// Adds a lost packet that is not concealed to the latest entry. False: the latest entry is none
    /// for such packets.
    pub(crate) fn add_lost(&mut self) -> bool {
        match self.packets.back_mut() {
            Some(latest) if latest.lost > 0 => {
                latest.lost = latest.lost.saturating_add(1);
                true
            }
            _ => false,
        }
    }

    /// The oldest packet, if it is complete.
    pub(crate) fn pop_complete(&mut self, timeline: &Timeline) -> Option<DelayedPacket> {
        let oldest = self.packets.front()?;
        if timeline.is_complete(oldest.start, oldest.frames) {
            self.packets.pop_front()
        } else {
            None
        }
    }

    /// Packets that were received.
    pub(crate) fn received(&self) -> usize {
        self.packets
            .iter()
            .filter(|delayed| delayed.packet.kind.is_received())
            .count()
    }
}
