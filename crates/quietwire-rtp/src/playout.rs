//! Decides what a stream does next: play a packet, give a missing one up, fill a pause, wait.
//!
//! The state machine has no audio, no packets and no clock: its inputs are the time and what is known
//! of the packets that wait.

use std::time::Duration;

/// Bounds of the time that an overdue packet is waited for, before the audio in front of it is sent
/// without it.
const TOLERANCE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(60));
/// The peak of the lateness at the start of a stream.
const INITIAL_PEAK: Duration = Duration::from_millis(10);
/// Decay of the peak per packet. Halves it in 35 packets.
const PEAK_DECAY: f64 = 0.98;

/// What a stream does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// No packet waits and all received audio was sent.
    Idle,
    /// Packets are decoded, denoised and encoded.
    Denoising,
    /// Packets are sent with their own payloads; nothing is decoded.
    PassingThrough,
    /// No packet follows. The received audio that waits is sent.
    Draining,
}

/// What is known of the packet that would be played next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// No packet waits.
    None,
    /// It waits, and its audio follows that before it.
    Ready,
    /// It waits, and its sender sent nothing for a time before it.
    AfterPause,
    /// It was not received, and later packets wait since then; `crowded`: too many of them.
    Missing { since: Duration, crowded: bool },
    /// It waits, and belongs to the next source.
    OtherSource,
}

/// What the stream does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing is due.
    Wait,
    /// Plays the next packet.
    Play,
    /// The next packet is lost.
    GiveUp,
    /// Fills a pause with one packet of audio that is not sent.
    Fill,
    /// Continues with the next source.
    SwitchSource,
}

/// The playout of one stream.
#[derive(Debug)]
pub(crate) struct Playout {
    mode: Mode,
    reorder_timeout: Duration,
    /// when a pause is filled, if no packet is received
    due: Option<Duration>,
    /// arrival and length of the latest packet
    latest: Option<(Duration, Duration)>,
    /// largest lateness of the latest packets
    peak: Duration,
}

