//! Many streams per step: the hops that are due are gathered, each model runs once for all of them,
//! and the outputs go back to their streams.

mod load;
mod step;
mod stream;

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::block::Interleaved;
use crate::denoiser::{BlockCursor, Denoiser, HopOutcome};
use crate::engine::Session;
use crate::error::Error;
use crate::model::Model;
use crate::options::MAX_CHANNELS;
use load::LoadController;
use step::{BatchRow, OpenBlock, Step};

pub use stream::{BatchStream, OwnedBatchStream};

/// Largest number of streams of one step.
const MAX_WIDTH: usize = 64;

/// Counts since the batch was created.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct BatchStats {
    /// Hops for which a model ran.
    pub hops: u64,
    /// Steps of a model. `hops / steps` is the mean number of streams that shared one.
    pub steps: u64,
    /// Hops that ran alone: of models that the batch was not created with, of models without a batch
    /// axis, and of streams with SNR gating.
    pub unbatched_hops: u64,
    /// Hops without time for a model. Their output is the delayed input.
    pub deadline_misses: u64,
    /// Times that a stream was stepped down to the next model or to the delayed input.
    pub step_downs: u64,
    /// Times that a stream was stepped up again.
    pub step_ups: u64,
    /// Part of the budget that the latest calls took, smoothed: 1 is all of it.
    pub load: f32,
}

/// Processes the blocks of many streams together. Every stream is a [`Denoiser`] and its output is the
/// same as without the batch, bit by bit. Streams can be added, removed and switched between calls.
///
/// Use one `Batch` per thread. It owns no stream, so a stream can move to the batch of another thread.
/// It is `Send` and unwind safe: after a caught panic the next call starts afresh, and a stream whose
/// block the panic cut short is reset before its next block.
///
/// ```
/// use std::time::{Duration, Instant};
/// use quietwire::{Batch, Denoiser, Model, OwnedBatchStream};
///
/// fn main() -> Result<(), quietwire::Error> {
///     let model = Model::embedded("base")?;
///     let mut batch = Batch::new(&[model.clone()], 16)?;
///     let mut streams = Vec::new();
///     for _ in 0..3 {
///         let stream = Denoiser::builder(model.clone()).build()?;
///         streams.push(OwnedBatchStream::new(stream, vec![0.0; 480]));
///     }
///     batch.process(&mut streams);
///     // The same with at most 8 ms for all streams together:
///     let start = Instant::now();
///     batch.process_within(&mut streams, Duration::from_millis(8), || start.elapsed());
///     Ok(())
/// }
/// ```
pub struct Batch {
    groups: Vec<ModelGroup>,
    /// [streams of the call] progress of each block; `None` for a stream without one
    cursors: Vec<Option<BlockCursor>>,
    load: LoadController,
    /// streams to step up before the next call, or down if negative
    pending_steps: isize,
    /// seconds of a hop for which no model runs, smoothed
    bypass_seconds: f32,
    /// lower bound of the hops that are still due in this round
    hops_left: usize,
    stats: BatchStats,
    last_failure: Option<(usize, usize)>,
}

// Every call starts by clearing all that a panic in an earlier call could have left half changed.
impl UnwindSafe for Batch {}
impl RefUnwindSafe for Batch {}

/// The streams of one model.
struct ModelGroup {
    model: Arc<Model>,
    /// [width] sessions of 1, 2, ... rows
    sessions: Vec<Session>,
    /// hops that wait for a step
    rows: Vec<BatchRow>,
    /// seconds of a step per row, smoothed
    row_seconds: f32,
}

/// The time budget of a call.
struct Clock<'a> {
    now: &'a mut dyn FnMut() -> Duration,
    deadline: Duration,
}

impl Clock<'_> {
    /// Seconds until the deadline.
    fn left(&mut self) -> f32 {
        self.deadline.saturating_sub((self.now)()).as_secs_f32()
    }
}

impl Batch {
    /// A batch for streams of `models`, with at most `width` rows per step, 1 to 64. 16 is close to
    /// the optimum on most processors. A row is one inference: one channel, or all channels of a
    /// linked stream.
    ///
    /// Models are compared by their manifest and weights, so several loads of one model share their
    /// steps. Streams of other models, of models without a batch axis
    /// ([`Manifest::can_batch`](crate::Manifest::can_batch)) and with SNR gating run one by one;
    /// [`BatchStats::unbatched_hops`] counts them.
    ///
    /// Allocates the sessions. A call with more streams than any call before allocates the progress
    /// of their blocks.
    ///
    /// # Errors
    /// [`Error::BatchWidth`] for a width out of range, [`Error::Engine`] when the engine cannot create
    /// a session.
    pub fn new(models: &[Arc<Model>], width: usize) -> Result<Self, Error> {
        if !(1..=MAX_WIDTH).contains(&width) {
            return Err(Error::BatchWidth {
                found: width,
                max: MAX_WIDTH,
            });
        }
        let mut groups: Vec<ModelGroup> = Vec::with_capacity(models.len());
        for model in models.iter().filter(|model| model.manifest().can_batch()) {
            if groups.iter().any(|group| group.model.is_same(model)) {
                continue;
            }
            let sessions = (1..=width).map(|rows| model.batch_session(rows));
            groups.push(ModelGroup {
                model: model.clone(),
                sessions: sessions.collect::<Result<_, _>>()?,
                // Before a step runs, one stream can add a row for each channel of two pipelines.
                rows: Vec::with_capacity(width + 2 * MAX_CHANNELS),
                row_seconds: 0.0,
            });
        }
        Ok(Self {
            groups,
            cursors: Vec::new(),
            load: LoadController::default(),
            pending_steps: 0,
            bypass_seconds: 0.0,
            hops_left: 0,
            stats: BatchStats::default(),
            last_failure: None,
        })
    }

