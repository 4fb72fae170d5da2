//! Packets on their way in: put in order, and kept until their turn.

use std::time::Duration;

/// Packets ahead of the one whose turn it is that are kept.
pub(super) const WINDOW: u64 = 64;

/// A packet that was taken in.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// counted on across wraps
    pub(super) sequence: u64,
    /// ticks, counted on across wraps
    pub(super) ticks: i64,
    /// what `ticks` were when it came
    pub(super) stamp: i64,
    pub(super) arrival: Duration,
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) kind: Kind,
    /// [header] as it came
    pub(super) header: Vec<u8>,
    /// as it came
    pub(super) payload: Vec<u8>,
    /// of the payload: what the codec reads
    pub(super) coded: std::ops::Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// sound that came in its own packet
    #[default]
    Sound,
    /// sound that a later packet brought again
    Recovered,
    /// neither decoded nor changed
    Other,
    /// never came
    Lost,
}

impl Entry {
    /// What the codec reads.
    pub(super) fn coded(&self) -> &[u8] {
        &self.payload[self.coded.clone()]
    }

    /// Takes over what another says, in this one's memory.
    pub(super) fn copy_from(&mut self, other: &Self) {
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
            coded: other.coded.clone(),
            ..*other
        };
    }
}

/// Packets by their sequence numbers.
#[derive(Debug)]
pub(super) struct Buffer {
    /// [WINDOW] by the sequence number's rest
    slots: Vec<(bool, Entry)>,
}

impl Buffer {
    pub(super) fn new() -> Self {
        let slot = || (false, Entry::default());
        Self {
            slots: (0..WINDOW).map(|_| slot()).collect(),
        }
    }

    fn place(sequence: u64) -> usize {
        (sequence % WINDOW) as usize
    }

    pub(super) fn holds(&self, sequence: u64) -> bool {
        self.slots[Self::place(sequence)].0
    }

    /// The place of a packet within the window, to be filled.
    pub(super) fn put(&mut self, sequence: u64) -> &mut Entry {
        let (held, entry) = &mut self.slots[Self::place(sequence)];
        *held = true;
        entry.sequence = sequence;
        entry
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Entry> {
        let (held, entry) = &self.slots[Self::place(sequence)];
        held.then_some(entry)
    }

    /// The first that is there, from `sequence` on.
    pub(super) fn first_from(&self, sequence: u64) -> Option<&Entry> {
        (sequence..sequence + WINDOW).find_map(|sequence| self.get(sequence))
    }

    /// When the first of those came that wait, from `sequence` on.
    pub(super) fn waiting_since(&self, sequence: u64) -> Option<Duration> {
        let waiting = (sequence..sequence + WINDOW).filter_map(|sequence| self.get(sequence));
        waiting.map(|entry| entry.arrival).min()
    }

    pub(super) fn drop_one(&mut self, sequence: u64) {
        self.slots[Self::place(sequence)].0 = false;
    }

    pub(super) fn clear(&mut self) {
        for (held, _) in &mut self.slots {
            *held = false;
        }
    }
}
