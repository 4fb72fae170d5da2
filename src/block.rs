//! The caller's samples in all layouts: interleaved or planar, f32 or i16, in place or not.

use crate::error::Error;

/// A block of samples. Each sample is read before it is written, so both may be one buffer.
pub(crate) trait Block {
    fn frames(&self) -> usize;
    /// Copies frames from `at` on of one channel to `samples`.
    fn read(&self, channel: usize, at: usize, samples: &mut [f32]);
    /// Copies `samples` to the frames from `at` on of one channel.
    fn write(&mut self, channel: usize, at: usize, samples: &[f32]);
}

/// An interleaved block: `[frames][channels]`.
pub(crate) struct Interleaved<'a> {
    /// `None`: read from `output`
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
        check_interleaved(input.map(<[_]>::len), output.len(), channels)?;
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

/// A planar block: `[channels][frames]`.
pub(crate) struct Planar<'a, 'i, 'o> {
    /// `None`: read from `output`
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

/// An interleaved block of 16-bit samples: `[frames][channels]`. Full scale is 32768.
pub(crate) struct InterleavedI16<'a> {
    /// `None`: read from `output`
    input: Option<&'a [i16]>,
    output: &'a mut [i16],
    channels: usize,
}

/// 16-bit samples per unit of f32.
const I16_SCALE: f32 = 32768.0;

impl<'a> InterleavedI16<'a> {
    pub(crate) fn new(
        input: Option<&'a [i16]>,
        output: &'a mut [i16],
        channels: usize,
    ) -> Result<Self, Error> {
        check_interleaved(input.map(<[_]>::len), output.len(), channels)?;
        Ok(Self {
            input,
            output,
            channels,
        })
    }
}

impl Block for InterleavedI16<'_> {
    fn frames(&self) -> usize {
        self.output.len() / self.channels
    }

    fn read(&self, channel: usize, at: usize, samples: &mut [f32]) {
        let source = self.input.unwrap_or(self.output);
        let frames = source.chunks_exact(self.channels).skip(at);
        for (sample, frame) in samples.iter_mut().zip(frames) {
            *sample = f32::from(frame[channel]) / I16_SCALE;
        }
    }

    fn write(&mut self, channel: usize, at: usize, samples: &[f32]) {
        let frames = self.output.chunks_exact_mut(self.channels).skip(at);
        for (sample, frame) in samples.iter().zip(frames) {
            // The cast saturates at both ends.
            frame[channel] = (sample * I16_SCALE).round() as i16;
        }
    }
}

/// Checks the samples of an interleaved block.
fn check_interleaved(input: Option<usize>, output: usize, channels: usize) -> Result<(), Error> {
    if let Some(expected) = input.filter(|input| *input != output) {
        return Err(Error::BlockLength {
            expected,
            found: output,
        });
    }
    if !output.is_multiple_of(channels) {
        return Err(Error::BlockLength {
            expected: output / channels * channels,
            found: output,
        });
    }
    Ok(())
}

/// Reads silence and writes to the inner block.
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
