//! Many streams, one reading of the weights: the hops that are due are gathered, each model runs
//! once for all of them, and every stream goes on with its own.

mod load;

use std::sync::Arc;
use std::time::Duration;

use crate::block::Interleaved;
use crate::model::Model;
use crate::model::tract::Session;
use crate::{Denoiser, Error};
use load::Load;

/// A stream's work for one call of [`Batch::process`].
pub trait Job {
    /// The stream and its next block, interleaved, to be cleaned in place; none: nothing to do.
    /// Must give the same until the call is over; the batch panics if there is none any more.
    fn work(&mut self) -> Option<(&mut Denoiser, &mut [f32])>;

    /// How it went, once for each job that had work: as [`Denoiser::process`] would have said.
    fn done(&mut self, result: Result<(), Error>);
}

/// Counts since the batch was made.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct BatchCounts {
    /// Hops that a model ran for.
    pub hops: u64,
    /// Steps of a model; hops / steps is the number of streams that shared one.
    pub steps: u64,
    /// Hops that were the delayed input, for time had run out.
    pub missed_hops: u64,
    /// Times that a stream was stepped down to a cheaper model or to the delayed input.
    pub steps_down: u64,
    /// Times that a stream was stepped up again.
    pub steps_up: u64,
    /// Share of the time given that the latest calls took, smoothed, 0 to 1 and above.
    pub load: f32,
}

/// Cleans the blocks of many streams together. Each stream is a [`Denoiser`] of its own, and
/// comes out as if it had been alone, bit by bit; streams come, go and switch as they like.
///
/// One thread, one `Batch`. It holds no stream, so that a stream can move to another thread's.
///
/// ```
/// # fn main() -> Result<(), quietwire::Error> {
/// use quietwire::{Batch, BatchBlock, Denoiser, Model};
///
/// let model = Model::embedded("base")?;
/// let mut batch = Batch::new(&[model.clone()], 16)?;
/// let mut calls = Vec::new();
/// for _ in 0..3 {
///     let stream = Denoiser::builder(model.clone()).build()?;
///     calls.push(BatchBlock::new(stream, vec![0.0; 480]));
/// }
/// batch.process(&mut calls);
/// # Ok(())
/// # }
/// ```
pub struct Batch {
    groups: Vec<Group>,
    load: Load,
    /// streams to step up before the next call, or down if it is negative
    change: isize,
    /// seconds of a hop that no model runs for, smoothed
    dry_seconds: f32,
    /// hops that are still due in this round, at least
    to_come: usize,
    counts: BatchCounts,
}

/// The streams of one model.
struct Group {
    model: Arc<Model>,
    /// [width] a step of one row, of two, ...
    sessions: Vec<Session>,
    /// those who wait for a step, at most as many as the width
    seats: Vec<Seat>,
    /// seconds of a step for each row, smoothed
    row_seconds: f32,
}

/// A place in a step: one mind of one flow of one job's stream.
#[derive(Clone, Copy)]
struct Seat {
    job: usize,
    flow: usize,
    mind: usize,
}

/// Until when a call must be over, and what time it is.
struct Clock<'a> {
    now: &'a mut dyn FnMut() -> Duration,
    deadline: Duration,
}

impl Batch {
    /// A batch for streams of `models`, with at most `width` of them in a step, 1 to 64; 16 is
    /// near the best on most computers. Streams of other models, of models that cannot share a
    /// step ([`Spec::can_batch`](crate::Spec::can_batch)) and gated streams run one by one.
    ///
    /// All memory is taken here.
    ///
    /// # Errors
    /// [`Error::BatchWidth`] for another width, [`Error::Engine`] when the engine refuses a step.
    pub fn new(models: &[Arc<Model>], width: usize) -> Result<Self, Error> {
        const MOST: usize = 64;
        if !(1..=MOST).contains(&width) {
            return Err(Error::BatchWidth {
                found: width,
                max: MOST,
            });
        }
        let mut groups: Vec<Group> = Vec::with_capacity(models.len());
        for model in models.iter().filter(|model| model.spec().can_batch()) {
            if groups.iter().any(|group| Arc::ptr_eq(&group.model, model)) {
                continue;
            }
            let sessions = (1..=width).map(|rows| model.batch_session(rows));
            groups.push(Group {
                model: model.clone(),
                sessions: sessions.collect::<Result<_, _>>()?,
                seats: Vec::with_capacity(width),
                row_seconds: 0.0,
            });
        }
        Ok(Self {
            groups,
            load: Load::default(),
            change: 0,
            dry_seconds: 0.0,
            to_come: 0,
            counts: BatchCounts::default(),
        })
    }

    /// Cleans the block of every job that has one.
    ///
    /// # Real-time
    /// No allocation, lock, log or syscall but the engine's own tensor allocations, and what
    /// `jobs` do themselves; a stream's first hop in a batch takes memory for its states.
    pub fn process(&mut self, jobs: &mut [impl Job]) {
        self.run(jobs, None);
    }