    /// Processes the block of every stream that has one. Streams that an earlier call stepped down
    /// step up to their requested model.
    ///
    /// # Real-time
    /// No allocation, lock, log or system call, except what the [`BatchStream`]s do and the tensors of
    /// models that run in tract ([`Model::graph_engines`]). A call with more streams than any call before
    /// allocates memory for the progress of their blocks.
    pub fn process(&mut self, streams: &mut [impl BatchStream]) {
        for stream in streams.iter_mut() {
            if let Some((stream, _)) = stream.stream_and_block() {
                stream.leave_fallback();
            }
        }
        self.pending_steps = 0;
        self.run(streams, None);
    }

    /// [`process`](Self::process) within a time budget for all streams together. `now` reads any clock
    /// that counts forward; the budget starts at its first value.
    ///
    /// Hops for which no time is left output the delayed input, aligned and without a click. When the
    /// calls often take nearly all of their budget, the batch steps streams down, those at the end of
    /// `streams` first: to their next model ([`fallback_model`](crate::DenoiserBuilder::fallback_model)),
    /// at last to the delayed input. When time is left again, it steps them up, one after another.
    /// [`stats`](Self::stats) counts all of it.
    ///
    /// # Real-time
    /// As [`process`](Self::process).
    pub fn process_within(
        &mut self,
        streams: &mut [impl BatchStream],
        budget: Duration,
        mut now: impl FnMut() -> Duration,
    ) {
        self.apply_fallback(streams);
        let blocks = streams
            .iter_mut()
            .filter_map(|stream| stream.stream_and_block())
            .count();
        let start = now();
        let misses = self.stats.deadline_misses;
        let clock = Clock {
            now: &mut now,
            deadline: start + budget,
        };
        self.run(streams, Some(clock));
        let took = now().saturating_sub(start);
        let missed = self.stats.deadline_misses > misses;
        if blocks > 0 {
            self.pending_steps = self.load.update(took, budget, missed, blocks);
            self.stats.load = self.load.load();
        }
    }

    /// Counts since the batch was created.
    pub fn stats(&self) -> BatchStats {
        self.stats
    }

    /// The engine's reason for the latest failure of a shared step, for a log. Allocates: not for the
    /// audio thread.
    pub fn last_failure(&self) -> Option<String> {
        let (group, session) = self.last_failure?;
        self.groups[group].sessions[session].last_failure()
    }

    /// Steps streams down or up as the latest call suggested.
    fn apply_fallback(&mut self, streams: &mut [impl BatchStream]) {
        let steps = std::mem::take(&mut self.pending_steps);
        let mut left = steps.unsigned_abs();
        if steps < 0 {
            for stream in streams.iter_mut().rev() {
                let Some((stream, _)) = stream.stream_and_block().filter(|_| left > 0) else {
                    continue;
                };
                let level = stream.fallback_level();
                if !stream.is_bypassed() && stream.set_fallback_level(level + 1).is_ok() {
                    self.stats.step_downs += 1;
                    left -= 1;
                }
            }
        } else {
            for stream in streams {
                let Some((stream, _)) = stream.stream_and_block().filter(|_| left > 0) else {
                    continue;
                };
                let level = stream.fallback_level();
                if level > 0 && stream.set_fallback_level(level - 1).is_ok() {
                    self.stats.step_ups += 1;
                    left -= 1;
                }
            }
        }
    }

    fn run<S: BatchStream>(&mut self, streams: &mut [S], mut clock: Option<Clock<'_>>) {
        self.begin(streams);
        loop {
            self.hops_left = self
                .cursors
                .iter()
                .flatten()
                .filter(|c| !c.is_done())
                .count();
            let mut deferred = false;
            for at in 0..streams.len() {
                deferred |= self.advance(streams, at, &mut clock);
                for group in 0..self.groups.len() {
                    while self.groups[group].is_full() {
                        self.run_step(group, streams, &mut clock);
                    }
                }
            }
            for group in 0..self.groups.len() {
                while !self.groups[group].rows.is_empty() {
                    self.run_step(group, streams, &mut clock);
                }
            }
            if !deferred {
                break;
            }
        }
        self.complete(streams);
    }

