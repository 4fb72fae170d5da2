//! One stream of one format: buffers in, buffers out. The output is the audio of the input, `latency` later
//! and with the timestamps with which it came. The first `latency` frames of the denoiser, which precede the
//! audio, are dropped; a drain outputs the last ones. So as many frames go out as came in.

use std::sync::Arc;

use gst::ClockTime;
use gst_audio::AudioInfo;
use quietwire::{ChannelMode, Denoiser, DenoiserOptions, Error, Telemetry};

use crate::model_set::ModelSet;
use crate::reports::Counts;
use crate::samples::{self, BufferError};
use crate::settings::StreamSettings;
use crate::timeline::Timeline;

/// Silence and the end of a stream are processed in parts of at most this many frames.
const MAX_PART_FRAMES: usize = 4_800;

/// Why a buffer was not processed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("a buffer does not fit the caps: {0}. The element upstream must correct it")]
    Buffer(#[from] BufferError),
    #[error("no model is loaded. This is a defect of the plugin: report it")]
    NoModel,
    #[error("{0}. This is a defect of the plugin: report it")]
    Core(#[from] Error),
}

#[derive(Debug)]
pub(crate) struct Stream {
    info: AudioInfo,
    models: Arc<ModelSet>,
    denoiser: Denoiser,
    timeline: Timeline,
    /// [channels][frames of the block]
    planes: Vec<Vec<f32>>,
    /// frames of the output that still precede the audio
    skip: usize,
    /// the next output starts the stream, or follows a jump
    is_discont: bool,
    is_stepped_down: bool,
    /// counts up to the latest reset of the denoiser
    counts: Counts,
    has_reported_failure: bool,
}

impl Stream {
    /// A stream that continues the counts of the one before.
    ///
    /// # Errors
    /// As [`Denoiser::new`].
    pub(crate) fn new(
        info: &AudioInfo,
        settings: &StreamSettings,
        counts: Counts,
    ) -> Result<Self, Error> {
        let mut options = DenoiserOptions::default();
        options.rate_hz = Some(info.rate());
        options.channels = info.channels() as usize;
        options.channel_mode = settings.channel_mode;
        options.attenuation = settings.attenuation_db.into();
        options.bypass = settings.is_bypassed();
        let mut denoiser = Denoiser::new(settings.models.models(), &options)?;
        if settings.models.selected() != 0 {
            denoiser.set_model(settings.models.selected())?;
            // The next input starts with this model, without a cross-fade.
            denoiser.reset();
        }
        Ok(Self {
            info: info.clone(),
            models: settings.models.clone(),
            timeline: Timeline::new(info.rate()),
            planes: vec![Vec::new(); options.channels],
            skip: denoiser.latency(),
            denoiser,
            is_discont: true,
            is_stepped_down: settings.is_stepped_down,
            counts,
            has_reported_failure: false,
        })
    }

    pub(crate) fn info(&self) -> &AudioInfo {
        &self.info
    }

    pub(crate) fn latency(&self) -> ClockTime {
        self.timeline.duration(self.denoiser.latency() as u64)
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    pub(crate) fn telemetry(&self) -> Telemetry {
        self.denoiser.telemetry()
    }

    /// Counts since the stream was created.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.plus(self.denoiser.stats())
    }

    /// The reason of the first hop on which the model failed, once.
    pub(crate) fn take_failure(&mut self) -> Option<String> {
        if self.has_reported_failure || self.denoiser.stats().failed_hops == 0 {
            return None;
        }
        self.has_reported_failure = true;
        Some(self.denoiser.last_failure().unwrap_or_default())
    }

    /// Whether the settings need another stream.
    pub(crate) fn needs_rebuild(&self, settings: &StreamSettings) -> bool {
        let channel_mode: ChannelMode = self.denoiser.options().channel_mode;
        channel_mode != settings.channel_mode || !self.models.has_models_of(&settings.models)
    }

    /// Applies settings between two blocks. Changes cross-fade.
    pub(crate) fn apply(&mut self, settings: &StreamSettings) -> Result<(), Error> {
        if self.denoiser.attenuation() != settings.attenuation_db.into() {
            self.denoiser.set_attenuation(settings.attenuation_db)?;
        }
        self.is_stepped_down = settings.is_stepped_down;
        if self.denoiser.bypass_requested() != settings.is_bypassed() {
            self.denoiser.set_bypass(settings.is_bypassed());
        }
        if self.models.selected() != settings.models.selected() {
            self.denoiser.set_model(settings.models.selected())?;
            self.models = settings.models.clone();
        }
        Ok(())
    }

    /// Processes a buffer. One with the flag GAP is silence.
    pub(crate) fn push(
        &mut self,
        buffer: &gst::BufferRef,
        output: &mut Vec<gst::Buffer>,
    ) -> Result<(), StreamError> {
        if buffer.flags().contains(gst::BufferFlags::GAP) {
            let frames = samples::frames(buffer, &self.info)?;
            return self.push_silence(buffer.pts(), frames, output);
        }
        let frames = samples::read(buffer, &self.info, &mut self.planes)?;
        self.count_input(buffer.pts(), frames);
        self.process(output)
    }

    /// Processes silence that is a part of the stream.
    pub(crate) fn push_silence(
        &mut self,
        pts: Option<ClockTime>,
        frames: usize,
        output: &mut Vec<gst::Buffer>,
    ) -> Result<(), StreamError> {
        self.count_input(pts, frames);
        self.process_silence(frames, output)
    }

    fn count_input(&mut self, pts: Option<ClockTime>, frames: usize) {
        self.timeline.push(pts, frames);
        self.counts.frames += frames as u64;
        if self.is_stepped_down {
            self.counts.bypassed_frames += frames as u64;
        }
    }

    /// Outputs the frames that came in and did not go out. The next buffer starts anew.
    pub(crate) fn drain(&mut self, output: &mut Vec<gst::Buffer>) -> Result<(), StreamError> {
        if self.timeline.is_empty() {
            return Ok(());
        }
        let result = self.process_silence(self.denoiser.latency(), output);
        debug_assert!(
            result.is_err() || self.timeline.pending() == 0,
            "frames remain"
        );
        self.counts.drains += 1;
        self.clear();
        result
    }

    /// Discards the frames that did not go out. The next buffer starts anew.
    pub(crate) fn clear(&mut self) {
        self.counts = self.counts();
        self.denoiser.reset();
        self.timeline.clear();
        self.skip = self.denoiser.latency();
        self.is_discont = true;
    }

    fn process_silence(
        &mut self,
        frames: usize,
        output: &mut Vec<gst::Buffer>,
    ) -> Result<(), StreamError> {
        let mut rest = frames;
        while rest > 0 {
            let part = rest.min(MAX_PART_FRAMES);
            for plane in &mut self.planes {
                plane.clear();
                plane.resize(part, 0.0);
            }
            self.process(output)?;
            rest -= part;
        }
        Ok(())
    }

    /// Processes `planes` and appends a buffer, if there is output.
    fn process(&mut self, output: &mut Vec<gst::Buffer>) -> Result<(), StreamError> {
        let mut block: Vec<&mut [f32]> = self.planes.iter_mut().map(|p| &mut p[..]).collect();
        match self.denoiser.process_planar_in_place(&mut block) {
            // Complete: the output of the failed hops is the delayed input.
            Ok(()) | Err(Error::Inference { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let frames = self.planes.first().map_or(0, Vec::len);
        let skipped = frames.min(self.skip);
        self.skip -= skipped;
        if skipped == frames {
            return Ok(());
        }
        let planes: Vec<&[f32]> = self.planes.iter().map(|p| &p[skipped..]).collect();
        let mut buffer = samples::write(&planes, &self.info)?;
        let (pts, duration) = self.timeline.pop(frames - skipped);
        let new = buffer.make_mut();
        new.set_pts(pts);
        new.set_duration(duration);
        if std::mem::take(&mut self.is_discont) {
            new.set_flags(gst::BufferFlags::DISCONT);
        }
        output.push(buffer);
        Ok(())
    }
}