impl Playout {
    pub(crate) fn new(reorder_timeout: Duration) -> Self {
        Self {
            mode: Mode::Idle,
            reorder_timeout,
            due: None,
            latest: None,
            peak: INITIAL_PEAK,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// When [`step`](Self::step) must be called even if no packet is received.
    pub(crate) fn timeout(&self, next: Next) -> Option<Duration> {
        match next {
            Next::None => self.due,
            Next::Missing {
                since,
                crowded: false,
            } => Some(since + self.reorder_timeout),
            Next::Missing { .. } | Next::Ready | Next::AfterPause | Next::OtherSource => {
                Some(Duration::ZERO)
            }
        }
    }

    /// What to do at `now`. `is_drained`: all received audio was sent.
    pub(crate) fn step(&mut self, now: Duration, next: Next, is_drained: bool) -> Step {
        match next {
            Next::Ready => Step::Play,
            Next::AfterPause | Next::OtherSource if !is_drained => {
                self.mode = Mode::Draining;
                Step::Fill
            }
            Next::AfterPause => Step::Play,
            Next::OtherSource => {
                self.mode = Mode::Idle;
                Step::SwitchSource
            }
            Next::Missing { since, crowded } => {
                if crowded || now >= since + self.reorder_timeout {
                    Step::GiveUp
                } else {
                    Step::Wait
                }
            }
            Next::None if self.due.is_none_or(|due| now < due) => Step::Wait,
            Next::None if is_drained => {
                self.due = None;
                self.mode = Mode::Idle;
                Step::Wait
            }
            Next::None => {
                self.mode = Mode::Draining;
                self.due = self.due.zip(self.latest).map(|(due, (_, len))| due + len);
                Step::Fill
            }
        }
    }

    /// A packet of audio was played. `is_decoding`: it is denoised. `is_contiguous`: it follows the
    /// packet before it without a pause.
    pub(crate) fn played(
        &mut self,
        now: Duration,
        arrival: Duration,
        len: Duration,
        is_decoding: bool,
        is_contiguous: bool,
    ) {
        self.peak = self.peak.mul_f64(PEAK_DECAY);
        if let Some((before, before_len)) = self.latest
            && is_contiguous
        {
            let late = arrival.saturating_sub(before + before_len);
            self.peak = self.peak.max(late.min(TOLERANCE.1));
        }
        self.latest = Some((arrival, len));
        self.extend(now, len, is_decoding);
    }

    /// Audio of `len` was played or concealed: no pause is filled before its end.
    pub(crate) fn extend(&mut self, now: Duration, len: Duration, is_decoding: bool) {
        self.due = Some(now + len + self.tolerance());
        self.mode = if is_decoding {
            Mode::Denoising
        } else {
            Mode::PassingThrough
        };
    }

    fn tolerance(&self) -> Duration {
        (self.peak + self.peak / 4).clamp(TOLERANCE.0, TOLERANCE.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const MISSING: Next = Next::Missing {
        since: Duration::from_millis(100),
        crowded: false,
    };
    const CROWDED: Next = Next::Missing {
        since: Duration::from_millis(100),
        crowded: true,
    };

    /// A stream in `mode` that played a packet of 20 ms at 100 ms.
    fn playout(mode: Mode) -> Playout {
        let mut playout = Playout::new(MS(40));
        let is_decoding = mode != Mode::PassingThrough;
        if mode != Mode::Idle {
            playout.played(MS(100), MS(100), MS(20), is_decoding, true);
        }
        if mode == Mode::Draining {
            assert_eq!(playout.step(MS(150), Next::None, false), Step::Fill);
        }
        assert_eq!(playout.mode(), mode);
        playout
    }

    #[test]
    fn each_mode_takes_the_step_of_the_table() {
        use Mode::{Denoising, Draining, Idle, PassingThrough};
        let active = [Denoising, PassingThrough];
        let all = [Idle, Denoising, PassingThrough, Draining];
        // Modes, time in ms, next packet, all audio was sent: step, mode after it.
        type Row<'a> = (&'a [Mode], u64, Next, bool, Step, Option<Mode>);
        let table: [Row; 16] = [
            (&all, 110, Next::Ready, false, Step::Play, None),
            (&all, 110, Next::Ready, true, Step::Play, None),
            (&all, 110, Next::AfterPause, true, Step::Play, None),
            (
                &all,
                110,
                Next::AfterPause,
                false,
                Step::Fill,
                Some(Draining),
            ),
            (
                &all,
                110,
                Next::OtherSource,
                false,
                Step::Fill,
                Some(Draining),
            ),
            (
                &all,
                110,
                Next::OtherSource,
                true,
                Step::SwitchSource,
                Some(Idle),
            ),
            (&all, 139, MISSING, false, Step::Wait, None),
            (&all, 140, MISSING, false, Step::GiveUp, None),
            (&all, 140, MISSING, true, Step::GiveUp, None),
            (&all, 101, CROWDED, false, Step::GiveUp, None),
            (&active, 119, Next::None, false, Step::Wait, None),
            // 20 ms after the packet, and the tolerance at the start of a stream.
            (&active, 124, Next::None, false, Step::Wait, None),
            (&active, 135, Next::None, false, Step::Fill, Some(Draining)),
            (&[Draining], 151, Next::None, false, Step::Wait, None),
            (&[Draining], 153, Next::None, true, Step::Wait, Some(Idle)),
            (&[Idle], 1000, Next::None, true, Step::Wait, None),
        ];
        for (modes, now, next, is_drained, step, after) in table {
            for mode in modes {
                let mut playout = playout(*mode);
                let case = format!("{mode:?}, {now} ms, {next:?}, drained: {is_drained}");
                assert_eq!(playout.step(MS(now), next, is_drained), step, "{case}");
                assert_eq!(playout.mode(), after.unwrap_or(*mode), "{case}");
            }
        }
    }

    #[test]
    fn a_played_packet_leads_to_the_mode_of_the_stream() {
        for mode in [
            Mode::Idle,
            Mode::Denoising,
            Mode::PassingThrough,
            Mode::Draining,
        ] {
            for (is_decoding, after) in [(true, Mode::Denoising), (false, Mode::PassingThrough)] {
                let mut playout = playout(mode);
                playout.played(MS(160), MS(160), MS(20), is_decoding, false);
                assert_eq!(playout.mode(), after);
                assert!(playout.timeout(Next::None) > Some(MS(180)));
            }
        }
    }

    #[test]
    fn timeouts_are_those_of_the_steps() {
        let playout = playout(Mode::Denoising);
        assert_eq!(playout.timeout(MISSING), Some(MS(140)));
        for next in [Next::Ready, Next::AfterPause, Next::OtherSource, CROWDED] {
            assert_eq!(playout.timeout(next), Some(Duration::ZERO));
        }
        let due = playout.timeout(Next::None).unwrap();
        assert!(due > MS(125) && due < MS(135), "{due:?}");
        assert_eq!(Playout::new(MS(40)).timeout(Next::None), None);
    }

    #[test]
    fn the_tolerance_follows_the_lateness_of_the_packets() {
        let mut playout = Playout::new(MS(40));
        let mut tolerances = Vec::new();
        for n in 0..600 {
            // Every tenth packet of the second half is 30 ms late.
            let late = if n >= 300 && n % 10 == 0 { 30 } else { 0 };
            let arrival = MS(20 * n + late);
            playout.played(arrival, arrival, MS(20), true, true);
            tolerances.push(playout.tolerance());
        }
        assert_eq!(tolerances[299], TOLERANCE.0);
        assert!(tolerances[599] > MS(30) && tolerances[599] < MS(40));
    }
}
