//! A thread with streams of its own: takes packets in, cleans what is due in one batch, sends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use quietwire::{Batch, BatchStats, Model};
use tokio::sync::oneshot;

use super::stream::{Refusal, Stream};
use super::strips::COLUMN_MS;
use super::view::{self, Change};

/// What wakes a worker for a command.
const WAKER: Token = Token(usize::MAX);
/// Hops that share a step of a model.
const WIDTH: usize = 16;
/// A hop is done so long after its packet was taken in, or passes unchanged: a packet's own time,
/// which every receiver's jitter buffer has.
const BUDGET: Duration = Duration::from_millis(20);
/// With more streams than share a step, packets are gathered for so long.
const GATHER: Duration = Duration::from_millis(4);
/// Longest datagram that is read whole.
const DATAGRAM: usize = 16 * 1024;

/// What the control interface asks of a worker.
pub enum Command {
    Add(Box<Stream>, oneshot::Sender<Result<view::Stream, Refusal>>),
    Change(
        String,
        Change,
        oneshot::Sender<Result<view::Stream, Refusal>>,
    ),
    Remove(String, oneshot::Sender<Result<(), Refusal>>),
    Look(oneshot::Sender<Look>),
    Strips(u64, oneshot::Sender<BTreeMap<String, view::Strip>>),
}

/// A worker's streams and its own counts.
pub struct Look {
    pub streams: Vec<view::Stream>,
    pub counts: BatchStats,
    pub busy: Duration,
}

/// See the module.
pub struct Worker {
    poll: Poll,
    commands: Receiver<Command>,
    batch: Batch,
    streams: Vec<Stream>,
    /// tokens of the sockets, as `streams` has them
    tokens: Vec<Token>,
    next_token: usize,
    began: Instant,
    busy: Duration,
    datagram: Vec<u8>,
    packet: Vec<u8>,
}

impl Worker {
    /// # Errors
    /// When the system gives no poll, or the engine no batch.
    pub fn new(
        poll: Poll,
        commands: Receiver<Command>,
        models: &[Arc<Model>],
        began: Instant,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            poll,
            commands,
            batch: Batch::new(models, WIDTH)?,
            streams: Vec::new(),
            tokens: Vec::new(),
            next_token: 0,
            began,
            busy: Duration::ZERO,
            datagram: vec![0; DATAGRAM],
            packet: Vec::new(),
        })
    }

    pub const WAKER: Token = WAKER;

    /// Works until nobody can command it any more.
    ///
    /// # Errors
    /// When the system's poll fails.
    pub fn run(mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut readable = Vec::new();
        let mut last = Instant::now();
        loop {
            let wait = self.wait();
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            // Packets come one by one; a step of a model wants many.
            if self.streams.len() > WIDTH && !events.is_empty() {
                std::thread::sleep((last + GATHER).saturating_duration_since(Instant::now()));
            }
            let now = Instant::now();
            last = now;
            readable.clear();
            readable.extend(events.iter().map(|event| event.token()));
            if !self.obey(now) {
                return Ok(());
            }
            self.work(now, &readable);
            self.busy += now.elapsed();
        }
    }

    /// Until something is due.
    fn wait(&self) -> Option<Duration> {
        if self.streams.iter().any(Stream::has_more) {
            return Some(Duration::ZERO);
        }
        let since = self.began.elapsed();
        let due = self.streams.iter().filter_map(Stream::timeout).min();
        due.map(|due| due.saturating_sub(since) + Duration::from_micros(500))
    }

    fn work(&mut self, now: Instant, readable: &[Token]) {
        let since = now.duration_since(self.began);
        for (stream, token) in self.streams.iter_mut().zip(&self.tokens) {
            if stream.has_more() || readable.contains(token) {
                let began = Instant::now();
                stream.receive(now, since, &mut self.datagram);
                stream.cpu += began.elapsed();
            }
        }
        let deadline = since + BUDGET;
        loop {
            let mut ready = 0u32;
            for stream in &mut self.streams {
                let began = Instant::now();
                ready += u32::from(stream.prepare(now, since));
                stream.cpu += began.elapsed();
            }
            if ready == 0 {
                break;
            }
            let began = Instant::now();
            let start = self.began;
            self.batch
                .process_until(&mut self.streams, deadline, || start.elapsed());
            let share = began.elapsed() / ready;
            for stream in self.streams.iter_mut().filter(|stream| stream.is_ready) {
                stream.cpu += share;
            }
        }
        let column = since.as_millis() as u64 / COLUMN_MS;
        for stream in &mut self.streams {
            stream.send(&mut self.packet);
            stream.draw_until(column);
        }
    }

    /// Does what was asked; false when nobody will ask any more.
    fn obey(&mut self, now: Instant) -> bool {
        loop {
            // Nobody waits for an answer that cannot be sent.
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
                Ok(Command::Look(answer)) => {
                    let _ = answer.send(Look {
                        streams: self.streams.iter().map(|stream| stream.view(now)).collect(),
                        counts: self.batch.counts(),
                        busy: self.busy,
                    });
                }
                Ok(Command::Strips(after, answer)) => {
                    let column = self.began.elapsed().as_millis() as u64 / COLUMN_MS;
                    let strips = self
                        .streams
                        .iter_mut()
                        .map(|stream| (stream.id().to_owned(), stream.strips(now, column, after)));
                    let _ = answer.send(strips.collect());
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn add(&mut self, mut stream: Stream, now: Instant) -> Result<view::Stream, Refusal> {
        let token = Token(self.next_token);
        self.poll
            .registry()
            .register(stream.socket(), token, Interest::READABLE)
            .map_err(|error| Refusal::Full(format!("the system polls no more sockets: {error}")))?;
        self.next_token += 1;
        let view = stream.view(now);
        self.streams.push(stream);
        self.tokens.push(token);
        Ok(view)
    }

    fn find(&self, id: &str) -> Result<usize, Refusal> {
        let place = self.streams.iter().position(|stream| stream.id() == id);
        place.ok_or_else(|| Refusal::Unknown(format!("no stream is called `{id}`")))
    }

    fn change(&mut self, id: &str, change: &Change, now: Instant) -> Result<view::Stream, Refusal> {
        let place = self.find(id)?;
        self.streams[place].change(change)?;
        Ok(self.streams[place].view(now))
    }

    fn remove(&mut self, id: &str) -> Result<(), Refusal> {
        let place = self.find(id)?;
        let mut stream = self.streams.remove(place);
        self.tokens.remove(place);
        stream.send(&mut self.packet);
        // A socket that is closed is polled no more.
        let _ = self.poll.registry().deregister(stream.socket());
        Ok(())
    }
}
