//! A worker thread: receives the packets of its streams, denoises what is due in one batch, sends.

mod commands;
mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use quietwire::{Batch, BatchStats, Error, Model};
use tokio::sync::{mpsc, oneshot};

use crate::api::error::ApiError;
use crate::api::new_stream::Change;
use crate::api::relay::Strip;
use crate::api::stream_info::{State, StreamInfo};
use crate::codec_load::{CodecLoad, Step};
use crate::cpu::{Laps, StageTimes};
use crate::spectrogram_feed::column;
use crate::stream::Stream;
use crate::timers::Timers;
use slots::Slots;

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

type Answer<T> = oneshot::Sender<T>;

/// A command of the control interface.
pub enum Command {
    Add(Box<Stream>, Answer<Result<StreamInfo, ApiError>>),
    Change(String, Box<Change>, Answer<Result<StreamInfo, ApiError>>),
    Remove(String, Answer<Result<(), ApiError>>),
    /// removes a stream if it is still without packets; true: it was removed
    RemoveExpired(String, Answer<bool>),
    /// these streams, or all
    Snapshot(Option<Vec<String>>, Answer<Snapshot>),
    Strips(u64, Answer<BTreeMap<String, Strip>>),
    /// answers at once
    Ping(Answer<()>),
}

/// What a worker reports without a command.
pub enum Notice {
    State {
        stream: String,
        state: State,
        active_model: Option<String>,
    },
    Error {
        stream: String,
        error: String,
    },
    /// a stream was without packets for its idle timeout
    Expired {
        stream: String,
    },
    /// overload: so many streams go without decoding and encoding now
    CodecShed {
        streams: usize,
    },
}

/// The streams and the counts of a worker.
pub struct Snapshot {
    pub streams: Vec<StreamInfo>,
    pub worker: WorkerStats,
}

/// Counts of a worker since its start.
#[derive(Debug, Clone, Copy)]
pub struct WorkerStats {
    pub batch: BatchStats,
    /// time spent on its streams, including time without the processor
    pub busy: Duration,
    /// processor time of the thread
    pub cpu: Duration,
    /// processor time of streams, those that are gone included
    pub stages: StageTimes,
    pub turns: u64,
    /// streams whose codec was stopped and started again because of an overload
    pub codec_sheds: u64,
    pub codec_restores: u64,
    /// streams whose codec is stopped now
    pub codec_shed_streams: usize,
}

