//! Which timestamp each frame has. Frames leave the element later than they came, with the timestamps with
//! which they came.

use std::collections::VecDeque;

use gst::ClockTime;

/// A timestamp that differs by more from the end of the frames before is a jump. The default tolerance of
/// GStreamer's audio encoders and sinks.
const JUMP: ClockTime = ClockTime::from_mseconds(40);

const NS_PER_S: u128 = 1_000_000_000;

/// Timestamps of the frames from the input to the output.
#[derive(Debug)]
pub(crate) struct Timeline {
    rate_hz: u32,
    /// Oldest first. An anchor holds from its frame up to the next anchor.
    anchors: VecDeque<Anchor>,
    /// frames that came in, and that went out
    input: u64,
    output: u64,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    frame: u64,
    pts: ClockTime,
}

impl Timeline {
    pub(crate) fn new(rate_hz: u32) -> Self {
        Self {
            rate_hz,
            anchors: VecDeque::new(),
            input: 0,
            output: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.anchors.clear();
        self.input = 0;
        self.output = 0;
    }

    /// Whether no frame came in.
    pub(crate) fn is_empty(&self) -> bool {
        self.input == 0
    }

    /// Frames that came in and did not go out.
    pub(crate) fn pending(&self) -> u64 {
        self.input - self.output
    }

    /// The timestamp at which the next frame is expected. `None`: no frame with a timestamp came in.
    pub(crate) fn expected(&self) -> Option<ClockTime> {
        self.time(self.input)
    }

    /// Whether frames with this timestamp continue those before.
    pub(crate) fn is_continuous(&self, pts: Option<ClockTime>) -> bool {
        match (pts, self.expected()) {
            (Some(pts), Some(expected)) => pts.absdiff(expected) <= JUMP,
            _ => true,
        }
    }

    /// Counts frames that came in. Their timestamp is a new anchor if it differs from the expected one by
    /// more than the duration of a frame, so that the output has the timestamps of an input whose clock
    /// drifts or jitters, and no rounding errors of an input whose clock does not.
    pub(crate) fn push(&mut self, pts: Option<ClockTime>, frames: usize) {
        if let Some(pts) = pts {
            let expected = self.expected();
            if expected.is_none_or(|expected| pts.absdiff(expected) > self.duration(1)) {
                self.anchors.push_back(Anchor {
                    frame: self.input,
                    pts,
                });
            }
        }
        self.input += frames as u64;
    }

    /// Counts frames that go out. Returns the timestamp of the first of them and their duration.
    pub(crate) fn pop(&mut self, frames: usize) -> (Option<ClockTime>, ClockTime) {
        let end = self.output + frames as u64;
        let pts = self.time(self.output);
        let anchors = |frame| {
            self.anchors
                .iter()
                .take_while(move |anchor| anchor.frame <= frame)
        };
        let has_one_anchor = anchors(self.output).count() == anchors(end).count();
        let duration = match (pts, self.time(end)) {
            // Ends where the next buffer starts, in spite of rounding.
            (Some(pts), Some(end)) if has_one_anchor => end - pts,
            _ => self.duration(frames as u64),
        };
        self.output = end;
        while self.anchors.get(1).is_some_and(|next| next.frame <= end) {
            self.anchors.pop_front();
        }
        (pts, duration)
    }

    /// Frames in a duration, rounded to the nearest.
    pub(crate) fn frames(&self, duration: ClockTime) -> usize {
        let frames = u128::from(duration.nseconds()) * u128::from(self.rate_hz) + NS_PER_S / 2;
        usize::try_from(frames / NS_PER_S).unwrap_or(usize::MAX)
    }

    /// Duration of a number of frames, rounded down to ns.
    pub(crate) fn duration(&self, frames: u64) -> ClockTime {
        let ns = u128::from(frames) * NS_PER_S / u128::from(self.rate_hz);
        ClockTime::from_nseconds(u64::try_from(ns).unwrap_or(u64::MAX - 1))
    }

    fn time(&self, frame: u64) -> Option<ClockTime> {
        let anchor = self.anchors.iter().rev().find(|a| a.frame <= frame)?;
        anchor.pts.checked_add(self.duration(frame - anchor.frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(ns: u64) -> ClockTime {
        ClockTime::from_nseconds(ns)
    }

    #[test]
    fn a_regular_input_has_no_rounding_errors() {
        let mut timeline = Timeline::new(44_100);
        let at = |frame: u64| ns(frame * 1_000_000_000 / 44_100);
        let mut start = 0u64;
        for block in 0..10_000 {
            timeline.push(Some(at(block * 441)), 441);
            let frames = if block == 0 { 100 } else { 441 };
            let (pts, duration) = timeline.pop(frames);
            assert_eq!(pts, Some(at(start)));
            start += frames as u64;
            assert_eq!(pts.unwrap() + duration, at(start));
        }
        assert_eq!(timeline.pending(), 341);
        assert_eq!(timeline.anchors.len(), 1);
    }

    #[test]
    fn a_jitter_of_the_input_is_that_of_the_output() {
        let mut timeline = Timeline::new(48_000);
        timeline.push(Some(ns(0)), 480);
        timeline.push(Some(ns(11_000_000)), 480);
        timeline.push(Some(ns(19_000_000)), 480);
        let times: Vec<_> = [240, 240, 240, 240, 480]
            .map(|frames| timeline.pop(frames).0.unwrap().nseconds())
            .into();
        assert_eq!(times, [0, 5_000_000, 11_000_000, 16_000_000, 19_000_000]);
    }

    #[test]
    fn a_jump_is_not_continuous() {
        let mut timeline = Timeline::new(48_000);
        assert!(timeline.is_continuous(Some(ns(7))));
        timeline.push(Some(ns(1_000_000_000)), 480);
        for (pts, continuous) in [
            (1_010_000_000, true),
            (1_050_000_000, true),
            (1_050_000_001, false),
            (970_000_000, true),
            (969_999_999, false),
        ] {
            assert_eq!(timeline.is_continuous(Some(ns(pts))), continuous, "{pts}");
        }
        assert!(timeline.is_continuous(None));
    }

    #[test]
    fn frames_without_timestamps_get_none() {
        let mut timeline = Timeline::new(48_000);
        timeline.push(None, 480);
        assert_eq!(timeline.pop(480), (None, ns(10_000_000)));
        timeline.push(Some(ns(5)), 480);
        assert_eq!(timeline.pop(480), (Some(ns(5)), ns(10_000_000)));
    }
}