    /// Starts the block of every stream. Clears what a panic has left of an earlier call.
    fn begin<S: BatchStream>(&mut self, streams: &mut [S]) {
        for group in &mut self.groups {
            group.rows.clear();
        }
        self.cursors.clear();
        for stream in streams {
            let cursor = stream.stream_and_block().map(|(stream, block)| {
                match Interleaved::new(None, block, stream.channels()) {
                    Ok(block) => stream.begin_block(&block),
                    Err(error) => BlockCursor::rejected(error),
                }
            });
            self.cursors.push(cursor);
        }
    }

    /// Passes its result to every stream that had a block.
    fn complete<S: BatchStream>(&mut self, streams: &mut [S]) {
        for (stream, cursor) in streams.iter_mut().zip(self.cursors.drain(..)) {
            let Some(cursor) = cursor else { continue };
            if let Some((stream, block)) = stream.stream_and_block()
                && cursor.belongs_to(stream, block.len())
            {
                stream.end_block(&cursor);
            }
            stream.complete(cursor.into_result());
        }
    }

    /// Advances one block to its end or to hops that wait for a step (true).
    fn advance<S: BatchStream>(
        &mut self,
        streams: &mut [S],
        at: usize,
        clock: &mut Option<Clock<'_>>,
    ) -> bool {
        let Some(open) = OpenBlock::new(streams, &mut self.cursors, at) else {
            return false;
        };
        let (groups, stats) = (&mut self.groups, &mut self.stats);
        let (hops_left, bypass_seconds) = (&mut self.hops_left, self.bypass_seconds);
        let channels = open.stream.channels();
        let mut block = Interleaved {
            input: None,
            output: open.block,
            channels,
        };
        let hop = |stream: &mut Denoiser, cursor: &mut BlockCursor, pipeline: usize| {
            let stages = stream.pipeline(pipeline);
            let shared = groups
                .iter_mut()
                .find(|group| group.model.is_same(stages.model()))
                .filter(|_| stages.can_batch());
            let rows = stages.group_count();
            if let Some(shared) = shared {
                let row = |group| BatchRow {
                    stream: at,
                    pipeline,
                    group,
                };
                shared.rows.extend((0..rows).map(row));
                return HopOutcome::Deferred;
            }
            *hops_left = hops_left.saturating_sub(1);
            let rest = *hops_left as f32 * bypass_seconds;
            if clock.as_mut().is_some_and(|clock| clock.left() <= rest) {
                stream.bypass_hop(cursor, pipeline);
                stats.deadline_misses += 1;
            } else {
                stream.run_hop(cursor, pipeline);
                stats.hops += 1;
                stats.unbatched_hops += 1;
                stats.steps += rows as u64;
            }
            HopOutcome::Done
        };
        let done = open.stream.advance_block(open.cursor, &mut block, hop);
        if done {
            self.hops_left = self.hops_left.saturating_sub(1);
        }
        !done
    }

    /// Runs one step of a group for the hops that have waited longest.
    fn run_step<S: BatchStream>(
        &mut self,
        at: usize,
        streams: &mut [S],
        clock: &mut Option<Clock<'_>>,
    ) {
        let (cursors, group) = (&mut self.cursors, &mut self.groups[at]);
        group
            .rows
            .retain(|row| OpenBlock::new(streams, cursors, row.stream).is_some());
        let rows = group.rows.len().min(group.sessions.len());
        if rows == 0 {
            return;
        }
        let left = clock.as_mut().map(Clock::left);
        // The hops after this step need time too, at least to pass the delayed input.
        self.hops_left = self.hops_left.saturating_sub(rows);
        let rest = self.hops_left as f32 * self.bypass_seconds;
        let in_time = left.is_none_or(|left| left > group.row_seconds * rows as f32 + rest);
        let mut step = Step {
            streams,
            cursors,
            rows: &group.rows[..rows],
            session: &mut group.sessions[rows - 1],
            graphs: group.model.manifest().graphs().len(),
        };
        step.begin(in_time);
        let ran = in_time && step.infer();
        if in_time && !ran {
            self.last_failure = Some((at, rows - 1));
        }
        let hops = step.finish(in_time, ran);
        if in_time {
            self.stats.hops += hops;
            self.stats.steps += 1;
        } else {
            self.stats.deadline_misses += hops;
        }
        if let (Some(before), Some(clock)) = (left.filter(|left| *left > 0.0), clock) {
            let took = (before - clock.left()).max(0.0) / rows as f32;
            let seconds = if in_time {
                &mut group.row_seconds
            } else {
                &mut self.bypass_seconds
            };
            // Smoothed, so that one slow step does not count for long.
            *seconds += (took - *seconds) / 8.0;
        }
        group.rows.drain(..rows);
    }
}

impl ModelGroup {
    fn is_full(&self) -> bool {
        self.rows.len() >= self.sessions.len()
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
