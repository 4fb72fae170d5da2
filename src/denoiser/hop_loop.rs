//! The path of a block: chunks are read, hops run, chunks are written. [`Denoiser::advance_block`] is the
//! one loop for a stream alone and in a batch.

use crate::block::Block;
use crate::crossfade::Source;
use crate::denoiser::Denoiser;
use crate::denoiser::cursor::{BlockCursor, HopOutcome};
use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::simd::simd_dispatch;
use crate::telemetry::Telemetry;

/// Larger input samples (+36 dBFS) are limited to this: they cannot be audio in [-1, 1].
const MAX_AMPLITUDE: f32 = 64.0;

impl Denoiser {
    /// Processes a block without a batch: every hop runs at once.
    pub(super) fn process_block(&mut self, mut block: impl Block) -> Result<(), Error> {
        let mut cursor = self.begin_block(&block);
        if cursor.is_done() {
            return cursor.into_result();
        }
        self.leave_fallback();
        let done = self.advance_block(&mut cursor, &mut block, |stream, cursor, pipeline| {
            stream.run_hop(cursor, pipeline);
            HopOutcome::Done
        });
        debug_assert!(done, "no hop was deferred");
        self.end_block(&cursor);
        cursor.into_result()
    }

    /// Steps back up to the requested model: a call without a time budget has time for it.
    pub(crate) fn leave_fallback(&mut self) {
        if self.fallback_level > 0 {
            self.fallback_level = 0;
            self.update_source();
        }
    }

    /// Starts a block. One that does not fit the stream is done at once.
    pub(crate) fn begin_block(&mut self, block: &impl Block) -> BlockCursor {
        if let Err(error) = self.check_block(block) {
            return BlockCursor::rejected(error);
        }
        if self.in_block {
            self.reset_signal();
            self.stats.interrupted_blocks += 1;
        }
        self.in_block = true;
        let frames = block.frames();
        BlockCursor::new(self, frames, frames * self.channels())
    }

    fn check_block(&self, block: &impl Block) -> Result<(), Error> {
        let (frames, channels) = (block.frames(), self.channels());
        if self.hop_aligned && !frames.is_multiple_of(self.hop_frames) {
            return Err(Error::BlockLength {
                expected: frames.next_multiple_of(self.hop_frames) * channels,
                found: frames * channels,
            });
        }
        Ok(())
    }

    /// Ends a block. One that was rejected, or cut short because it changed, leaves the stream as it
    /// is: interrupted, if it was.
    pub(crate) fn end_block(&mut self, cursor: &BlockCursor) {
        if cursor.is_complete() {
            self.in_block = false;
        }
    }

    /// Advances a block until it is done (true) or a hop is deferred (false). `hop` runs or defers one
    /// hop of one pipeline. After deferred hops have run, call it again with the same block.
    pub(crate) fn advance_block(
        &mut self,
        cursor: &mut BlockCursor,
        block: &mut impl Block,
        mut hop: impl FnMut(&mut Self, &mut BlockCursor, usize) -> HopOutcome,
    ) -> bool {
        while !self.read_and_write(cursor, block) {
            let mut deferred = false;
            for pipeline in 0..self.pipelines.len() {
                if self.is_due(pipeline) {
                    deferred |= matches!(hop(self, cursor, pipeline), HopOutcome::Deferred);
                }
            }
            if deferred {
                return false;
            }
        }
        true
    }

    /// Reads and writes chunks of a block until a hop is due (false) or the block is done (true).
    pub(crate) fn read_and_write(
        &mut self,
        cursor: &mut BlockCursor,
        block: &mut impl Block,
    ) -> bool {
        while !cursor.done {
            let chunk = match cursor.chunk {
                Some(chunk) => chunk,
                None if cursor.frames_done == cursor.frames => {
                    cursor.done = true;
                    break;
                }
                None => self.read_chunk(cursor, block),
            };
            if (0..self.pipelines.len()).any(|pipeline| self.is_due(pipeline)) {
                return false;
            }
            self.write_chunk(cursor, block, chunk);
        }
        true
    }

