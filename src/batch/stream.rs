//! The streams of a batch.

use crate::denoiser::Denoiser;
use crate::error::Error;

/// A stream with its next block, for one call of [`Batch::process`](crate::Batch::process).
pub trait BatchStream {
    /// The stream and its next block, interleaved, processed in place. `None`: this stream has no
    /// block in this call.
    ///
    /// A batch calls this several times during a call and expects the same stream and block each
    /// time. If they change, the rest of the block is not processed and its result is
    /// [`Error::BatchStreamChanged`].
    fn stream_and_block(&mut self) -> Option<(&mut Denoiser, &mut [f32])>;

    /// Takes the result of the block, once for each block of a call: as of
    /// [`Denoiser::process`].
    fn complete(&mut self, result: Result<(), Error>);
}

/// A [`BatchStream`] that owns its stream and its block.
#[derive(Debug)]
pub struct OwnedBatchStream {
    stream: Denoiser,
    samples: Vec<f32>,
    result: Result<(), Error>,
}

impl OwnedBatchStream {
    /// A stream and its block, interleaved.
    pub fn new(stream: Denoiser, samples: Vec<f32>) -> Self {
        Self {
            stream,
            samples,
            result: Ok(()),
        }
    }

    /// The block: noisy before a call, clean after it.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// The block, for the next samples.
    pub fn samples_mut(&mut self) -> &mut [f32] {
        &mut self.samples
    }

    /// The stream.
    pub fn stream(&self) -> &Denoiser {
        &self.stream
    }

    /// The stream, to change its settings.
    pub fn stream_mut(&mut self) -> &mut Denoiser {
        &mut self.stream
    }

    /// The result of the latest call.
    ///
    /// # Errors
    /// As [`Denoiser::process`].
    pub fn result(&self) -> Result<(), &Error> {
        self.result.as_ref().copied()
    }
}

impl BatchStream for OwnedBatchStream {
    fn stream_and_block(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        Some((&mut self.stream, &mut self.samples))
    }

    fn complete(&mut self, result: Result<(), Error>) {
        self.result = result;
    }
}
