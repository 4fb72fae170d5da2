//! Blocks of C callers: f32 or i16, interleaved or planar, behind pointers that were checked.

use quietwire::Error;

use crate::error::Failure;

/// Largest number of channels of one stream. `quietwire_new` rejects more.
pub(crate) const MAX_CHANNELS: usize = 64;

/// 16-bit samples per unit of f32.
const I16_SCALE: f32 = 32768.0;

/// A sample in the caller's memory.
pub(crate) trait Sample: Copy {
    fn to_f32(self) -> f32;
    fn from_f32(sample: f32) -> Self;
}

impl Sample for f32 {
    fn to_f32(self) -> f32 {
        self
    }

    fn from_f32(sample: f32) -> Self {
        sample
    }
}

impl Sample for i16 {
    fn to_f32(self) -> f32 {
        f32::from(self) / I16_SCALE
    }

    fn from_f32(sample: f32) -> Self {
        // The cast saturates at both ends.
        (sample * I16_SCALE).round() as i16
    }
}

/// A block of the caller. Frames are read before they are written, so both may be one buffer.
pub(crate) trait Block {
    fn frames(&self) -> usize;
    /// Copies frames from `at` on to `samples`, `[frames][channels]`.
    fn read(&self, at: usize, samples: &mut [f32]);
    /// Copies `samples`, `[frames][channels]`, to the frames from `at` on.
    fn write(&mut self, at: usize, samples: &[f32]);
}

/// An interleaved block: `[frames][channels]`.
pub(crate) struct Interleaved<S> {
    input: *const S,
    output: *mut S,
    frames: usize,
    channels: usize,
}

impl<S: Sample> Interleaved<S> {
    /// # Safety
    /// Both pointers are null or point to `frames * channels` samples that no other thread changes while
    /// the block is used.
    pub(crate) unsafe fn new(
        input: *const S,
        output: *mut S,
        frames: usize,
        channels: usize,
    ) -> Result<Self, Failure> {
        let samples = check_len::<S>(frames, channels)?;
        check_pointers(input, output, samples)?;
        if input != output.cast_const() && overlaps(input, output, samples) {
            return Err(OVERLAP);
        }
        Ok(Self {
            input,
            output,
            frames,
            channels,
        })
    }
}

impl<S: Sample> Block for Interleaved<S> {
    fn frames(&self) -> usize {
        self.frames
    }

    fn read(&self, at: usize, samples: &mut [f32]) {
        assert!(
            at * self.channels + samples.len() <= self.frames * self.channels,
            "in the block"
        );
        for (n, sample) in samples.iter_mut().enumerate() {
            // SAFETY: within the samples that `new` was given.
            *sample = unsafe { self.input.add(at * self.channels + n).read() }.to_f32();
        }
    }

    fn write(&mut self, at: usize, samples: &[f32]) {
        assert!(
            at * self.channels + samples.len() <= self.frames * self.channels,
            "in the block"
        );
        for (n, sample) in samples.iter().enumerate() {
            // SAFETY: within the samples that `new` was given.
            unsafe {
                self.output
                    .add(at * self.channels + n)
                    .write(S::from_f32(*sample))
            };
        }
    }
}

/// A planar block: one buffer of `[frames]` for each channel.
pub(crate) struct Planar<S> {
    /// [channels], then unused
    input: [*const S; MAX_CHANNELS],
    output: [*mut S; MAX_CHANNELS],
    frames: usize,
    channels: usize,
}

impl<S: Sample> Planar<S> {
    /// # Safety
    /// Both pointers are null or point to `channels` pointers, each null or to `frames` samples that no
    /// other thread changes while the block is used.
    pub(crate) unsafe fn new(
        input: *const *const S,
        output: *const *mut S,
        frames: usize,
        channels: usize,
    ) -> Result<Self, Failure> {
        check_len::<S>(frames, channels)?;
        let mut block = Self {
            input: [std::ptr::null(); MAX_CHANNELS],
            output: [std::ptr::null_mut(); MAX_CHANNELS],
            frames,
            channels,
        };
        if frames == 0 {
            return Ok(block);
        }
        check_pointers(input, output.cast_mut(), channels)?;
        for channel in 0..channels {
            // SAFETY: within the pointers that the caller passes.
            unsafe {
                block.input[channel] = input.add(channel).read();
                block.output[channel] = output.add(channel).read();
            }
            check_pointers(block.input[channel], block.output[channel], frames)?;
        }
        let (inputs, outputs) = (&block.input[..channels], &block.output[..channels]);
        for (at, output) in outputs.iter().enumerate() {
            for (from, input) in inputs.iter().enumerate() {
                let in_place = at == from && *input == output.cast_const();
                if !in_place && overlaps(*input, *output, frames) {
                    return Err(OVERLAP);
                }
            }
            let mut others = outputs[..at].iter();
            if others.any(|other| overlaps(other.cast_const(), *output, frames)) {
                return Err(OVERLAP);
            }
        }
        Ok(block)
    }
}

impl<S: Sample> Block for Planar<S> {
    fn frames(&self) -> usize {
        self.frames
    }

    fn read(&self, at: usize, samples: &mut [f32]) {
        assert!(
            at + samples.len() / self.channels <= self.frames,
            "in the block"
        );
        for (n, frame) in samples.chunks_exact_mut(self.channels).enumerate() {
            for (sample, input) in frame.iter_mut().zip(self.input) {
                // SAFETY: within the samples that `new` was given.
                *sample = unsafe { input.add(at + n).read() }.to_f32();
            }
        }
    }

    fn write(&mut self, at: usize, samples: &[f32]) {
        assert!(
            at + samples.len() / self.channels <= self.frames,
            "in the block"
        );
        for (n, frame) in samples.chunks_exact(self.channels).enumerate() {
            for (sample, output) in frame.iter().zip(self.output) {
                // SAFETY: within the samples that `new` was given.
                unsafe { output.add(at + n).write(S::from_f32(*sample)) };
            }
        }
    }
}

/// Reads silence and writes to the inner block.
pub(crate) struct SilenceInto<B>(pub(crate) B);

impl<B: Block> Block for SilenceInto<B> {
    fn frames(&self) -> usize {
        self.0.frames()
    }

    fn read(&self, _at: usize, samples: &mut [f32]) {
        samples.fill(0.0);
    }

    fn write(&mut self, at: usize, samples: &[f32]) {
        self.0.write(at, samples);
    }
}

const OVERLAP: Failure = Failure::Argument(
    "the input and the output overlap: pass one buffer for both, or two separate ones",
);

/// Samples of a block, whose size in bytes fits the address space.
fn check_len<S>(frames: usize, channels: usize) -> Result<usize, Failure> {
    let samples = frames.checked_mul(channels);
    samples
        .filter(|samples| *samples <= isize::MAX as usize / size_of::<S>())
        .ok_or(Failure::Core(Error::BlockLength {
            expected: isize::MAX as usize / size_of::<S>() / channels,
            found: frames,
        }))
}

/// Checks the pointers of a block. One without samples needs none.
fn check_pointers<I, O>(input: *const I, output: *mut O, samples: usize) -> Result<(), Failure> {
    if samples == 0 {
        return Ok(());
    }
    if input.is_null() || output.is_null() {
        return Err(Failure::Argument("a pointer to samples is null"));
    }
    if !input.is_aligned() || !output.is_aligned() {
        return Err(Failure::Argument("a pointer to samples is not aligned"));
    }
    Ok(())
}

fn overlaps<S>(input: *const S, output: *const S, samples: usize) -> bool {
    input.addr().abs_diff(output.addr()) < samples * size_of::<S>()
}
