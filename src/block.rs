//! The caller's samples, whatever their layout: interleaved or planar, in place or not.

use crate::Error;

/// A block to read from and to write to. Channel `c`'s sample `n` is read before it is written.
pub(crate) trait Block {
    fn frames(&self) -> usize;
    /// Fills `samples` from `channel`, beginning at frame `at`.
    fn read(&self, channel: usize, at: usize, samples: &mut [f32]);
    /// Writes `samples` to `channel`, beginning at frame `at`.
    fn write(&mut self, channel: usize, at: usize, samples: &[f32]);
}

/// Frames one after the other: `[frames][channels]`.
pub(crate) struct Interleaved<'a> {
    /// none: read from `output`
    pub(crate) input: Option<&'a [f32]>,
    pub(crate) output: &'a mut [f32],
    pub(crate) channels: usize,
}

impl<'a> Interleaved<'a> {
    pub(crate) fn new(
        input: Option<&'a [f32]>,
        output: &'a mut [f32],
        channels: usize,
    ) -> Result<Self, Error> {
        let found = output.len();
        if let Some(input) = input.filter(|input| input.len() != found) {
            return Err(Error::BlockLength {
                expected: input.len(),
                found,
            });
        }
        if !found.is_multiple_of(channels) {
            return Err(Error::BlockLength {
                expected: found / channels * channels,
                found,
            });
        }
        Ok(Self {
            input,
            output,
            channels,
        })
    }
}

impl Block for Interleaved<'_> {
    fn frames(&self) -> usize {
        self.output.len() / self.channels
    }

    fn read(&self, channel: usize, at: usize, samples: &mut [f32]) {
        let source = self.input.unwrap_or(self.output);
        if self.channels == 1 {
            samples.copy_from_slice(&source[at..at + samples.len()]);
            return;
        }
        let frames = source.chunks_exact(self.channels).skip(at);
        for (sample, frame) in samples.iter_mut().zip(frames) {
            *sample = frame[channel];
        }
    }

    fn write(&mut self, channel: usize, at: usize, samples: &[f32]) {
        if self.channels == 1 {
            self.output[at..at + samples.len()].copy_from_slice(samples);
            return;
        }
        let frames = self.output.chunks_exact_mut(self.channels).skip(at);
        for (sample, frame) in samples.iter().zip(frames) {
            frame[channel] = *sample;
        }
    }
}

/// One slice a channel: `[channels][frames]`.
pub(crate) struct Planar<'a, 'i, 'o> {
    /// none: read from `output`
    input: Option<&'a [&'i [f32]]>,
    output: &'a mut [&'o mut [f32]],
}

impl<'a, 'i, 'o> Planar<'a, 'i, 'o> {
    pub(crate) fn new(
        input: Option<&'a [&'i [f32]]>,
        output: &'a mut [&'o mut [f32]],
        channels: usize,
    ) -> Result<Self, Error> {
        let slices = [output.len(), input.map_or(channels, <[_]>::len)];
        if let Some(found) = slices.into_iter().find(|found| *found != channels) {
            return Err(Error::ChannelSlices {
                expected: channels,
                found,
            });
        }
        let expected = input.map_or(output[0].len(), |input| input[0].len());
        let mut lengths = output
            .iter()
            .map(|slice| slice.len())
            .chain(input.unwrap_or(&[]).iter().map(|slice| slice.len()));
        match lengths.find(|found| *found != expected) {
            Some(found) => Err(Error::BlockLength { expected, found }),
            None => Ok(Self { input, output }),
        }
    }
}

impl Block for Planar<'_, '_, '_> {
    fn frames(&self) -> usize {
        self.output[0].len()
    }

    fn read(&self, channel: usize, at: usize, samples: &mut [f32]) {
        let source: &[f32] = match self.input {
            Some(input) => input[channel],
            None => &*self.output[channel],
        };
        samples.copy_from_slice(&source[at..at + samples.len()]);
    }

    fn write(&mut self, channel: usize, at: usize, samples: &[f32]) {
        self.output[channel][at..at + samples.len()].copy_from_slice(samples);
    }
}

/// A stretch of silence that goes in, while `inner` takes what comes out.
pub(crate) struct SilenceInto<B>(pub(crate) B);

impl<B: Block> Block for SilenceInto<B> {
    fn frames(&self) -> usize {
        self.0.frames()
    }

    fn read(&self, _channel: usize, _at: usize, samples: &mut [f32]) {
        samples.fill(0.0);
    }

    fn write(&mut self, channel: usize, at: usize, samples: &[f32]) {
        self.0.write(channel, at, samples);
    }
}