    /// The same until `deadline`, on the clock that `now` reads. When time runs out, hops that are
    /// still due are the delayed input, aligned and without a click; when calls often take nearly
    /// all their time, streams are stepped down one after another, the last jobs first: to their
    /// next [alternative](crate::DenoiserBuilder::alternative), in the end to the delayed input;
    /// and up again, slowly, when there is time. [`counts`](Self::counts) tells.
    ///
    /// # Real-time
    /// As [`process`](Self::process).
    pub fn process_until(
        &mut self,
        jobs: &mut [impl Job],
        deadline: Duration,
        mut now: impl FnMut() -> Duration,
    ) {
        self.step(jobs);
        let working = jobs.iter_mut().filter_map(|job| job.work()).count();
        let start = now();
        let missed = self.counts.missed_hops;
        self.run(
            jobs,
            Some(Clock {
                now: &mut now,
                deadline,
            }),
        );
        let budget = deadline.saturating_sub(start);
        let took = now().saturating_sub(start);
        let missed = self.counts.missed_hops > missed;
        if working > 0 {
            self.change = self.load.note(took, budget, missed, working);
            self.counts.load = self.load.share();
        }
    }

    /// Counts since the batch was made.
    pub fn counts(&self) -> BatchCounts {
        self.counts
    }

    /// Steps streams as the latest call made it seem right.
    fn step(&mut self, jobs: &mut [impl Job]) {
        let change = std::mem::take(&mut self.change);
        let mut left = change.unsigned_abs();
        if change < 0 {
            for job in jobs.iter_mut().rev() {
                let Some((stream, _)) = job.work().filter(|_| left > 0) else {
                    continue;
                };
                let steps = stream.steps_down();
                if !stream.is_dry() && steps < stream.most_steps_down() {
                    stream.set_steps_down(steps + 1);
                    self.counts.steps_down += 1;
                    left -= 1;
                }
            }
        } else {
            for job in jobs {
                let Some((stream, _)) = job.work().filter(|_| left > 0) else {
                    continue;
                };
                let steps = stream.steps_down();
                if steps > 0 {
                    stream.set_steps_down(steps - 1);
                    self.counts.steps_up += 1;
                    left -= 1;
                }
            }
        }
    }

    fn run<J: Job>(&mut self, jobs: &mut [J], mut clock: Option<Clock<'_>>) {
        for job in jobs.iter_mut() {
            let Some((stream, block)) = job.work() else {
                continue;
            };
            let channels = stream.channels();
            let checked = Interleaved::new(None, block, channels);
            stream.begin_block(checked.and_then(|block| stream.check_block(&block)));
        }
        loop {
            self.to_come = jobs
                .iter_mut()
                .filter_map(|job| job.work())
                .filter(|(stream, _)| stream.is_in_block())
                .count();
            let mut waiting = false;
            for at in 0..jobs.len() {
                let Some((stream, block)) = jobs[at].work() else {
                    continue;
                };
                if !stream.is_in_block() {
                    continue;
                }
                if stream.advance_interleaved(block) {
                    self.to_come = self.to_come.saturating_sub(1);
                    continue;
                }
                waiting = true;
                for flow in 0..stream.flows().len() {
                    self.seat(jobs, at, flow, &mut clock);
                }
            }
            for group in 0..self.groups.len() {
                self.run_group(group, jobs, &mut clock);
            }
            if !waiting {
                break;
            }
        }
        for job in jobs {
            if let Some(result) = job.work().map(|(stream, _)| stream.end_block()) {
                job.done(result);
            }
        }
    }

    /// Seats the minds of a flow that is due; runs a step when it is full.
    fn seat<J: Job>(
        &mut self,
        jobs: &mut [J],
        job: usize,
        flow: usize,
        clock: &mut Option<Clock<'_>>,
    ) {
        let Some((stream, block)) = jobs[job].work().filter(|(s, _)| s.is_due(flow)) else {
            return;
        };
        let minds = stream.flows()[flow].minds();
        let model = stream.flows()[flow].model();
        let group = self
            .groups
            .iter()
            .position(|g| Arc::ptr_eq(&g.model, model));
        let shares = stream.flow_mut(flow).mind(0).0.can_share();
        let Some(group) = group.filter(|_| shares) else {
            self.to_come = self.to_come.saturating_sub(1);
            let rest = self.to_come as f32 * self.dry_seconds;
            if clock.as_mut().is_some_and(|clock| clock.left() <= rest) {
                stream.miss_hop(flow);
                self.counts.missed_hops += 1;
            } else {
                stream.hop(flow);
                self.counts.hops += 1;
                self.counts.steps += minds as u64;
            }
            stream.advance_interleaved(block);
            return;
        };
        for mind in 0..minds {
            let Group {
                seats, sessions, ..
            } = &mut self.groups[group];
            seats.push(Seat { job, flow, mind });
            if seats.len() == sessions.len() {
                self.run_group(group, jobs, clock);
            }
        }
    }

