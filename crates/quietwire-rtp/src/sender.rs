//! The sending side: packets that wait for the delay, and packets that wait for the caller.

use std::collections::VecDeque;

use crate::jitter_buffer::{BufferedPacket, PacketKind};
use crate::packet::{HeaderFields, PLAIN_HEADER};
use crate::red;

/// Packets of the delay line. The delay is a few packets long.
const MAX_DELAYED: usize = 64;
/// Packets that wait for [`Sender::poll`].
const MAX_QUEUED: usize = 64;

/// The sending side of one stream.
pub(crate) struct Sender {
    /// played packets whose time to be sent has not come, oldest first
    delay_line: VecDeque<BufferedPacket>,
    /// memory of packets that left the delay line
    packet_pool: Vec<BufferedPacket>,
    /// packets for the caller, oldest first
    tx_queue: VecDeque<Vec<u8>>,
    /// memory of packets that the caller took
    byte_pool: Vec<Vec<u8>>,
    ssrc: u32,
    next_sequence: u16,
    /// sent timestamp minus received timestamp, ticks
    timestamp_offset: i64,
    /// end of the audio that was sent, ticks with `timestamp_offset`
    sent_until: Option<i64>,
    /// the next packet is the first after a silence
    after_silence: bool,
    payload_type: u8,
    red_payload_type: Option<u8>,
    audio_level_id: Option<u8>,
    /// timestamp and payload that the next packet repeats
    redundant: (i64, Vec<u8>),
    pub(crate) encoded_packets: u64,
    pub(crate) passed_through: u64,
    pub(crate) dropped: u64,
}

/// A block of clean audio, encoded.
pub(crate) struct EncodedFrame<'a> {
    /// received timestamp of its first frame, ticks
    pub(crate) ticks: i64,
    pub(crate) frames: usize,
    /// `None`: no packet needs to be sent (DTX)
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) voice_activity: bool,
    /// dB below full scale
    pub(crate) level: u8,
}

impl Sender {
    /// `red_payload_type`: sends redundant audio with this payload type.
    pub(crate) fn new(
        payload_type: u8,
        red_payload_type: Option<u8>,
        audio_level_id: Option<u8>,
    ) -> Self {
        Self {
            delay_line: VecDeque::with_capacity(MAX_DELAYED),
            packet_pool: Vec::with_capacity(MAX_DELAYED),
            tx_queue: VecDeque::with_capacity(MAX_QUEUED),
            byte_pool: Vec::with_capacity(MAX_QUEUED),
            ssrc: 0,
            next_sequence: 0,
            timestamp_offset: 0,
            sent_until: None,
            after_silence: true,
            payload_type,
            red_payload_type,
            audio_level_id,
            redundant: (0, Vec::new()),
            encoded_packets: 0,
            passed_through: 0,
            dropped: 0,
        }
    }

    /// Takes the source and the first sequence number from the first packet of the stream.
    pub(crate) fn start(&mut self, ssrc: u32, sequence: u16) {
        self.ssrc = ssrc;
        self.next_sequence = sequence;
    }

    /// Continues with another source, or with a source whose timestamps jumped: received timestamp
    /// `ticks` is sent as the end of the sent audio plus `elapsed` ticks.
    pub(crate) fn rebase_timeline(&mut self, ticks: i64, elapsed: i64) {
        self.packet_pool.extend(self.delay_line.drain(..));
        if let Some(sent_until) = self.sent_until {
            self.timestamp_offset = sent_until + elapsed - ticks;
        }
        self.redundant.1.clear();
        self.after_silence = true;
    }

    /// Appends a played packet to the delay line. `ticks`: its playout time.
    pub(crate) fn enqueue(&mut self, packet: &BufferedPacket, ticks: i64) {
        let mut delayed = self.packet_pool.pop().unwrap_or_default();
        delayed.copy_from(packet);
        delayed.ticks = ticks;
        self.push_delayed(delayed);
    }

    /// Appends a lost packet to the delay line. `ticks`: its playout time.
    pub(crate) fn enqueue_lost(&mut self, ticks: i64) {
        let mut delayed = self.packet_pool.pop().unwrap_or_default();
        delayed.ticks = ticks;
        delayed.kind = PacketKind::Lost;
        self.push_delayed(delayed);
    }

    fn push_delayed(&mut self, packet: BufferedPacket) {
        if self.delay_line.len() == MAX_DELAYED {
            self.packet_pool.extend(self.delay_line.pop_front());
            self.dropped += 1;
        }
        self.delay_line.push_back(packet);
    }

    /// A silence starts: the next packet has the marker bit.
    pub(crate) fn mark_silence(&mut self) {
        self.after_silence = true;
    }

    /// Sends the packets of the delay line up to `ticks` unchanged. Lost packets leave a gap in the
    /// sequence numbers, so that the receiver detects them.
    pub(crate) fn forward_all_until(&mut self, ticks: i64) {
        self.forward_until(ticks, |_| true);
    }

    /// Sends the passthrough packets of the delay line up to `ticks` and drops the audio packets.
    pub(crate) fn forward_passthrough_until(&mut self, ticks: i64) {
        self.forward_until(ticks, |kind| kind == PacketKind::Passthrough);
    }

