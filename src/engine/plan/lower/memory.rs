//! The layout of the memory of one stream.

use crate::engine::plan::step::Span;

/// Places begin at multiples of this: a cache line.
const ALIGNMENT: usize = 16;

/// Places in memory that are in use.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// in their order
    used: Vec<Span>,
    /// where places that are given back begin
    lasting: usize,
    len: usize,
}

impl Memory {
    /// From here on, places come after all those that are in use.
    pub(super) fn begin_temporary(&mut self) {
        self.lasting = self.len;
        self.used.clear();
    }

    /// The first place that is free.
    pub(super) fn place(&mut self, len: usize) -> Span {
        let mut at = self.lasting;
        let mut index = 0;
        for used in &self.used {
            if used.at >= at + len {
                break;
            }
            at = (used.at + used.len).next_multiple_of(ALIGNMENT);
            index += 1;
        }
        let span = Span { at, len };
        self.used.insert(index, span);
        self.len = self.len.max((at + len).next_multiple_of(ALIGNMENT));
        span
    }

    pub(super) fn free(&mut self, span: Span) {
        self.used.retain(|used| *used != span);
    }

    /// All memory, numbers.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_overlap_and_are_used_again() {
        let mut memory = Memory::default();
        let lasting = memory.place(5);
        memory.begin_temporary();
        let spans = [20, 16, 1, 40].map(|len| memory.place(len));
        assert_eq!(lasting.at, 0);
        assert_eq!(spans.map(|span| span.at), [16, 48, 64, 80]);
        memory.free(spans[1]);
        assert_eq!(memory.place(17).at, 128, "too large for the gap");
        assert_eq!(memory.place(16).at, 48, "fits the gap");
        assert_eq!(memory.len(), 160);
    }
}
