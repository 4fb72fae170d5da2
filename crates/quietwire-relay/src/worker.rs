//! A worker thread: receives the packets of its streams, denoises what is due in one batch, sends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use quietwire::{Batch, BatchStats, Error, Model};
use tokio::sync::oneshot;

use crate::api::{ApiError, Change, StreamInfo, Strip};
use crate::spectrogram_feed::COLUMN_MS;
use crate::stream::Stream;

/// Token of the waker that announces commands.
const WAKER: Token = Token(usize::MAX);
/// Streams that share one step of a model.
const BATCH_WIDTH: usize = 16;
/// Time for the hops of received packets. Hops beyond it output their input. The jitter buffer of
/// every receiver holds at least one packet of 20 ms.
const BUDGET: Duration = Duration::from_millis(20);
/// With more streams than share a step, packets of this time are gathered before they are processed.
const GATHER_TIME: Duration = Duration::from_millis(4);
/// Added to timeouts, because a poll can return too early by the resolution of its timer.
const TIMER_RESOLUTION: Duration = Duration::from_micros(500);
/// Longest datagram that is received whole, bytes.
const MAX_DATAGRAM_BYTES: usize = 16 * 1024;
/// Events of one poll.
const MAX_EVENTS: usize = 1024;

/// A command of the control interface.
pub enum Command {
    Add(Box<Stream>, oneshot::Sender<Result<StreamInfo, ApiError>>),
    Change(
        String,
        Change,
        oneshot::Sender<Result<StreamInfo, ApiError>>,
    ),
    Remove(String, oneshot::Sender<Result<(), ApiError>>),
    Snapshot(oneshot::Sender<Snapshot>),
    Strips(u64, oneshot::Sender<BTreeMap<String, Strip>>),
}

/// The streams and the counts of a worker.
pub struct Snapshot {
    pub streams: Vec<StreamInfo>,
    pub worker: WorkerStats,
}

/// Counts of a worker since its start.
pub struct WorkerStats {
    pub batch: BatchStats,
    pub busy: Duration,
}

/// See the [module](self).
pub struct Worker {
    poll: Poll,
    commands: Receiver<Command>,
    batch: Batch,
    /// in the order of their creation
    streams: Vec<Stream>,
    /// [streams] tokens of the sockets, ascending
    tokens: Vec<Token>,
    next_token: usize,
    /// zero of the clock of the RTP streams
    start: Instant,
    busy: Duration,
    datagram: Vec<u8>,
    packet: Vec<u8>,
}

impl Worker {
    pub const WAKER: Token = WAKER;

    /// # Errors
    /// As [`Batch::new`].
    pub fn new(
        poll: Poll,
        commands: Receiver<Command>,
        models: &[Arc<Model>],
        start: Instant,
    ) -> Result<Self, Error> {
        Ok(Self {
            poll,
            commands,
            batch: Batch::new(models, BATCH_WIDTH)?,
            streams: Vec::new(),
            tokens: Vec::new(),
            next_token: 0,
            start,
            busy: Duration::ZERO,
            datagram: vec![0; MAX_DATAGRAM_BYTES],
            packet: Vec::new(),
        })
    }