    fn forward_until(&mut self, ticks: i64, is_sent: fn(PacketKind) -> bool) {
        while self
            .delay_line
            .front()
            .is_some_and(|packet| packet.ticks <= ticks)
        {
            let Some(packet) = self.delay_line.pop_front() else {
                break;
            };
            if is_sent(packet.kind) {
                self.forward(&packet);
            }
            self.packet_pool.push(packet);
        }
    }

    fn forward(&mut self, received: &BufferedPacket) {
        let ticks = received.ticks + self.timestamp_offset;
        // After the delay grew, some audio was sent already.
        let is_passthrough = received.kind == PacketKind::Passthrough;
        if !is_passthrough && self.sent_until.is_some_and(|end| ticks < end) {
            return;
        }
        match received.kind {
            PacketKind::Lost | PacketKind::Redundant => {
                self.next_sequence = self.next_sequence.wrapping_add(1);
                return;
            }
            PacketKind::Audio => self.after_silence = false,
            PacketKind::Passthrough => {}
        }
        // All packets of an event have the timestamp of its start (RFC 4733 section 2.3.5).
        let timestamp = if is_passthrough {
            received.timestamp_ticks + self.timestamp_offset
        } else {
            ticks
        };
        let mut packet = self.write_header(
            received.marker,
            received.payload_type,
            timestamp,
            None,
            &received.header,
        );
        packet.extend_from_slice(&received.payload);
        self.push_tx(packet);
        self.passed_through += 1;
    }

    /// Audio was forwarded up to the received timestamp `ticks`.
    pub(crate) fn extend_sent(&mut self, ticks: i64) {
        let end = ticks + self.timestamp_offset;
        self.sent_until = Some(self.sent_until.map_or(end, |before| before.max(end)));
    }

    /// Sends encoded audio in place of the received packet with the same timestamp.
    pub(crate) fn send(&mut self, frame: &EncodedFrame<'_>) {
        self.forward_passthrough_until(frame.ticks - 1);
        let is_replaced = |packet: &BufferedPacket| {
            packet.ticks == frame.ticks && packet.kind == PacketKind::Audio
        };
        let received = if self.delay_line.front().is_some_and(is_replaced) {
            self.delay_line.pop_front()
        } else {
            None
        };
        let ticks = frame.ticks + self.timestamp_offset;
        if self.sent_until.is_none_or(|end| ticks >= end) {
            let header = received
                .as_ref()
                .map_or(&PLAIN_HEADER[..], |received| &received.header);
            match frame.payload {
                Some(payload) => self.send_encoded(frame, payload, ticks, header),
                None => self.after_silence = true,
            }
            self.extend_sent(frame.ticks + frame.frames as i64);
        }
        self.packet_pool.extend(received);
        self.forward_passthrough_until(frame.ticks);
    }

    fn send_encoded(
        &mut self,
        frame: &EncodedFrame<'_>,
        payload: &[u8],
        ticks: i64,
        header: &[u8],
    ) {
        let level = self
            .audio_level_id
            .map(|id| (id, frame.voice_activity, frame.level));
        let marker = std::mem::take(&mut self.after_silence);
        let payload_type = self.red_payload_type.unwrap_or(self.payload_type);
        let mut packet = self.write_header(marker, payload_type, ticks, level, header);
        if self.red_payload_type.is_some() {
            let offset = u32::try_from(ticks - self.redundant.0).unwrap_or(u32::MAX);
            let redundant = (!marker).then_some((offset, &self.redundant.1[..]));
            red::write(self.payload_type, redundant, payload, &mut packet);
            self.redundant.0 = ticks;
            self.redundant.1.clear();
            self.redundant.1.extend_from_slice(payload);
        } else {
            packet.extend_from_slice(payload);
        }
        self.push_tx(packet);
        self.encoded_packets += 1;
    }

    /// Starts a packet with the next sequence number.
    fn write_header(
        &mut self,
        marker: bool,
        payload_type: u8,
        ticks: i64,
        audio_level: Option<(u8, bool, u8)>,
        header: &[u8],
    ) -> Vec<u8> {
        let fields = HeaderFields {
            marker,
            payload_type,
            sequence: self.next_sequence,
            timestamp: ticks as u32,
            ssrc: self.ssrc,
            audio_level,
        };
        self.next_sequence = self.next_sequence.wrapping_add(1);
        let mut packet = self.byte_pool.pop().unwrap_or_default();
        fields.write(header, &mut packet);
        packet
    }

    fn push_tx(&mut self, packet: Vec<u8>) {
        if self.tx_queue.len() == MAX_QUEUED {
            self.byte_pool.extend(self.tx_queue.pop_front());
            self.dropped += 1;
        }
        self.tx_queue.push_back(packet);
    }

    /// Replaces `packet` by the next packet to be sent. False: there is none.
    pub(crate) fn poll(&mut self, packet: &mut Vec<u8>) -> bool {
        match self.tx_queue.pop_front() {
            Some(next) => {
                self.byte_pool.push(std::mem::replace(packet, next));
                true
            }
            None => false,
        }
    }
}
