//! The sending side: headers, redundant audio, and packets that wait for the caller.

use std::collections::VecDeque;

use crate::delay_line::DelayedPacket;
use crate::jitter_buffer::PacketKind;
use crate::packet::{HeaderFields, PLAIN_HEADER};
use crate::red;

/// Packets that wait for [`Sender::poll`].
const MAX_QUEUED: usize = 512;

/// The sending side of one stream.
pub(crate) struct Sender {
    /// packets for the caller, oldest first
    tx_queue: VecDeque<TxPacket>,
    /// memory of packets that the caller took
    byte_pool: Vec<Vec<u8>>,
    ssrc: u32,
    next_sequence: u16,
    /// sent timestamp minus received timestamp, ticks: constant for the life of a source
    timestamp_offset: i64,
    /// received timestamp after the sent audio, ticks
    sent_until: Option<i64>,
    /// the next packet is the first after a silence
    after_silence: bool,
    payload_type: u8,
    red_payload_type: Option<u8>,
    audio_level_id: Option<u8>,
    /// timestamp and payload that the next packet repeats
    redundant: (i64, Vec<u8>),
    pub(crate) counts: SentCounts,
}

/// A packet for the caller, and how the received packet it stands for is counted.
struct TxPacket {
    bytes: Vec<u8>,
    origin: Origin,
}

/// What a sent packet stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// a received packet, with denoised audio
    Replaced,
    /// a received packet, with its own payload
    PassedThrough,
    /// a lost packet, or a further part of a received one
    Made,
}

/// Counts of packets that the caller took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SentCounts {
    pub(crate) sent: u64,
    pub(crate) replaced: u64,
    pub(crate) passed_through: u64,
    /// received packets that the caller did not take
    pub(crate) overflow: u64,
}