/// See the [module](self).
pub struct Worker {
    poll: Poll,
    commands: Receiver<Command>,
    notices: mpsc::UnboundedSender<Notice>,
    batch: Batch,
    slots: Slots,
    timers: Timers,
    /// the streams of the present turn, in the order of their creation
    #[expect(
        clippy::vec_box,
        reason = "streams are large and move between slots and turns"
    )]
    turn: Vec<Box<Stream>>,
    /// zero of the clock of the RTP streams
    start: Instant,
    codec_load: CodecLoad,
    stats: WorkerStats,
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
        notices: mpsc::UnboundedSender<Notice>,
        models: &[Arc<Model>],
        start: Instant,
    ) -> Result<Self, Error> {
        let batch = Batch::new(models, BATCH_WIDTH)?;
        Ok(Self {
            poll,
            commands,
            notices,
            slots: Slots::default(),
            timers: Timers::default(),
            turn: Vec::new(),
            start,
            codec_load: CodecLoad::new(start.elapsed()),
            stats: WorkerStats {
                batch: batch.stats(),
                busy: Duration::ZERO,
                cpu: Duration::ZERO,
                stages: StageTimes::default(),
                turns: 0,
                codec_sheds: 0,
                codec_restores: 0,
                codec_shed_streams: 0,
            },
            batch,
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
            if self.slots.len() > BATCH_WIDTH && !events.is_empty() {
                std::thread::sleep(
                    (last_turn + GATHER_TIME).saturating_duration_since(Instant::now()),
                );
            }
            let now = Instant::now();
            last_turn = now;
            // Before commands, which may remove streams.
            for event in &events {
                self.slots.set_readable(event.token().0);
            }
            while let Some(slot) = self.timers.pop(now.duration_since(self.start)) {
                self.slots.touch(slot);
            }
            if !self.handle_commands(now) {
                return Ok(());
            }
            self.process(now);
            self.control_codec_load();
        }
    }

    /// Time until something is due.
    fn timeout(&self) -> Option<Duration> {
        if self.slots.has_touched() {
            return Some(Duration::ZERO);
        }
        let due = self.timers.next()?;
        Some(due.saturating_sub(self.start.elapsed()) + TIMER_RESOLUTION)
    }

    /// Receives, denoises and sends everything that is due at `now`.
    fn process(&mut self, now: Instant) {
        let clock = now.duration_since(self.start);
        let mut laps = Laps::start();
        let mut times = StageTimes::default();
        self.slots.take_touched(&mut self.turn);
        for stream in self.turn.iter_mut().filter(|s| s.is_readable()) {
            stream.receive(now, clock, &mut self.datagram);
            let socket = laps.lap();
            times.socket += socket;
            stream.add_cpu(StageTimes {
                socket,
                ..StageTimes::default()
            });
        }
        let deadline = clock + BUDGET;
        loop {
            let mut ready = 0u32;
            for stream in &mut self.turn {
                ready += u32::from(stream.prepare(now, clock));
                let decode = laps.lap();
                times.decode += decode;
                stream.add_cpu(StageTimes {
                    decode,
                    ..StageTimes::default()
                });
            }
            if ready == 0 {
                break;
            }
            let worker_start = self.start;
            let budget = deadline.saturating_sub(worker_start.elapsed());
            self.batch
                .process_within(&mut self.turn, budget, || worker_start.elapsed());
            let streams = || self.turn.iter().filter(|s| s.is_ready());
            let encode = streams().map(|s| s.latest_encode()).sum();
            let denoise = laps.lap().saturating_sub(encode);
            times.encode += encode;
            times.denoise += denoise;
            for stream in self.turn.iter_mut().filter(|s| s.is_ready()) {
                let denoise = denoise / ready;
                stream.add_cpu(StageTimes {
                    denoise,
                    ..StageTimes::default()
                });
            }
        }
        let column = column(clock);
        for stream in &mut self.turn {
            stream.send(&mut self.packet, now);
            stream.advance_feed(column);
            let socket = laps.lap();
            times.socket += socket;
            stream.add_cpu(StageTimes {
                socket,
                ..StageTimes::default()
            });
        }
        self.end_turn(now);
        let busy = now.elapsed();
        self.codec_load.add(busy, times);
        self.stats.busy += busy;
        self.stats.stages += times;
        self.stats.turns += 1;
    }

    /// Reports what changed, schedules the next turns and returns the streams to their slots.
    fn end_turn(&mut self, now: Instant) {
        let clock = now.duration_since(self.start);
        for mut stream in self.turn.drain(..) {
            // Receiving fails only while the relay ends.
            if let Some((state, active_model)) = stream.take_state_change(now) {
                let stream = stream.id().to_owned();
                let _ = self.notices.send(Notice::State {
                    stream,
                    state,
                    active_model,
                });
            }
            if let Some(error) = stream.take_error() {
                let stream = stream.id().to_owned();
                let _ = self.notices.send(Notice::Error { stream, error });
            }
            if stream.is_expired(now) {
                let stream = stream.id().to_owned();
                let _ = self.notices.send(Notice::Expired { stream });
            }
            let slot = self.slots.put_back(stream);
            let stream = self.slots.get_mut(slot);
            let change = stream
                .next_change(now)
                .map(|at| at.duration_since(self.start));
            if let Some(at) = stream.timeout().into_iter().chain(change).min() {
                self.timers.set(slot, at.max(clock));
            }
            if stream.is_readable() {
                self.slots.touch(slot);
            }
        }
    }

    /// Stops or starts the codecs of streams by the load.
    fn control_codec_load(&mut self) {
        let clock = self.start.elapsed();
        // Streams are counted and searched once in a window, not in each turn.
        let step = self.codec_load.step(clock, || self.slots.active_codecs());
        let changed = match step {
            Step::None => return,
            Step::Shed(count) => self.slots.shed_codecs(count),
            Step::Restore(count) => self.slots.restore_codecs(count),
        };
        if changed == 0 {
            self.codec_load.nothing_to_restore();
            return;
        }
        if let Step::Shed(_) = step {
            self.stats.codec_sheds += changed as u64;
            self.stats.codec_shed_streams += changed;
        } else {
            self.stats.codec_restores += changed as u64;
            self.stats.codec_shed_streams -= changed;
        }
        let streams = self.stats.codec_shed_streams;
        let _ = self.notices.send(Notice::CodecShed { streams });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        worker: Worker,
        notices: mpsc::UnboundedReceiver<Notice>,
        models: Arc<[Arc<Model>]>,
        start: Instant,
        _commands: std::sync::mpsc::Sender<Command>,
    }

    impl Bench {
        fn new() -> Self {
            let models: Arc<[Arc<Model>]> = [Model::embedded("tiny").unwrap()].into();
            let (sender, commands) = std::sync::mpsc::channel();
            let (notice_sender, notices) = mpsc::unbounded_channel();
            let start = Instant::now();
            // The batch runs no model: streams of other models run alone.
            let poll = Poll::new().unwrap();
            let worker = Worker::new(poll, commands, notice_sender, &[], start).unwrap();
            Self {
                worker,
                notices,
                models,
                start,
                _commands: sender,
            }
        }

        fn add(&mut self, id: &str, fields: &str) -> std::net::SocketAddr {
            let config = format!(r#"{{"send_to": "127.0.0.1:9"{fields}}}"#);
            let config = serde_json::from_str(&config).unwrap();
            let stream = Stream::new(id.into(), &config, self.models.clone()).unwrap();
            let added = self.worker.add(Box::new(stream), self.start).unwrap();
            added.listen
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }
    }

    #[test]
    fn a_token_finds_its_stream_after_another_was_removed() {
        let mut bench = Bench::new();
        for id in ["a", "b", "c"] {
            bench.add(id, "");
        }
        let worker = &mut bench.worker;
        worker.process(bench.start);
        worker.remove("b", bench.start).unwrap();
        for token in [WAKER.0, 1, 2, 7] {
            worker.slots.set_readable(token);
        }
        let readable: Vec<(&str, bool)> = worker
            .slots
            .iter()
            .map(|stream| (stream.id(), stream.is_readable()))
            .collect();
        assert_eq!(readable, [("a", false), ("c", true)]);
        let removed = worker.remove("b", bench.start);
        assert!(matches!(removed, Err(ApiError::NotFound(_))));
        bench.add("d", "");
        assert_eq!(bench.worker.find("d").unwrap(), 1, "the slot is used again");
    }

    #[test]
    fn a_turn_touches_only_the_streams_that_are_due() {
        let mut bench = Bench::new();
        let quiet = (0..50).map(|n| format!("quiet{n}"));
        for id in quiet {
            bench.add(&id, "");
        }
        let listen = bench.add("busy", r#", "codec": "l16", "rate_hz": 48000"#);
        let now = bench.at(1);
        bench.worker.process(now);
        assert!(!bench.worker.slots.has_touched() && bench.worker.timers.next().is_none());
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        packet.resize(12 + 1920, 0);
        sender.send_to(&packet, listen).unwrap();
        let slot = bench.worker.find("busy").unwrap();
        bench.worker.slots.set_readable(slot);
        bench.worker.slots.take_touched(&mut bench.worker.turn);
        assert_eq!(bench.worker.turn.len(), 1);
        let stream = bench.worker.turn.pop().unwrap();
        bench.worker.slots.put_back(stream);
        bench.worker.slots.touch(slot);
        bench.worker.process(now);
        assert!(matches!(
            bench.notices.try_recv(),
            Ok(Notice::State { stream, state: State::Denoising, .. }) if stream == "busy"
        ));
        // It is due again when it becomes idle.
        assert!(bench.worker.timers.next().is_some());
    }

    #[test]
    fn a_stream_without_packets_expires_once() {
        let mut bench = Bench::new();
        bench.add("s", r#", "idle_timeout_s": 2"#);
        bench.add("forever", "");
        bench.worker.process(bench.start);
        assert!(bench.notices.try_recv().is_err());
        let later = bench.at(2_500);
        let due = bench.worker.timers.pop(later - bench.start).unwrap();
        bench.worker.slots.touch(due);
        bench.worker.process(later);
        assert!(
            matches!(bench.notices.try_recv(), Ok(Notice::Expired { stream }) if stream == "s")
        );
        assert!(bench.worker.timers.next().is_none());
    }

    #[test]
    fn shed_streams_pass_payloads_unchanged_and_are_restored() {
        let mut bench = Bench::new();
        let fields = r#", "codec": "l16", "rate_hz": 48000"#;
        let listens = ["a", "b", "c"].map(|id| bench.add(id, fields));
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sequence = 0u16;
        let mut send = |bench: &mut Bench, packets: u16| {
            for _ in 0..packets {
                let mut packet = vec![0x80, 96];
                packet.extend(sequence.to_be_bytes());
                packet.extend((u32::from(sequence) * 960).to_be_bytes());
                packet.extend([0, 0, 0, 1]);
                packet.resize(12 + 1920, 7);
                for (slot, listen) in listens.iter().enumerate() {
                    sender.send_to(&packet, listen).unwrap();
                    bench.worker.slots.set_readable(slot);
                }
                let now = bench.at(u64::from(sequence) * 20);
                bench.worker.process(now);
                sequence += 1;
            }
        };
        send(&mut bench, 5);
        assert_eq!(bench.worker.slots.active_codecs(), 3);
        assert_eq!(bench.worker.slots.shed_codecs(2), 2);
        assert_eq!(bench.worker.slots.active_codecs(), 1);
        send(&mut bench, 25);
        let shown = |bench: &Bench| {
            let snapshot = bench.worker.snapshot(None, bench.at(29 * 20));
            let streams = snapshot.streams.into_iter();
            streams
                .map(|s| (s.on, s.state, s.active_model, s.codec_active))
                .collect::<Vec<_>>()
        };
        let tiny = Some("tiny".to_owned());
        let active = (true, State::Denoising, tiny, true);
        let shed = (true, State::SteppedDown, None, false);
        assert_eq!(shown(&bench), [active.clone(), shed.clone(), shed]);
        assert_eq!(bench.worker.slots.restore_codecs(5), 2);
        send(&mut bench, 25);
        assert_eq!(shown(&bench), [active.clone(), active.clone(), active]);
    }
}
