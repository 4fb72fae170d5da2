//! The allocator of the module: large freed blocks are zero.
//!
//! JavaScript copies the memory of an instance to the audio thread when a stream is created. Loading a model
//! frees several megabytes. Pages that are zero are not copied, and the audio thread's instance never
//! touches them.

use std::alloc::{GlobalAlloc, Layout, System};

/// Smaller blocks leave too little of a page free.
const MIN_BYTES: usize = 1024;

pub(crate) struct ZeroingAllocator;

// SAFETY: each function forwards to `System` with the layout that it got.
unsafe impl GlobalAlloc for ZeroingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller states.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller states.
        unsafe { System.alloc_zeroed(layout) }
    }

    // `realloc` is the default: a new block, a copy, and a call of this.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() >= MIN_BYTES {
            // SAFETY: the block has this size and nothing uses it any more.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        // SAFETY: as the caller states.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_contents_when_they_grow() {
        let allocator = ZeroingAllocator;
        let layout = Layout::array::<u8>(2 * MIN_BYTES).unwrap();
        // SAFETY: the block is used with its layout, within its size, and freed once.
        unsafe {
            let block = allocator.alloc_zeroed(layout);
            assert!(!block.is_null());
            block.write_bytes(7, layout.size());
            let grown = allocator.realloc(block, layout, 4 * MIN_BYTES);
            assert!(!grown.is_null());
            let bytes = std::slice::from_raw_parts(grown, layout.size());
            assert!(bytes.iter().all(|byte| *byte == 7));
            allocator.dealloc(grown, Layout::array::<u8>(4 * MIN_BYTES).unwrap());
        }
    }
}
