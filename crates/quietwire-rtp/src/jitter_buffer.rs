//! The jitter buffer: received packets in the order of their sequence numbers, until their playout.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// Packets that wait behind a missing one before it is given up. 500 ms of the shortest Opus packets
/// are 200.
const CROWDED: usize = 256;
/// Dropped packets that wait for a packet that is not.
const MAX_DROPPED: usize = 32;
/// Packets that the buffer holds.
const CAPACITY: usize = 512;

/// A received packet, or the place of a lost one.
#[derive(Debug, Clone, Default)]
pub(crate) struct BufferedPacket {
    /// without wraps; those of a later source are larger
    pub(crate) sequence: u64,
    /// counts the sources of the stream
    pub(crate) source: u32,
    /// timestamp without wraps, ticks
    pub(crate) ticks: i64,
    pub(crate) arrival: Duration,
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) kind: PacketKind,
    /// as received, with contributing sources and extension
    pub(crate) header: Vec<u8>,
    /// as received
    pub(crate) payload: Vec<u8>,
    /// the part of the payload that the codec decodes
    pub(crate) codec_range: Range<usize>,
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
    /// comfort noise (RFC 3389)
    ComfortNoise,
    /// counted as dropped; its sequence number is not missing
    Dropped,
    /// not received; its audio is concealed
    Lost,
}

impl PacketKind {
    /// Whether the codec decodes it.
    pub(crate) fn is_audio(self) -> bool {
        matches!(self, Self::Audio | Self::Redundant)
    }

    /// Whether it is a packet that was received and is not counted as dropped.
    pub(crate) fn is_received(self) -> bool {
        matches!(self, Self::Audio | Self::Passthrough | Self::ComfortNoise)
    }
}

impl BufferedPacket {
    /// Synchronization source.
    pub(crate) fn ssrc(&self) -> u32 {
        let bytes = self.header.get(8..12).unwrap_or(&[0; 4]);
        bytes
            .iter()
            .fold(0, |ssrc, byte| ssrc << 8 | u32::from(*byte))
    }

    /// The bytes that the codec decodes.
    pub(crate) fn codec_payload(&self) -> &[u8] {
        &self.payload[self.codec_range.clone()]
    }
}

/// Packets that wait, and the memory of packets that do not.
#[derive(Debug)]
pub(crate) struct JitterBuffer {
    /// by ascending sequence number
    packets: VecDeque<BufferedPacket>,
    pool: Vec<BufferedPacket>,
}

impl JitterBuffer {
    pub(crate) fn new() -> Self {
        Self {
            packets: VecDeque::new(),
            pool: Vec::new(),
        }
    }

    fn find(&self, sequence: u64) -> Result<usize, usize> {
        // Most packets arrive in order.
        if self
            .packets
            .back()
            .is_none_or(|last| last.sequence < sequence)
        {
            return Err(self.packets.len());
        }
        self.packets
            .binary_search_by_key(&sequence, |packet| packet.sequence)
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&BufferedPacket> {
        let at = self.find(sequence).ok()?;
        Some(&self.packets[at])
    }

    /// The place of a packet, to be filled: that of the packet with the same number, or a new one.
    /// `None`: the buffer is full.
    pub(crate) fn insert(&mut self, sequence: u64) -> Option<&mut BufferedPacket> {
        let at = match self.find(sequence) {
            Ok(at) => at,
            Err(_) if self.packets.len() >= CAPACITY => return None,
            Err(at) => {
                let mut packet = self.take_from_pool();
                packet.sequence = sequence;
                self.packets.insert(at, packet);
                at
            }
        };
        Some(&mut self.packets[at])
    }

    /// A packet with the memory of an earlier one. Its contents are those of the earlier one.
    pub(crate) fn take_from_pool(&mut self) -> BufferedPacket {
        self.pool.pop().unwrap_or_default()
    }

    /// Keeps the memory of a packet for another one.
    pub(crate) fn recycle(&mut self, packet: BufferedPacket) {
        self.pool.push(packet);
    }

    /// The packet with the lowest sequence number.
    pub(crate) fn first(&self) -> Option<&BufferedPacket> {
        self.packets.front()
    }

    /// Whether a packet can be played. A dropped packet cannot before a later one was received: its
    /// number may belong to another packet too.
    pub(crate) fn is_playable(&self) -> bool {
        let is_dropped = |packet: &BufferedPacket| packet.kind == PacketKind::Dropped;
        self.packets.len() > MAX_DROPPED || !self.packets.iter().all(is_dropped)
    }

    /// The first packet of audio of a source.
    pub(crate) fn first_audio(&self, source: u32) -> Option<&BufferedPacket> {
        let is_audio = |packet: &&BufferedPacket| packet.source == source && packet.kind.is_audio();
        self.packets.iter().find(is_audio)
    }

    /// The source of the packet with the highest sequence number.
    pub(crate) fn last_source(&self) -> Option<u32> {
        self.packets.back().map(|packet| packet.source)
    }

    /// Whether a packet of a source with this timestamp waits.
    pub(crate) fn contains_ticks(&self, source: u32, ticks: i64) -> bool {
        let mut packets = self.packets.iter();
        packets.any(|packet| packet.source == source && packet.ticks == ticks)
    }

    pub(crate) fn pop_first(&mut self) -> Option<BufferedPacket> {
        self.packets.pop_front()
    }

    /// The earliest arrival among the packets.
    pub(crate) fn earliest_arrival(&self) -> Option<Duration> {
        self.packets.iter().map(|packet| packet.arrival).min()
    }

    /// So many packets wait that a missing one before them is given up.
    pub(crate) fn is_crowded(&self) -> bool {
        self.packets.len() >= CROWDED
    }

    /// The highest sequence number.
    pub(crate) fn last_sequence(&self) -> Option<u64> {
        self.packets.back().map(|packet| packet.sequence)
    }

    /// Packets that were received and not dropped.
    pub(crate) fn received(&self) -> usize {
        let packets = self.packets.iter();
        packets.filter(|packet| packet.kind.is_received()).count()
    }
}
