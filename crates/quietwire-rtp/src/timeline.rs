//! Positions of audio on the way from received to sent packets.
//!
//! A position counts the frames that were pushed into the denoiser, with frames that fill pauses. A
//! packet covers the positions from its start on. It is sent when the clean audio of all its
//! positions is complete, so a sent packet replaces exactly one received packet.

/// After this many packets of a new length in a row, the delay is that of the new length.
const STEADY_PACKETS: u32 = 8;

/// Counts positions, and computes when the audio of a packet is complete. All lengths are frames.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// the denoiser takes whole multiples of it; 1: blocks of any length
    hop: u64,
    /// latency of the denoiser
    latency: u64,
    /// lookahead of the encoder
    lookahead: u64,
    /// frames pushed so far
    pushed: u64,
    /// packet length that the delay is for
    steady_frames: u64,
    delay: u64,
    /// length of the latest packet, and the number of packets with it in a row
    latest: (u64, u32),
}

impl Timeline {
    pub(crate) fn new(hop: usize, latency: usize, lookahead: usize, packet_frames: usize) -> Self {
        let mut timeline = Self {
            hop: hop as u64,
            latency: latency as u64,
            lookahead: lookahead as u64,
            pushed: 0,
            steady_frames: packet_frames as u64,
            delay: 0,
            latest: (0, 0),
        };
        timeline.settle(packet_frames as u64);
        timeline
    }

    /// The position of the next frame.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Frames since the start of the hop.
    pub(crate) fn partial_hop(&self) -> usize {
        (self.pushed % self.hop) as usize
    }

    /// Frames until the end of the hop.
    pub(crate) fn to_hop_end(&self) -> usize {
        ((self.hop - self.pushed % self.hop) % self.hop) as usize
    }

    /// Lookahead of the encoder.
    pub(crate) fn lookahead(&self) -> u64 {
        self.lookahead
    }

    pub(crate) fn push(&mut self, frames: usize) {
        self.pushed += frames as u64;
    }

    /// The position after the clean audio that the denoiser has output for all pushed frames.
    pub(crate) fn clean_end(&self) -> i64 {
        (self.pushed - self.pushed % self.hop) as i64 - self.latency as i64
    }

    /// Frames that follow the end of a packet before it is complete, if the packets have the length
    /// `packet_frames` and `offset` frames follow the latest point of their common grid with the hops.
    fn needed(&self, packet_frames: u64, offset: u64) -> u64 {
        let grid = gcd(packet_frames, self.hop);
        self.latency + self.lookahead + self.hop - grid + offset
    }

    fn offset(&self, packet_frames: u64) -> u64 {
        self.pushed % gcd(packet_frames, self.hop)
    }

    /// Delay from the start of audio in a received packet to the same audio in a sent packet, for
    /// packets of the present length.
    pub(crate) fn delay(&self) -> usize {
        self.delay as usize
    }

    /// The packets have the length `frames` from now on.
    fn settle(&mut self, frames: u64) {
        self.steady_frames = frames;
        self.delay = self
            .needed(frames, self.offset(frames))
            .next_multiple_of(frames);
    }

    /// Whether the clean audio of a packet is complete and its delay has passed.
    pub(crate) fn is_complete(&self, start: u64, frames: usize) -> bool {
        let end = start + frames as u64;
        let needed = self.needed(self.steady_frames, self.offset(self.steady_frames));
        self.pushed >= end + needed && self.clean_end() >= (end + self.lookahead) as i64
    }

    /// A packet of `frames` is pushed next. Returns the frames to be filled before it: the start of
    /// packets of a new length moves to the grid of the hops if this makes the delay shorter.
    pub(crate) fn adapt(&mut self, frames: usize) -> usize {
        let frames = frames as u64;
        let (latest, count) = self.latest;
        let is_first = count == 0;
        let count = if latest == frames { count + 1 } else { 1 };
        self.latest = (frames, count.min(STEADY_PACKETS + 1));
        if !is_first && count != STEADY_PACKETS {
            return 0;
        }
        self.settle(frames);
        let offset = self.offset(frames);
        let aligned = self.needed(frames, 0).next_multiple_of(frames);
        if offset == 0 || aligned == self.delay {
            return 0;
        }
        self.delay = aligned;
        (gcd(frames, self.hop) - offset) as usize
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The delay of each packet: the frames pushed from its start until it is complete.
    fn delays(timeline: &mut Timeline, lengths: &[usize]) -> Vec<u64> {
        let mut waiting = std::collections::VecDeque::new();
        let mut delays = Vec::new();
        for frames in lengths {
            let filled = timeline.adapt(*frames);
            timeline.push(filled);
            waiting.push_back((timeline.pushed(), *frames));
            timeline.push(*frames);
            while let Some((start, frames)) = waiting.front().copied()
                && timeline.is_complete(start, frames)
            {
                waiting.pop_front();
                delays.push(timeline.pushed() - start - frames as u64);
            }
        }
        delays
    }

    #[test]
    fn the_delay_is_constant_and_as_stated_for_every_packet_length() {
        for (hop, latency, lookahead) in [(480, 480, 312), (1, 960, 312), (1, 173, 0), (80, 80, 0)]
        {
            for frames in [
                1, 20, 80, 120, 160, 161, 240, 480, 960, 1440, 1920, 2880, 5760,
            ] {
                let mut timeline = Timeline::new(hop, latency, lookahead, 960);
                let found = delays(&mut timeline, &vec![frames; 3000.max(20_000 / frames)]);
                let stated = timeline.delay() as u64;
                assert!(found.len() > 10);
                assert!(
                    found.iter().all(|delay| *delay == stated),
                    "hop {hop}, {frames} frames: {stated}, {:?}",
                    &found[..10]
                );
                assert!(stated < (latency + lookahead + hop + frames) as u64);
            }
        }
    }

    #[test]
    fn after_other_lengths_the_delay_is_that_of_the_present_length() {
        let fresh = |frames: usize| {
            let mut timeline = Timeline::new(480, 480, 312, frames);
            delays(&mut timeline, &[frames; 20]);
            timeline.delay()
        };
        for (before, frames) in [
            (960, 2880),
            (2880, 960),
            (120, 960),
            (960, 120),
            (5760, 480),
        ] {
            for count in 1..30 {
                let mut timeline = Timeline::new(480, 480, 312, 960);
                delays(&mut timeline, &vec![before; count]);
                let found = delays(&mut timeline, &[frames; 40]);
                assert_eq!(timeline.delay(), fresh(frames), "{count} of {before}");
                let last = *found.last().unwrap();
                assert_eq!(last, fresh(frames) as u64);
            }
        }
    }

    #[test]
    fn one_packet_of_another_length_does_not_change_the_delay_for_long() {
        let mut timeline = Timeline::new(80, 80, 0, 160);
        delays(&mut timeline, &[160; 10]);
        let stated = timeline.delay() as u64;
        let found = delays(&mut timeline, &[&[161][..], &[160; 30]].concat());
        assert_eq!(timeline.delay() as u64, stated);
        assert_eq!(found.last(), Some(&stated));
    }
}
