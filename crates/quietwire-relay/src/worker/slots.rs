//! The streams of a worker by slot, and those that need a turn.

use std::collections::HashMap;

use crate::stream::Stream;

/// A stream is in its slot except during a turn.
#[derive(Default)]
pub struct Slots {
    /// [slots] tokens of the sockets are indexes
    streams: Vec<Option<Box<Stream>>>,
    free: Vec<usize>,
    by_id: HashMap<String, usize>,
    /// slots that need a turn, and whether each slot is among them
    touched: Vec<usize>,
    is_touched: Vec<bool>,
    next_number: u64,
}

impl Slots {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The slot of the next stream.
    pub fn next_slot(&self) -> usize {
        self.free.last().copied().unwrap_or(self.streams.len())
    }

    pub fn insert(&mut self, mut stream: Box<Stream>) -> usize {
        let slot = self.next_slot();
        if self.free.pop().is_none() {
            self.streams.push(None);
            self.is_touched.push(false);
            self.touched.reserve(self.streams.len());
        }
        stream.set_place(slot, self.next_number);
        self.next_number += 1;
        self.by_id.insert(stream.id().to_owned(), slot);
        self.streams[slot] = Some(stream);
        slot
    }

    /// Removes the stream of an occupied slot.
    pub fn remove(&mut self, slot: usize) -> Box<Stream> {
        let stream = self.streams[slot].take().expect("the slot has a stream");
        self.by_id.remove(stream.id());
        self.free.push(slot);
        stream
    }

    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub fn get(&self, slot: usize) -> &Stream {
        self.streams[slot].as_ref().expect("the slot has a stream")
    }

    pub fn get_mut(&mut self, slot: usize) -> &mut Stream {
        self.streams[slot].as_mut().expect("the slot has a stream")
    }

    pub fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().flatten().map(Box::as_ref)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.streams.iter_mut().flatten().map(Box::as_mut)
    }

    /// Datagrams may wait in the socket of a slot. Other numbers are ignored.
    pub fn set_readable(&mut self, slot: usize) {
        if let Some(Some(stream)) = self.streams.get_mut(slot) {
            stream.set_readable();
            self.touch(slot);
        }
    }

    /// The stream of a slot needs a turn.
    pub fn touch(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.is_touched[slot], true) {
            self.touched.push(slot);
        }
    }

    pub fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Moves the streams that need a turn into `turn`, in the order of their creation.
    #[expect(
        clippy::vec_box,
        reason = "streams are large and move between slots and turns"
    )]
    pub fn take_touched(&mut self, turn: &mut Vec<Box<Stream>>) {
        for slot in self.touched.drain(..) {
            self.is_touched[slot] = false;
            // Empty: removed meanwhile.
            turn.extend(self.streams[slot].take());
        }
        turn.sort_unstable_by_key(|stream| stream.number());
    }

    /// Returns a stream to its slot.
    pub fn put_back(&mut self, stream: Box<Stream>) -> usize {
        let slot = stream.slot();
        self.streams[slot] = Some(stream);
        slot
    }

    /// Streams that decode and encode.
    pub fn active_codecs(&self) -> usize {
        self.iter()
            .filter(|stream| stream.uses_codec() && !stream.is_codec_shed())
            .count()
    }

    /// Stops the codecs of so many streams, the latest first. Returns of how many.
    pub fn shed_codecs(&mut self, count: usize) -> usize {
        let mut streams: Vec<&mut Stream> = self
            .iter_mut()
            .filter(|stream| stream.uses_codec() && !stream.is_codec_shed())
            .collect();
        streams.sort_unstable_by_key(|stream| std::cmp::Reverse(stream.number()));
        let changed = streams.into_iter().take(count);
        changed.map(|stream| stream.set_codec_shed(true)).count()
    }

    /// Starts the codecs of so many streams again, the earliest first. Returns of how many.
    pub fn restore_codecs(&mut self, count: usize) -> usize {
        let mut streams: Vec<&mut Stream> = self.iter_mut().filter(|s| s.is_codec_shed()).collect();
        streams.sort_unstable_by_key(|stream| stream.number());
        let changed = streams.into_iter().take(count);
        changed.map(|stream| stream.set_codec_shed(false)).count()
    }
}
