//! The part of a stream that only the audio thread uses: blocks of any layout, hop by hop.

use std::sync::Arc;

use quietwire::{Denoiser, Error, Model};
use quietwire_guarded::GuardedDenoiser;

use crate::block::Block;
use crate::error::Failure;
use crate::reports::{Report, Reports};
use crate::settings::{Applied, Settings};

pub(crate) struct Audio {
    stream: GuardedDenoiser,
    models: Vec<Arc<Model>>,
    applied: Applied,
    /// hops until a panic, for tests
    #[cfg(test)]
    pub(crate) hops_until_panic: Option<usize>,
}

impl Audio {
    pub(crate) fn new(denoiser: Denoiser, models: Vec<Arc<Model>>, applied: Applied) -> Self {
        Self {
            stream: GuardedDenoiser::new(denoiser),
            models,
            applied,
            #[cfg(test)]
            hops_until_panic: None,
        }
    }

    /// Processes a block. It is complete after every error but [`Error::BlockLength`].
    pub(crate) fn process(
        &mut self,
        block: &mut impl Block,
        settings: &Settings,
        reports: &Reports,
    ) -> Result<(), Failure> {
        let denoiser = self.stream.denoiser();
        let (frames, hop, channels) = (block.frames(), denoiser.hop_frames(), denoiser.channels());
        if denoiser.options().hop_aligned && !frames.is_multiple_of(hop) {
            return Err(Failure::Core(Error::BlockLength {
                expected: frames.next_multiple_of(hop) * channels,
                found: frames * channels,
            }));
        }
        let mut result = Ok(());
        for at in (0..frames).step_by(hop) {
            let frames = hop.min(frames - at);
            block.read(at, self.stream.block(frames));
            result = result.and(self.process_hop(frames, settings));
            block.write(at, self.stream.block(frames));
            reports.publish(self.report());
        }
        result
    }

    /// Replaces the first `frames` frames of the block by their output: at most one hop.
    fn process_hop(&mut self, frames: usize, settings: &Settings) -> Result<(), Failure> {
        let applied = &mut self.applied;
        #[cfg(test)]
        let until_panic = &mut self.hops_until_panic;
        let processed = self.stream.process(frames, |denoiser| {
            settings.apply(applied, denoiser)?;
            #[cfg(test)]
            quietwire_testing::panic_after(until_panic);
            Ok(())
        });
        Ok(processed?)
    }

    /// Empties the stream, and leaves the passthrough after a panic.
    pub(crate) fn reset(&mut self, settings: &Settings, reports: &Reports) -> Result<(), Failure> {
        let applied = &mut self.applied;
        let reset = self
            .stream
            .reset(|denoiser| settings.apply(applied, denoiser));
        reports.publish(self.report());
        Ok(reset?)
    }

    pub(crate) fn report(&self) -> Report {
        let denoiser = self.stream.denoiser();
        let active = denoiser.active_model();
        let active = active.filter(|_| !self.stream.is_passthrough());
        let active = active.and_then(|active| {
            self.models
                .iter()
                .position(|model| Arc::ptr_eq(model, active))
        });
        Report {
            telemetry: denoiser.telemetry(),
            stats: denoiser.stats(),
            panics: self.stream.panics(),
            active_model: active.map_or(-1, |at| at as i32),
        }
    }
}