    /// One step for those who wait.
    fn run_group<J: Job>(&mut self, group: usize, jobs: &mut [J], clock: &mut Option<Clock<'_>>) {
        let group = &mut self.groups[group];
        let rows = group.seats.len();
        if rows == 0 {
            return;
        }
        let graphs = group.model.spec().graphs().len();
        let session = &mut group.sessions[rows - 1];
        let left = clock.as_mut().map(Clock::left);
        // The others' hops must at least pass in time too.
        self.to_come = self.to_come.saturating_sub(rows);
        let rest = self.to_come as f32 * self.dry_seconds;
        let in_time = left.is_none_or(|left| left > group.row_seconds * rows as f32 + rest);
        for (row, seat) in group.seats.iter().enumerate() {
            let flow = seat.flow_of(jobs);
            if seat.mind == 0 {
                flow.begin();
            }
            let (mind, channels) = flow.mind(seat.mind);
            if in_time {
                mind.join(session, row, channels);
            }
        }
        let ran = in_time
            && (0..graphs).all(|graph| {
                for (row, seat) in group.seats.iter().enumerate() {
                    let (mind, channels) = seat.flow_of(jobs).mind(seat.mind);
                    if graph > 0 {
                        mind.after(graph - 1, session, row, channels);
                    }
                    mind.before(graph, session, row, channels);
                }
                session.run(graph).is_ok()
            });
        for (row, seat) in group.seats.iter().enumerate() {
            let flow = seat.flow_of(jobs);
            let minds = flow.minds();
            let (mind, channels) = flow.mind(seat.mind);
            if ran {
                // All that is left of the hop at once, while the stream is in the cache.
                mind.after(graphs - 1, session, row, channels);
                mind.leave(session, row, channels);
            } else {
                mind.skip(channels, in_time);
            }
            if seat.mind + 1 == minds {
                let (stream, block) = seat.work_of(jobs);
                if in_time {
                    self.counts.hops += 1;
                } else {
                    stream.note_missed_hop();
                    self.counts.missed_hops += 1;
                }
                stream.end_hop(seat.flow);
                stream.advance_interleaved(block);
            }
        }
        if in_time {
            self.counts.steps += 1;
        }
        if let (Some(before), Some(clock)) = (left.filter(|left| *left > 0.0), clock) {
            let took = (before - clock.left()).max(0.0) / rows as f32;
            // One step that was slow for other reasons must not count for long.
            let seconds = if in_time {
                &mut group.row_seconds
            } else {
                &mut self.dry_seconds
            };
            *seconds += (took - *seconds) / 8.0;
        }
        group.seats.clear();
    }
}

impl Seat {
    fn work_of<'a, J: Job>(&self, jobs: &'a mut [J]) -> (&'a mut Denoiser, &'a mut [f32]) {
        let work = jobs[self.job].work();
        work.expect("the same until the call is over")
    }

    fn flow_of<'a, J: Job>(&self, jobs: &'a mut [J]) -> &'a mut crate::flow::Flow {
        self.work_of(jobs).0.flow_mut(self.flow)
    }
}

impl Clock<'_> {
    /// Seconds until the deadline.
    fn left(&mut self) -> f32 {
        self.deadline.saturating_sub((self.now)()).as_secs_f32()
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// The plainest [`Job`]: a stream and a block of its own.
#[derive(Debug)]
pub struct BatchBlock {
    stream: Denoiser,
    samples: Vec<f32>,
    result: Result<(), Error>,
}

impl BatchBlock {
    /// A stream with a block, interleaved.
    pub fn new(stream: Denoiser, samples: Vec<f32>) -> Self {
        Self {
            stream,
            samples,
            result: Ok(()),
        }
    }

    /// The block: noisy before a call, clean after it.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// The block, to put the next samples in.
    pub fn samples_mut(&mut self) -> &mut [f32] {
        &mut self.samples
    }

    /// The stream.
    pub fn stream(&self) -> &Denoiser {
        &self.stream
    }

    /// The stream, to switch it.
    pub fn stream_mut(&mut self) -> &mut Denoiser {
        &mut self.stream
    }

    /// How the latest call went.
    ///
    /// # Errors
    /// As [`Denoiser::process`].
    pub fn result(&self) -> Result<(), &Error> {
        self.result.as_ref().copied()
    }
}

impl Job for BatchBlock {
    fn work(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        Some((&mut self.stream, &mut self.samples))
    }

    fn done(&mut self, result: Result<(), Error>) {
        self.result = result;
    }
}
