//! The pads: events and queries. `chain.rs` has the path of buffers.

use gst::ClockTime;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_audio::{AudioInfo, AudioMeta};

use crate::element::{Element, LOG};
use crate::reports::Counts;
use crate::stream::{Stream, StreamError};

/// A longer gap is not processed as silence: the stream ends before it and starts anew after it.
const MAX_GAP: ClockTime = ClockTime::from_seconds(1);

impl Element {
    pub(crate) fn sinkpad(template: &gst::PadTemplate) -> gst::Pad {
        gst::Pad::builder_from_template(template)
            .chain_function(|_, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |element| element.chain(&buffer),
                )
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(
                    parent,
                    || false,
                    |element| element.sink_event(pad, event),
                )
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(
                    parent,
                    || false,
                    |element| element.sink_query(pad, query),
                )
            })
            // The caps of both pads are equal.
            .flags(gst::PadFlags::PROXY_CAPS)
            .build()
    }

    pub(crate) fn srcpad(template: &gst::PadTemplate) -> gst::Pad {
        gst::Pad::builder_from_template(template)
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(
                    parent,
                    || false,
                    |element| element.src_event(pad, event),
                )
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(
                    parent,
                    || false,
                    |element| element.src_query(pad, query),
                )
            })
            .flags(gst::PadFlags::PROXY_CAPS)
            .build()
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        let pass_on = |event| gst::Pad::event_default(pad, Some(&*self.obj()), event);
        match event.view() {
            gst::EventView::Caps(caps) => {
                return self.set_caps(caps.caps()) && pass_on(event);
            }
            gst::EventView::Gap(gap) => {
                let (pts, duration) = gap.get();
                return self.process_gap(pts, duration) || pass_on(event);
            }
            gst::EventView::Segment(segment) => {
                self.drain();
                let segment = segment.segment().downcast_ref::<ClockTime>().cloned();
                // In other formats, buffers have no running time.
                self.streaming().segment = segment.unwrap_or_default();
            }
            gst::EventView::StreamStart(_)
            | gst::EventView::SegmentDone(_)
            | gst::EventView::Eos(_) => self.drain(),
            gst::EventView::FlushStop(_) => {
                let mut streaming = self.streaming();
                streaming.segment = gst::FormattedSegment::default();
                if let Some(stream) = &mut streaming.stream {
                    stream.clear();
                }
                self.overload().clear();
            }
            _ => {}
        }
        pass_on(event)
    }

    /// Outputs the frames that came in and did not go out.
    fn drain(&self) {
        let mut output = Vec::new();
        let mut streaming = self.streaming();
        let result = match &mut streaming.stream {
            Some(stream) => stream.drain(&mut output),
            None => Ok(()),
        };
        drop(streaming);
        self.publish();
        self.push_before_event(output);
        if let Err(error) = result {
            self.post_error(&error);
        }
    }

    fn push_before_event(&self, output: Vec<gst::Buffer>) {
        for buffer in output {
            if let Err(error) = self.srcpad.push(buffer) {
                // The element downstream has posted the reason, or the pipeline stops.
                gst::debug!(
                    LOG,
                    imp = self,
                    "the end of the stream was not taken: {error}"
                );
                return;
            }
        }
    }

    /// Ends the stream of other caps and starts a new one. False if the caps cannot be used.
    fn set_caps(&self, caps: &gst::CapsRef) -> bool {
        let fail = |reason: &str| {
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ("{reason}. Put audioconvert and audioresample upstream"),
                ["caps {caps}"]
            );
            false
        };
        let Ok(info) = AudioInfo::from_caps(caps) else {
            return fail("expected caps of audio/x-raw with F32 or S16, found others");
        };
        let is_same = |stream: &Stream| *stream.info() == info;
        if self.streaming().stream.as_ref().is_some_and(is_same) {
            return true;
        }
        self.drain();
        let Some(settings) = self.stream_settings() else {
            self.post_error(&StreamError::NoModel);
            return false;
        };
        let mut streaming = self.streaming();
        let counts = streaming
            .stream
            .as_ref()
            .map_or(Counts::default(), Stream::counts);
        match Stream::new(&info, &settings, counts) {
            Ok(stream) => streaming.stream = Some(stream),
            Err(error) => {
                drop(streaming);
                return fail(&error.to_string());
            }
        }
        drop(streaming);
        self.publish();
        true
    }

    /// Processes a gap as silence. False: the stream has ended before it, and the event is passed on.
    fn process_gap(&self, pts: ClockTime, duration: Option<ClockTime>) -> bool {
        let mut streaming = self.streaming();
        let Some(stream) = &mut streaming.stream else {
            return false;
        };
        let timeline = stream.timeline();
        let is_part = !timeline.is_empty() && timeline.is_continuous(Some(pts));
        let Some(duration) = duration.filter(|duration| is_part && *duration <= MAX_GAP) else {
            drop(streaming);
            self.drain();
            return false;
        };
        // Up to the end of the gap, so that the next buffer is in its place.
        let start = timeline.expected().unwrap_or(pts);
        let frames = timeline.frames((pts + duration).saturating_sub(start));
        let mut output = Vec::new();
        let result = stream.push_silence(None, frames, &mut output);
        drop(streaming);
        self.publish();
        self.push_before_event(output);
        if let Err(error) = result {
            self.post_error(&error);
        }
        true
    }

    fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Allocation(allocation) = query.view_mut() {
            // Samples are copied, so that no memory of the element downstream is needed.
            allocation.add_allocation_meta::<AudioMeta>(None);
            return true;
        }
        gst::Pad::query_default(pad, Some(&*self.obj()), query)
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        if let gst::EventView::Qos(qos) = event.view() {
            let (_, proportion, jitter_ns, timestamp) = qos.get();
            if let Some(timestamp) = timestamp {
                self.overload().report(timestamp, jitter_ns, proportion);
            }
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        let gst::QueryViewMut::Latency(latency) = query.view_mut() else {
            return gst::Pad::query_default(pad, Some(&*self.obj()), query);
        };
        let mut upstream = gst::query::Latency::new();
        if !self.sinkpad.peer_query(&mut upstream) {
            return false;
        }
        let (is_live, min, max) = upstream.result();
        let mut reports = self.reports();
        reports.is_live = is_live;
        let own = reports.latency;
        latency.set(is_live, min + own, max.map(|max| max + own));
        true
    }
}
