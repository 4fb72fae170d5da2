//! The progress of one block through a stream, as a value of its own: a batch suspends a block while it
//! waits for a step that other streams share.

use crate::error::Error;

/// Progress of one block through a stream. It lives as long as the call that processes the block.
pub(crate) struct BlockCursor {
    /// address of the stream and samples of the block, to detect that a caller exchanged them
    stream: usize,
    samples: usize,
    pub(super) frames: usize,
    pub(super) frames_done: usize,
    /// frames that were read and wait for the hops that are due
    pub(super) chunk: Option<usize>,
    /// the first failure
    pub(super) result: Result<(), Error>,
    pub(super) done: bool,
}

/// How a hop that was due went on.
pub(crate) enum HopOutcome {
    /// it ran
    Done,
    /// it waits for a step that other streams share
    Deferred,
}

impl BlockCursor {
    /// The cursor of a block of `frames` frames and `samples` samples.
    pub(super) fn new<S>(stream: &S, frames: usize, samples: usize) -> Self {
        Self {
            stream: std::ptr::from_ref(stream).addr(),
            samples,
            frames,
            frames_done: 0,
            chunk: None,
            result: Ok(()),
            done: false,
        }
    }

    /// Whether the block needs no more work.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// The cursor of a block that does not fit its stream.
    pub(crate) fn rejected(error: Error) -> Self {
        Self {
            stream: 0,
            samples: 0,
            frames: 0,
            frames_done: 0,
            chunk: None,
            result: Err(error),
            done: true,
        }
    }

    /// Whether the block was started with this stream and this number of samples.
    pub(crate) fn belongs_to<S>(&self, stream: &S, samples: usize) -> bool {
        self.stream == std::ptr::from_ref(stream).addr() && self.samples == samples
    }

    /// Whether all frames of the block were processed.
    pub(crate) fn is_complete(&self) -> bool {
        self.stream != 0 && self.frames_done == self.frames
    }

    /// Ends the block with an error. The rest of it is not processed.
    pub(crate) fn abort(&mut self, error: Error) {
        self.done = true;
        self.result = Err(error);
    }

    /// The result of the block.
    pub(crate) fn into_result(self) -> Result<(), Error> {
        self.result
    }
}
