//! The path of a buffer through the element, and what the element publishes and posts on the way.

use gst::ClockTime;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::element::{Element, LOG, Streaming};
use crate::overload::Step;
use crate::reports::Counts;
use crate::settings::StreamSettings;
use crate::stream::{Stream, StreamError};

/// Quality in QOS messages: with the model, and of the delayed input.
const FULL_QUALITY: i32 = 1_000_000;
const BYPASS_QUALITY: i32 = 0;

impl Element {
    pub(crate) fn chain(
        &self,
        buffer: &gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.sync_controlled_properties(buffer.pts());
        let mut output = Vec::new();
        let result = self.process(buffer, &mut output);
        self.publish();
        // What came before a failure is complete.
        for buffer in output {
            self.srcpad.push(buffer)?;
        }
        result
    }

    /// Sets properties with a control binding to their values at this time.
    fn sync_controlled_properties(&self, pts: Option<ClockTime>) {
        let segment = self.streaming().segment.clone();
        if let Some(stream_time) = pts.and_then(|pts| segment.to_stream_time(pts))
            && let Err(error) = self.obj().sync_values(stream_time)
        {
            gst::debug!(LOG, imp = self, "control bindings: {error}");
        }
    }

    fn process(
        &self,
        buffer: &gst::BufferRef,
        output: &mut Vec<gst::Buffer>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut streaming = self.streaming();
        let Streaming { stream, segment } = &mut *streaming;
        let Some(stream) = stream else {
            drop(streaming);
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ("expected a CAPS event before the first buffer, found none. The element upstream must send it")
            );
            return Err(gst::FlowError::NotNegotiated);
        };
        let step = self.advance_overload(buffer.pts(), segment);
        let result = self.process_in(stream, buffer, output);
        let failure = stream.take_failure();
        let message = step.map(|step| self.qos_message(step, buffer, segment, stream.counts()));
        drop(streaming);
        if let Some(message) = message {
            self.post(message);
        }
        if let Some(reason) = failure {
            gst::element_imp_warning!(
                self,
                gst::LibraryError::Failed,
                ("The model failed. The output of failed hops is the delayed input; the property `stats` counts them"),
                ["{reason}"]
            );
        }
        match result {
            Ok(()) => Ok(gst::FlowSuccess::Ok),
            Err(error) => {
                self.post_error(&error);
                Err(gst::FlowError::Error)
            }
        }
    }

    fn process_in(
        &self,
        stream: &mut Stream,
        buffer: &gst::BufferRef,
        output: &mut Vec<gst::Buffer>,
    ) -> Result<(), StreamError> {
        let is_jump = buffer.flags().contains(gst::BufferFlags::DISCONT)
            || !stream.timeline().is_continuous(buffer.pts());
        if is_jump {
            stream.drain(output)?;
        }
        let settings = self.stream_settings().ok_or(StreamError::NoModel)?;
        if stream.needs_rebuild(&settings) {
            stream.drain(output)?;
            *stream = Stream::new(stream.info(), &settings, stream.counts())?;
        }
        stream.apply(&settings)?;
        stream.push(buffer, output)
    }

    fn qos_message(
        &self,
        step: Step,
        buffer: &gst::BufferRef,
        segment: &gst::FormattedSegment<ClockTime>,
        counts: Counts,
    ) -> gst::Message {
        let pts = buffer.pts();
        let quality = if step.is_down {
            BYPASS_QUALITY
        } else {
            FULL_QUALITY
        };
        gst::message::Qos::builder(self.reports().is_live)
            .running_time(pts.and_then(|pts| segment.to_running_time(pts)))
            .stream_time(pts.and_then(|pts| segment.to_stream_time(pts)))
            .timestamp(pts)
            .duration(buffer.duration())
            .values(step.jitter_ns, step.proportion, quality)
            .stats(
                gst::format::Default::from_u64(counts.frames - counts.bypassed_frames),
                gst::format::Default::from_u64(counts.bypassed_frames),
            )
            .src(&*self.obj())
            .build()
    }

    pub(crate) fn post_error(&self, error: &StreamError) {
        match error {
            StreamError::Buffer(_) => {
                gst::element_imp_error!(self, gst::StreamError::Format, ("{error}"));
            }
            StreamError::Core(_) | StreamError::NoModel => {
                gst::element_imp_error!(self, gst::LibraryError::Failed, ("{error}"));
            }
        }
    }

    pub(crate) fn stream_settings(&self) -> Option<StreamSettings> {
        let mut settings = self.settings().of_stream()?;
        settings.is_stepped_down = self.overload().is_stepped_down();
        Some(settings)
    }

    fn advance_overload(
        &self,
        pts: Option<ClockTime>,
        segment: &gst::FormattedSegment<ClockTime>,
    ) -> Option<Step> {
        let is_used = self.settings().qos;
        let mut overload = self.overload();
        if !is_used {
            overload.clear();
            return None;
        }
        overload.advance(segment.to_running_time(pts?)?)
    }

    /// Copies what properties and queries read. Posts a changed latency.
    pub(crate) fn publish(&self) {
        let streaming = self.streaming();
        let Some(stream) = &streaming.stream else {
            return;
        };
        let mut reports = self.reports();
        reports.set_telemetry(stream.telemetry());
        reports.counts = stream.counts();
        let is_changed = reports.latency != stream.latency();
        reports.latency = stream.latency();
        drop((reports, streaming));
        if is_changed {
            self.post(gst::message::Latency::builder().src(&*self.obj()).build());
        }
    }

    fn post(&self, message: gst::Message) {
        if self.obj().post_message(message).is_err() {
            gst::debug!(LOG, imp = self, "no bus for a message");
        }
    }
}
