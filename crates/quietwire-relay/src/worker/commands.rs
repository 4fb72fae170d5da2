//! Carries out the commands of the control interface.

use std::collections::BTreeMap;
use std::sync::mpsc::TryRecvError;
use std::time::Instant;

use mio::{Interest, Token};

use crate::api::error::ApiError;
use crate::api::new_stream::Change;
use crate::api::relay::Strip;
use crate::api::stream_info::StreamInfo;
use crate::cpu::thread_time;
use crate::spectrogram_feed::column;
use crate::stream::Stream;
use crate::worker::{Command, Snapshot, Worker, WorkerStats};

impl Worker {
    /// Handles the commands that wait. False: all senders are gone.
    pub(super) fn handle_commands(&mut self, now: Instant) -> bool {
        loop {
            // Sending an answer fails when its request was canceled.
            match self.commands.try_recv() {
                Ok(Command::Add(stream, answer)) => {
                    let _ = answer.send(self.add(stream, now));
                }
                Ok(Command::Change(id, change, answer)) => {
                    let _ = answer.send(self.change(&id, &change, now));
                }
                Ok(Command::Remove(id, answer)) => {
                    let _ = answer.send(self.remove(&id, now));
                }
                Ok(Command::RemoveExpired(id, answer)) => {
                    let is_expired = self
                        .find(&id)
                        .is_ok_and(|slot| self.slots.get_mut(slot).is_expired(now));
                    let _ = answer.send(is_expired && self.remove(&id, now).is_ok());
                }
                Ok(Command::Snapshot(ids, answer)) => {
                    let _ = answer.send(self.snapshot(ids.as_deref(), now));
                }
                Ok(Command::Strips(since, answer)) => {
                    let _ = answer.send(self.strips(now, since));
                }
                Ok(Command::Ping(answer)) => {
                    let _ = answer.send(());
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    pub(super) fn add(
        &mut self,
        mut stream: Box<Stream>,
        now: Instant,
    ) -> Result<StreamInfo, ApiError> {
        let token = Token(self.slots.next_slot());
        self.poll
            .registry()
            .register(stream.socket(), token, Interest::READABLE)
            .map_err(|error| {
                ApiError::Unavailable(format!("the system polls no more sockets: {error}"))
            })?;
        let snapshot = stream.snapshot(now);
        let slot = self.slots.insert(stream);
        // Its first turn sets its timers.
        self.slots.touch(slot);
        Ok(snapshot)
    }

    pub(super) fn find(&self, id: &str) -> Result<usize, ApiError> {
        self.slots
            .find(id)
            .ok_or_else(|| ApiError::unknown_stream(id))
    }

    fn change(&mut self, id: &str, change: &Change, now: Instant) -> Result<StreamInfo, ApiError> {
        let slot = self.find(id)?;
        let stream = self.slots.get_mut(slot);
        stream.change(change)?;
        let snapshot = stream.snapshot(now);
        self.slots.touch(slot);
        Ok(snapshot)
    }

    pub(super) fn remove(&mut self, id: &str, now: Instant) -> Result<(), ApiError> {
        let slot = self.find(id)?;
        let mut stream = self.slots.remove(slot);
        self.timers.clear(slot);
        if stream.is_codec_shed() {
            self.stats.codec_shed_streams -= 1;
        }
        stream.send(&mut self.packet, now);
        // Closing the socket ends its registration too.
        let _ = self.poll.registry().deregister(stream.socket());
        Ok(())
    }

    pub(super) fn snapshot(&self, ids: Option<&[String]>, now: Instant) -> Snapshot {
        let streams = match ids {
            Some(ids) => ids
                .iter()
                .filter_map(|id| self.slots.find(id))
                .map(|slot| self.slots.get(slot).snapshot(now))
                .collect(),
            None => self.slots.iter().map(|s| s.snapshot(now)).collect(),
        };
        let worker = WorkerStats {
            batch: self.batch.stats(),
            cpu: thread_time(),
            ..self.stats
        };
        Snapshot { streams, worker }
    }

    fn strips(&mut self, now: Instant, since: u64) -> BTreeMap<String, Strip> {
        let column = column(self.start.elapsed());
        let strips = self
            .slots
            .iter_mut()
            .map(|stream| (stream.id().to_owned(), stream.strip(now, column, since)));
        strips.collect()
    }
}
