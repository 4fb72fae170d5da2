//! Packets in their order: each one's turn, and what stands for those that do not come.

use std::time::Duration;

use super::RtpDenoiser;
use crate::rtp::buffer::Kind;

/// Without a packet for so long a sender has paused. Until then its next one may be late, which is
/// no reason to make up what it will bring.
const PAUSE: Duration = Duration::from_millis(150);
/// A timestamp may be so far from what the clock says; else the source has begun anew.
const MAX_STRAY_SECONDS: f32 = 2.0;

impl RtpDenoiser {
    /// One packet's turn, or what stands for it; false: nothing is due.
    pub(super) fn step(&mut self, now: Duration) -> bool {
        let Some(first) = self.buffer.first_from(self.turn) else {
            return self.wait(now);
        };
        let ahead = first.sequence - self.turn;
        let gap = first.ticks - self.expected;
        if ahead == 0 {
            self.take_turn(now, gap);
            return true;
        }
        let since = self.buffer.waiting_since(self.turn).unwrap_or(now);
        if now < since + self.options.hold {
            return false;
        }
        // Lost. What the clock has made up already need not be made up again.
        self.counts.lost += 1;
        self.sender.remember_lost(self.expected);
        self.turn += 1;
        if let Some(frames) = self.silence_in(gap).filter(|_| !self.is_fresh) {
            let coded = if ahead == 1 { first.coded() } else { &[] };
            let recovered = !self.asleep
                && frames == gap as usize
                && self
                    .decoder
                    .recover(coded, &mut self.block[..frames * self.channels]);
            if recovered {
                self.counts.recovered += 1;
                self.made(frames);
            } else {
                self.make_up(frames);
            }
        }
        true
    }

    /// Nothing has come: silence begins, or the sound of a packet is overdue.
    fn wait(&mut self, now: Duration) -> bool {
        let Some(due) = self.due.filter(|due| *due <= now) else {
            return false;
        };
        if self.asleep {
            // Nothing is made up; what waits for its delay need not wait for a packet too.
            self.due = None;
            self.sender.relay_until(self.expected);
            self.sender.rest();
            return false;
        }
        let frames = self.frames;
        // What is on the way through comes out; more is not made up for nobody.
        if self.made_up >= self.delay {
            self.due = None;
            self.pass_others();
            self.sender.rest();
            return false;
        }
        self.due = Some(due + self.time_of(frames));
        self.make_up(frames);
        true
    }

    /// The turn of a packet that is there, `gap` ticks after what was expected.
    fn take_turn(&mut self, now: Duration, gap: i64) {
        let entry = self.buffer.get(self.turn).expect("it is there");
        let ticks = entry.ticks;
        if entry.kind == Kind::Other {
            self.sender.remember(entry, self.expected);
            self.end_turn();
            if std::mem::replace(&mut self.after_other, true) {
                // Numbers say that no sound was sent between the two: it is not late, but none.
                let silent = now.max(self.taken_at + self.time_of(2 * self.frames));
                self.due = self.due.map(|due| due.min(silent));
            }
            if self.due.is_none() {
                self.pass_others();
            } else if self.asleep {
                self.sender.relay_until(self.expected - self.delay as i64);
            }
            return;
        }
        self.after_other = false;
        let made_up = self.made_up as i64;
        let stray = gap - (self.ticks_since(now) - self.frames as i64);
        let most_stray = (self.rate_hz as f32 * MAX_STRAY_SECONDS) as i64;
        if self.is_fresh {
            self.expected = ticks;
        } else if gap < 0 && -gap <= made_up {
            // Its time was made up.
            self.counts.late += 1;
            self.end_turn();
            return;
        } else if gap < 0 || gap > most_stray && stray.abs() > most_stray {
            self.counts.restarts += 1;
            self.splice(now, ticks);
        } else if gap > 0 && self.asleep {
            // The receiver knows best what to do with a hole.
            self.expected = ticks;
        } else if let Some(frames) = self.silence_in(gap).filter(|_| self.made_up < self.delay) {
            // A silence that was not sent. What is on the way through comes out in its own place.
            self.make_up(frames);
            return;
        } else if gap > 0 {
            self.expected = ticks;
            self.sender.rest();
        }
        let entry = self.buffer.get(self.turn).expect("it is there");
        let recovered = entry.kind == Kind::Recovered;
        let Ok(frames) = self.decoder.frames(entry.coded(), self.rate_hz) else {
            self.counts.undecodable += 1;
            self.sender.remember_lost(self.expected);
            self.end_turn();
            self.make_up(self.frames);
            return;
        };
        if recovered {
            self.counts.lost += 1;
            self.counts.recovered += 1;
        }
        self.fit(frames);
        let entry = self.buffer.get(self.turn).expect("it is there");
        self.sender.remember(entry, self.expected);
        self.taken_at = now;
        self.due = Some(entry.arrival.max(now) + self.time_of(frames) + PAUSE);
        self.frames = frames;
        self.is_fresh = false;
        self.wake();
        if !self.asleep {
            let entry = self.buffer.get(self.turn).expect("it is there");
            let block = &mut self.block[..frames * self.channels];
            self.encoder.follow(entry.coded());
            if self.decoder.decode(entry.coded(), block).is_err() {
                self.counts.undecodable += 1;
                self.decoder.conceal(block);
            }
        }
        self.end_turn();
        self.made(frames);
        self.made_up = 0;
    }

    /// The packet whose turn it was is done with.
    fn end_turn(&mut self) {
        self.buffer.drop_one(self.turn);
        self.turn += 1;
    }

    /// Nothing is on the way through that events should wait for.
    fn pass_others(&mut self) {
        if self.asleep {
            self.sender.relay_until(self.expected);
        } else {
            self.sender.pass_others_until(self.expected);
        }
    }

    /// A packet's worth of a gap, or all of a smaller one that the stages take; none: it is skipped.
    fn silence_in(&self, gap: i64) -> Option<usize> {
        let gap = usize::try_from(gap).ok().filter(|gap| *gap > 0)?;
        if gap >= self.frames {
            return Some(self.frames);
        }
        let hops = self.options.denoiser.whole_hops;
        let fits = !hops || gap.is_multiple_of(self.denoiser.hop_frames());
        Some(gap).filter(|_| fits && self.options.codec.has_packets_of(gap))
    }

    /// Makes up `frames` that nothing came for.
    fn make_up(&mut self, frames: usize) {
        self.wake();
        if !self.asleep {
            self.counts.concealed += 1;
            self.decoder
                .conceal(&mut self.block[..frames * self.channels]);
            self.made_up += frames;
        }
        self.made(frames);
    }

    /// The block holds the next `frames`.
    fn made(&mut self, frames: usize) {
        let ticks = self.expected;
        self.expected += frames as i64;
        if self.asleep {
            self.relay(ticks, frames);
        } else {
            self.pending = Some((frames, ticks));
        }
    }

    /// Sends what came a delay ago.
    pub(super) fn relay(&mut self, ticks: i64, frames: usize) {
        let ticks = ticks - self.delay as i64;
        self.sender.relay_until(ticks);
        self.sender.ends_at(ticks + frames as i64);
    }

    /// After sleep the decoder and the encoder begin anew; nobody hears them yet.
    fn wake(&mut self) {
        if self.asleep && !self.denoiser.bypass() {
            self.asleep = false;
            self.decoder.reset();
            self.encoder.reset();
            self.set_pad();
        }
    }
}
