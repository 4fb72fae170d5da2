//! One step of a batch: a model runs once for the hops of several streams.

use crate::batch::stream::BatchStream;
use crate::block::Interleaved;
use crate::denoiser::{BlockCursor, Denoiser};
use crate::engine::Session;
use crate::error::Error;

/// One row of a step: one channel group of one pipeline of one stream.
#[derive(Clone, Copy)]
pub(super) struct BatchRow {
    pub(super) stream: usize,
    pub(super) pipeline: usize,
    pub(super) group: usize,
}

/// A block that is not done, with its stream.
pub(super) struct OpenBlock<'a> {
    pub(super) stream: &'a mut Denoiser,
    pub(super) block: &'a mut [f32],
    pub(super) cursor: &'a mut BlockCursor,
}

impl<'a> OpenBlock<'a> {
    /// The block of stream `at`. `None` when it has none or is done. A block that changed during the
    /// call is aborted.
    pub(super) fn new<S: BatchStream>(
        streams: &'a mut [S],
        cursors: &'a mut [Option<BlockCursor>],
        at: usize,
    ) -> Option<Self> {
        let cursor = cursors[at].as_mut().filter(|cursor| !cursor.is_done())?;
        match streams[at].stream_and_block() {
            Some((stream, block)) if cursor.belongs_to(stream, block.len()) => Some(Self {
                stream,
                block,
                cursor,
            }),
            _ => {
                cursor.abort(Error::BatchStreamChanged);
                None
            }
        }
    }

    /// Reads and writes the block up to its next hop.
    fn read_and_write(&mut self) {
        let channels = self.stream.channels();
        let mut block = Interleaved {
            input: None,
            output: self.block,
            channels,
        };
        self.stream.read_and_write(self.cursor, &mut block);
    }
}

/// One run of a model's graphs for several hops.
pub(super) struct Step<'a, S> {
    pub(super) streams: &'a mut [S],
    pub(super) cursors: &'a mut [Option<BlockCursor>],
    pub(super) rows: &'a [BatchRow],
    pub(super) session: &'a mut Session,
    pub(super) graphs: usize,
}

impl<S: BatchStream> Step<'_, S> {
    /// First half of the hops; fills the rows of the session unless there is no time to run it.
    pub(super) fn begin(&mut self, in_time: bool) {
        for (at, row) in self.rows.iter().enumerate() {
            let Some(open) = OpenBlock::new(self.streams, self.cursors, row.stream) else {
                continue;
            };
            let pipeline = open.stream.pipeline(row.pipeline);
            if row.group == 0 {
                pipeline.begin_hop();
            }
            let (group, channels) = pipeline.group(row.group);
            if in_time {
                group.begin_row(self.session, at, channels);
            }
        }
    }

    /// Runs the graphs. False when one failed.
    pub(super) fn infer(&mut self) -> bool {
        for graph in 0..self.graphs {
            for (at, row) in self.rows.iter().enumerate() {
                let Some(open) = OpenBlock::new(self.streams, self.cursors, row.stream) else {
                    continue;
                };
                let (group, channels) = open.stream.pipeline(row.pipeline).group(row.group);
                if graph > 0 {
                    group.apply(graph - 1, self.session, at, channels);
                }
                group.feed(graph, self.session, at, channels);
            }
            if self.session.run(graph).is_err() {
                return false;
            }
        }
        true
    }

    /// Second half of the hops. Returns how many are complete.
    ///
    /// When the step failed, each row runs alone: the data of one stream must not make the hops of
    /// others fail.
    pub(super) fn finish(&mut self, in_time: bool, ran: bool) -> u64 {
        let mut hops = 0;
        for (at, row) in self.rows.iter().enumerate() {
            let Some(mut open) = OpenBlock::new(self.streams, self.cursors, row.stream) else {
                // It is reset before its next block.
                continue;
            };
            let pipeline = open.stream.pipeline(row.pipeline);
            let is_last = row.group + 1 == pipeline.group_count();
            let (group, channels) = pipeline.group(row.group);
            if ran {
                // The rest of the hop at once, while the stream is in the cache.
                group.apply(self.graphs - 1, self.session, at, channels);
                group.end_row(self.session, at, channels);
            } else if in_time {
                group.rerun(self.session, at, channels);
            } else {
                group.passthrough(channels);
            }
            if is_last {
                hops += 1;
                if !in_time {
                    open.stream.count_deadline_miss();
                }
                open.stream.finish_hop(open.cursor, row.pipeline);
                open.read_and_write();
            }
        }
        hops
    }
}