/// Clean audio of a packet, encoded.
pub(crate) struct EncodedAudio<'a> {
    pub(crate) payload: &'a [u8],
    /// received timestamp of its first frame, ticks
    pub(crate) ticks: i64,
    /// the first part of the packet
    pub(crate) is_first: bool,
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
            tx_queue: VecDeque::new(),
            byte_pool: Vec::new(),
            ssrc: 0,
            next_sequence: 0,
            timestamp_offset: 0,
            sent_until: None,
            after_silence: true,
            payload_type,
            red_payload_type,
            audio_level_id,
            redundant: (0, Vec::new()),
            counts: SentCounts::default(),
        }
    }

    /// Takes the source and the first sequence number from the first packet of the stream.
    pub(crate) fn start(&mut self, ssrc: u32, sequence: u16) {
        self.ssrc = ssrc;
        self.next_sequence = sequence;
    }

    /// Another source follows: its timestamp `ticks` is sent as the end of the sent audio plus
    /// `elapsed` ticks.
    pub(crate) fn switch_source(&mut self, ticks: i64, elapsed: i64) {
        if let Some(sent_until) = self.sent_until {
            self.timestamp_offset += sent_until + elapsed - ticks;
        }
        self.restart();
    }

    /// The source has restarted. Its timestamps are sent as before.
    pub(crate) fn restart(&mut self) {
        self.redundant.1.clear();
        self.after_silence = true;
    }

    /// The audio of a packet is silence that is not sent.
    pub(crate) fn skip_silence(&mut self, packet: &DelayedPacket) {
        self.after_silence = true;
        self.extend_sent(packet);
    }

    /// Sends a packet with its own payload. Lost packets leave a gap in the sequence numbers, so that
    /// the receiver detects them.
    pub(crate) fn forward(&mut self, delayed: &DelayedPacket) {
        let packet = &delayed.packet;
        if delayed.frames > 0 {
            self.extend_sent(delayed);
        }
        if matches!(packet.kind, PacketKind::Lost | PacketKind::Redundant) {
            self.next_sequence = self.next_sequence.wrapping_add(delayed.lost.max(1));
            return;
        }
        if packet.kind == PacketKind::Audio {
            self.after_silence = false;
        }
        let mut bytes = self.write_header(
            packet.marker,
            packet.payload_type,
            packet.ticks,
            None,
            &packet.header,
        );
        bytes.extend_from_slice(&packet.payload);
        self.push_tx(bytes, Origin::PassedThrough);
    }

    /// Sends clean audio in place of a packet.
    pub(crate) fn send(&mut self, delayed: &DelayedPacket, audio: &EncodedAudio<'_>) {
        let received = (delayed.packet.kind == PacketKind::Audio).then_some(&delayed.packet);
        let header = received.map_or(&PLAIN_HEADER[..], |packet| &packet.header);
        let level = self
            .audio_level_id
            .map(|id| (id, audio.voice_activity, audio.level));
        let starts_speech =
            audio.is_first && (delayed.after_pause || received.is_some_and(|packet| packet.marker));
        let marker = std::mem::take(&mut self.after_silence) || starts_speech;
        let payload_type = self.red_payload_type.unwrap_or(self.payload_type);
        let mut bytes = self.write_header(marker, payload_type, audio.ticks, level, header);
        if self.red_payload_type.is_some() {
            let offset = u32::try_from(audio.ticks - self.redundant.0).unwrap_or(u32::MAX);
            let redundant = (!marker).then_some((offset, &self.redundant.1[..]));
            red::write(self.payload_type, redundant, audio.payload, &mut bytes);
            self.redundant.0 = audio.ticks;
            self.redundant.1.clear();
            self.redundant.1.extend_from_slice(audio.payload);
        } else {
            bytes.extend_from_slice(audio.payload);
        }
        let origin = if audio.is_first && delayed.is_replaceable() {
            Origin::Replaced
        } else {
            Origin::Made
        };
        self.push_tx(bytes, origin);
        self.extend_sent(delayed);
    }

    /// Sends comfort noise (RFC 3389) with `payload` in place of a packet of silence.
    pub(crate) fn send_comfort_noise(
        &mut self,
        delayed: &DelayedPacket,
        payload_type: u8,
        payload: &[u8],
    ) {
        let packet = &delayed.packet;
        let mut bytes = self.write_header(false, payload_type, packet.ticks, None, &PLAIN_HEADER);
        bytes.extend_from_slice(payload);
        let origin = if delayed.is_replaceable() {
            Origin::Replaced
        } else {
            Origin::Made
        };
        self.push_tx(bytes, origin);
        self.skip_silence(delayed);
    }

    fn extend_sent(&mut self, delayed: &DelayedPacket) {
        let end = delayed.packet.ticks + delayed.frames as i64;
        self.sent_until = Some(end);
    }

    /// Starts a packet with the next sequence number. `ticks`: received timestamp.
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
            timestamp: (ticks + self.timestamp_offset) as u32,
            ssrc: self.ssrc,
            audio_level,
        };
        self.next_sequence = self.next_sequence.wrapping_add(1);
        let mut packet = self.byte_pool.pop().unwrap_or_default();
        fields.write(header, &mut packet);
        packet
    }

    fn push_tx(&mut self, bytes: Vec<u8>, origin: Origin) {
        if self.tx_queue.len() == MAX_QUEUED
            && let Some(oldest) = self.tx_queue.pop_front()
        {
            self.byte_pool.push(oldest.bytes);
            self.counts.overflow += u64::from(oldest.origin != Origin::Made);
        }
        self.tx_queue.push_back(TxPacket { bytes, origin });
    }

    /// Packets received that wait for [`poll`](Self::poll).
    pub(crate) fn received(&self) -> usize {
        let waiting = self.tx_queue.iter();
        waiting
            .filter(|packet| packet.origin != Origin::Made)
            .count()
    }

    /// Replaces `packet` by the next packet to be sent. False: there is none.
    pub(crate) fn poll(&mut self, packet: &mut Vec<u8>) -> bool {
        let Some(next) = self.tx_queue.pop_front() else {
            return false;
        };
        self.counts.sent += 1;
        match next.origin {
            Origin::Replaced => self.counts.replaced += 1,
            Origin::PassedThrough => self.counts.passed_through += 1,
            Origin::Made => {}
        }
        self.byte_pool.push(std::mem::replace(packet, next.bytes));
        true
    }
}