    /// Runs until all senders of commands are gone.
    ///
    /// # Errors
    /// When the system's poll fails.
    pub fn run(mut self) -> std::io::Result<()> {
        let mut events = Events::with_capacity(MAX_EVENTS);
        let mut last_turn = Instant::now();
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            // Packets arrive one by one, and a step of a model is cheaper for many streams.
            if self.streams.len() > BATCH_WIDTH && !events.is_empty() {
                std::thread::sleep(
                    (last_turn + GATHER_TIME).saturating_duration_since(Instant::now()),
                );
            }
            let now = Instant::now();
            last_turn = now;
            // Before commands, which may remove streams.
            for event in &events {
                self.mark_readable(event.token());
            }
            if !self.handle_commands(now) {
                return Ok(());
            }
            self.process(now);
            self.busy += now.elapsed();
        }
    }

    /// Time until something is due.
    fn timeout(&self) -> Option<Duration> {
        if self.streams.iter().any(Stream::is_readable) {
            return Some(Duration::ZERO);
        }
        let clock = self.start.elapsed();
        let due = self.streams.iter().filter_map(Stream::timeout).min();
        due.map(|due| due.saturating_sub(clock) + TIMER_RESOLUTION)
    }

    fn mark_readable(&mut self, token: Token) {
        if let Ok(index) = self.tokens.binary_search(&token) {
            self.streams[index].set_readable();
        }
    }

    /// Receives, denoises and sends everything that is due at `now`.
    fn process(&mut self, now: Instant) {
        let clock = now.duration_since(self.start);
        for stream in self.streams.iter_mut().filter(|s| s.is_readable()) {
            let start = Instant::now();
            stream.receive(now, clock, &mut self.datagram);
            stream.add_cpu(start.elapsed());
        }
        let deadline = clock + BUDGET;
        loop {
            let mut ready = 0u32;
            for stream in &mut self.streams {
                let start = Instant::now();
                ready += u32::from(stream.prepare(now, clock));
                stream.add_cpu(start.elapsed());
            }
            if ready == 0 {
                break;
            }
            let batch_start = Instant::now();
            let worker_start = self.start;
            let budget = deadline.saturating_sub(worker_start.elapsed());
            self.batch
                .process_within(&mut self.streams, budget, || worker_start.elapsed());
            let time_per_stream = batch_start.elapsed() / ready;
            for stream in self.streams.iter_mut().filter(|s| s.is_ready()) {
                stream.add_cpu(time_per_stream);
            }
        }
        let column = column(clock);
        for stream in &mut self.streams {
            stream.send(&mut self.packet);
            stream.advance_feed(column);
        }
    }

    /// Handles the commands that wait. False: all senders are gone.
    fn handle_commands(&mut self, now: Instant) -> bool {
        loop {
            // Sending an answer fails when its request was canceled.
            match self.commands.try_recv() {
                Ok(Command::Add(stream, answer)) => {
                    let _ = answer.send(self.add(*stream, now));
                }
                Ok(Command::Change(id, change, answer)) => {
                    let _ = answer.send(self.change(&id, &change, now));
                }
                Ok(Command::Remove(id, answer)) => {
                    let _ = answer.send(self.remove(&id));
                }
                Ok(Command::Snapshot(answer)) => {
                    let _ = answer.send(self.snapshot(now));
                }
                Ok(Command::Strips(since, answer)) => {
                    let _ = answer.send(self.strips(now, since));
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn add(&mut self, mut stream: Stream, now: Instant) -> Result<StreamInfo, ApiError> {
        let token = Token(self.next_token);
        self.poll
            .registry()
            .register(stream.socket(), token, Interest::READABLE)
            .map_err(|error| {
                ApiError::Unavailable(format!("the system polls no more sockets: {error}"))
            })?;
        self.next_token += 1;
        let snapshot = stream.snapshot(now);
        self.streams.push(stream);
        self.tokens.push(token);
        Ok(snapshot)
    }

    fn find(&self, id: &str) -> Result<usize, ApiError> {
        let index = self.streams.iter().position(|stream| stream.id() == id);
        index.ok_or_else(|| ApiError::unknown_stream(id))
    }

    fn change(&mut self, id: &str, change: &Change, now: Instant) -> Result<StreamInfo, ApiError> {
        let index = self.find(id)?;
        self.streams[index].change(change)?;
        Ok(self.streams[index].snapshot(now))
    }

    fn remove(&mut self, id: &str) -> Result<(), ApiError> {
        let index = self.find(id)?;
        let mut stream = self.streams.remove(index);
        self.tokens.remove(index);
        stream.send(&mut self.packet);
        // Closing the socket ends its registration too.
        let _ = self.poll.registry().deregister(stream.socket());
        Ok(())
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            streams: self.streams.iter().map(|s| s.snapshot(now)).collect(),
            worker: WorkerStats {
                batch: self.batch.stats(),
                busy: self.busy,
            },
        }
    }

    fn strips(&mut self, now: Instant, since: u64) -> BTreeMap<String, Strip> {
        let column = column(self.start.elapsed());
        let strips = self
            .streams
            .iter_mut()
            .map(|stream| (stream.id().to_owned(), stream.strip(now, column, since)));
        strips.collect()
    }
}

/// Number of the spectrogram column at a time since the start.
fn column(clock: Duration) -> u64 {
    clock.as_millis() as u64 / COLUMN_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_finds_its_stream_after_another_was_removed() {
        let models: Arc<[Arc<Model>]> = [Model::embedded("tiny").unwrap()].into();
        let (_sender, commands) = std::sync::mpsc::channel();
        let start = Instant::now();
        // No stream is processed: the batch needs no model.
        let mut worker = Worker::new(Poll::new().unwrap(), commands, &[], start).unwrap();
        let config = serde_json::from_str(r#"{"send_to": "127.0.0.1:9"}"#).unwrap();
        for id in ["a", "b", "c"] {
            let stream = Stream::new(id.into(), &config, models.clone()).unwrap();
            worker.add(stream, start).unwrap();
        }
        worker.remove("b").unwrap();
        for token in [WAKER, Token(1), Token(2)] {
            worker.mark_readable(token);
        }
        let readable: Vec<(&str, bool)> = worker
            .streams
            .iter()
            .map(|stream| (stream.id(), stream.is_readable()))
            .collect();
        assert_eq!(readable, [("a", false), ("c", true)]);
        assert!(matches!(worker.remove("b"), Err(ApiError::NotFound(_))));
    }
}