    /// Reads as many frames of the block as fit before a hop is due or a transition changes.
    fn read_chunk(&mut self, cursor: &mut BlockCursor, block: &impl Block) -> usize {
        let mut chunk = (cursor.frames - cursor.frames_done)
            .min(self.io_scratch.len())
            .min(self.crossfade.until_change());
        let crossfade = &self.crossfade;
        for (at, pipeline) in self.pipelines.iter().enumerate() {
            if crossfade.is_running(at) {
                chunk = chunk.min(pipeline.frames_until_hop());
            }
        }
        let samples = &mut self.io_scratch[..chunk];
        for (channel, delayed) in self.delayed.iter_mut().enumerate() {
            block.read(channel, cursor.frames_done, samples);
            self.stats.repaired_samples += repair(samples);
            delayed.push(samples);
            for (at, pipeline) in self.pipelines.iter_mut().enumerate() {
                if crossfade.is_running(at) {
                    pipeline.push(channel, samples);
                }
            }
        }
        for (at, pipeline) in self.pipelines.iter_mut().enumerate() {
            if crossfade.is_running(at) {
                pipeline.advance(chunk);
            }
        }
        cursor.chunk = Some(chunk);
        chunk
    }

    /// Writes the frames that lie `latency` before those of [`Self::read_chunk`].
    fn write_chunk(&mut self, cursor: &mut BlockCursor, block: &mut impl Block, chunk: usize) {
        let output = &mut self.io_scratch[..chunk];
        let fading_in = &mut self.fade_scratch[..chunk];
        let active = self.crossfade.active();
        let next = self.crossfade.fading_to();
        for (channel, delayed) in self.delayed.iter_mut().enumerate() {
            delayed.pop(output);
            if next == Some(Source::Dry) {
                fading_in.copy_from_slice(output);
            }
            if let Source::Pipeline(pipeline) = active {
                self.pipelines[pipeline].pop(channel, output);
            }
            for (at, pipeline) in self.pipelines.iter_mut().enumerate() {
                if self.crossfade.is_running(at) && active != Source::Pipeline(at) {
                    pipeline.pop(channel, fading_in);
                }
            }
            self.crossfade.mix(output, fading_in);
            block.write(channel, cursor.frames_done, output);
        }
        if let Some(pipeline) = self.crossfade.advance(chunk) {
            self.pipelines[pipeline].reset();
        }
        cursor.frames_done += chunk;
        cursor.chunk = None;
    }

    /// Whether a pipeline has all samples of a hop.
    pub(crate) fn is_due(&self, pipeline: usize) -> bool {
        self.crossfade.is_running(pipeline) && self.pipelines[pipeline].is_due()
    }

    pub(crate) fn pipeline(&mut self, at: usize) -> &mut Pipeline {
        &mut self.pipelines[at]
    }

    /// Runs one hop: caller samples, spectra, features, model, mask, spectra, caller samples.
    pub(crate) fn run_hop(&mut self, cursor: &mut BlockCursor, pipeline: usize) {
        let stages = &mut self.pipelines[pipeline];
        stages.begin_hop();
        for group in 0..stages.group_count() {
            let (group, channels) = stages.group(group);
            group.run(channels);
        }
        self.finish_hop(cursor, pipeline);
    }

    /// A hop without time for the model: its output is the delayed input.
    pub(crate) fn bypass_hop(&mut self, cursor: &mut BlockCursor, pipeline: usize) {
        let stages = &mut self.pipelines[pipeline];
        stages.begin_hop();
        for group in 0..stages.group_count() {
            let (group, channels) = stages.group(group);
            group.passthrough(channels);
        }
        self.count_deadline_miss();
        self.finish_hop(cursor, pipeline);
    }

    pub(crate) fn count_deadline_miss(&mut self) {
        self.stats.deadline_misses += 1;
    }

    /// Ends a hop of any kind.
    pub(crate) fn finish_hop(&mut self, cursor: &mut BlockCursor, pipeline: usize) {
        let report = self.pipelines[pipeline].finish_hop();
        let hop = self.stats.hops;
        if report.failed {
            self.stats.failed_hops += 1;
            if cursor.result.is_ok() {
                cursor.result = Err(Error::Inference { hop });
            }
        }
        self.stats.hops += 1;
        if [Source::Dry, Source::Pipeline(pipeline)].contains(&self.crossfade.active()) {
            self.telemetry = Telemetry::new(hop, report.powers, report.power_scale, report.speech);
            self.telemetry_ring.push(self.telemetry);
        }
    }
}

simd_dispatch! {
    /// Replaces samples that are not finite or out of range. Returns their number.
    fn repair<'a>(samples: &'a mut [f32]) -> u64 {
        let mut repaired = 0u32;
        for sample in samples {
            let x = *sample;
            let is_valid = x.abs() <= MAX_AMPLITUDE; // false for NaN
            let limit = if x.is_finite() { MAX_AMPLITUDE } else { 0.0 };
            *sample = if is_valid { x } else { limit.copysign(x) };
            repaired += u32::from(!is_valid);
        }
        u64::from(repaired)
    }
}
