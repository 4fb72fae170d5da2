//! `quietwire relay`: RTP over UDP in and out, with a control interface over HTTP.

mod http;
mod metrics;
mod srtp;
mod stream;
mod strips;
mod view;
mod worker;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::{Poll, Waker};
use quietwire::{BatchStats, Model, ModelStore};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::Usage;
use crate::args::RelayArgs;
use stream::{Refusal, Stream};
use view::{Change, NewStream};
use worker::{Command, Worker};

/// How often a drain looks whether all streams are gone or silent.
const DRAIN_STEP: Duration = Duration::from_millis(200);

/// One thread's end of the line.
struct Desk {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

/// Everything that the control interface works on.
pub struct Relay {
    desks: Vec<Desk>,
    /// the worker of each stream; an id is kept from the moment that it is asked for
    places: Mutex<BTreeMap<String, usize>>,
    models: Arc<[Arc<Model>]>,
    most_streams: usize,
    token: Option<String>,
    /// whether only this computer can ask
    is_local: bool,
    draining: AtomicBool,
    next_id: AtomicU64,
}

/// What a worker counts for itself.
pub struct WorkerLook {
    pub counts: BatchStats,
    pub busy: Duration,
}

pub fn run(args: &RelayArgs) -> Result<()> {
    let mut all = Vec::new();
    for id in &args.models {
        let model = ModelStore::user()?.load(id);
        let model = model.with_context(|| format!("--models {id}"))?;
        if all
            .iter()
            .any(|other: &Arc<Model>| other.manifest().id() == model.manifest().id())
        {
            bail!(Usage(format!("--models names `{id}` twice")));
        }
        all.push(model);
    }
    let models: Arc<[Arc<Model>]> = all.into();
    let token = token(args)?;
    let is_local = args.http.ip().is_loopback();
    if !is_local && token.is_none() {
        eprintln!(
            "warning: anybody who reaches {} can command this relay; give it a --token-file",
            args.http
        );
    }
    let listener = TcpListener::bind(args.http)
        .with_context(|| format!("--http: cannot listen on {}", args.http))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;

    let began = Instant::now();
    let count = args.workers.map_or_else(
        || std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        std::num::NonZero::get,
    );
    let (mut desks, mut threads, mut wakers) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..count {
        let (commands, receiver) = channel();
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Worker::WAKER)?);
        wakers.push(waker.clone());
        let worker = Worker::new(poll, receiver, &models, began)?;
        let name = format!("worker-{at}");
        threads.push(
            std::thread::Builder::new()
                .name(name)
                .spawn(move || worker.run())?,
        );
        desks.push(Desk { commands, waker });
    }
    let relay = Arc::new(Relay {
        desks,
        places: Mutex::default(),
        models,
        most_streams: args.max_streams,
        token,
        is_local,
        draining: false.into(),
        next_id: 1.into(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let drain = Duration::from_secs_f32(args.drain_seconds);
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        // Before anybody is told that the relay is there.
        let ends = [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ];
        writeln!(
            std::io::stdout(),
            "relay: control on http://{address}, {count} workers"
        )?;
        let server = axum::serve(listener, http::router(relay.clone()));
        tokio::select! {
            result = server.into_future() => result.context("the control interface ended"),
            result = until_drained(&relay, drain, ends) => result,
        }
    })?;
    // Workers end when nobody can ask them any more; they sleep, and must see it.
    drop(relay);
    drop(runtime);
    for (thread, waker) in threads.into_iter().zip(wakers) {
        waker.wake()?;
        thread.join().expect("a worker does not panic")?;
    }
    Ok(())
}

/// From its file, without the line's end.
fn token(args: &RelayArgs) -> Result<Option<String>> {
    let text = match &args.token_file {
        None => return Ok(None),
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("--token-file: cannot read {}", path.display()))?,
    };
    let token = text.trim();
    if token.is_empty() {
        bail!(Usage("--token-file holds no token".into()));
    }
    Ok(Some(token.to_owned()))
}

/// Waits for a signal to end; then until all streams are gone or idle, or for `patience`. A second
/// signal ends the wait.
async fn until_drained(relay: &Relay, patience: Duration, ends: [Signal; 2]) -> Result<()> {
    let [mut terminate, mut interrupt] = ends;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    relay.draining.store(true, Ordering::Relaxed);
    let until = Instant::now() + patience;
    eprintln!(
        "relay: draining; no new streams, the rest for {} s at most",
        patience.as_secs_f32()
    );
    loop {
        let (streams, _) = relay.look().await;
        let busy = streams
            .iter()
            .any(|stream| stream.state != view::State::Idle);
        if !busy || Instant::now() >= until {
            return Ok(());
        }
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = tokio::time::sleep(DRAIN_STEP) => {}
        }
    }
}

impl Desk {
    /// Asks, and waits for the answer.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).ok()?;
        self.waker.wake().ok()?;
        answered.await.ok()
    }
}

fn gone() -> Refusal {
    Refusal::Full("the worker of this stream has ended; restart the relay".into())
}

impl Relay {
    fn places(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        // A panic elsewhere leaves the map whole: each change is one call.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    async fn add(&self, mut wish: NewStream) -> Result<view::Stream, Refusal> {
        if self.is_draining() {
            return Err(Refusal::Full("the relay is draining: ask another".into()));
        }
        let wished = wish.id.take().map(checked).transpose()?;
        let (id, worker) = {
            let mut places = self.places();
            if places.len() >= self.most_streams {
                let text = format!(
                    "{} streams are the most; see --max-streams",
                    self.most_streams
                );
                return Err(Refusal::Full(text));
            }
            let id = match wished {
                Some(id) if places.contains_key(&id) => {
                    return Err(Refusal::Taken(format!(
                        "id: a stream is called `{id}` already"
                    )));
                }
                Some(id) => id,
                None => {
                    let next = &self.next_id;
                    std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed))
                        .map(|number| format!("stream-{number}"))
                        .find(|id| !places.contains_key(id))
                        .expect("there are more numbers than streams")
                }
            };
            let count = |at: &usize| places.values().filter(|place| *place == at).count();
            let worker = (0..self.desks.len()).min_by_key(count).unwrap_or(0);
            places.insert(id.clone(), worker);
            (id, worker)
        };
        let made = Stream::new(id.clone(), &wish, self.models.clone());
        let added = match made {
            Ok(stream) => {
                let asked = self.desks[worker].ask(|answer| Command::Add(Box::new(stream), answer));
                asked.await.unwrap_or_else(|| Err(gone()))
            }
            Err(refusal) => Err(refusal),
        };
        if added.is_err() {
            self.places().remove(&id);
        }
        added
    }

    fn desk(&self, id: &str) -> Result<&Desk, Refusal> {
        let place = self.places().get(id).copied();
        let place = place.ok_or_else(|| Refusal::Unknown(format!("no stream is called `{id}`")))?;
        Ok(&self.desks[place])
    }

    async fn change(&self, id: &str, change: Change) -> Result<view::Stream, Refusal> {
        let asked = self
            .desk(id)?
            .ask(|answer| Command::Change(id.to_owned(), change, answer));
        asked.await.unwrap_or_else(|| Err(gone()))
    }

    async fn remove(&self, id: &str) -> Result<(), Refusal> {
        let asked = self
            .desk(id)?
            .ask(|answer| Command::Remove(id.to_owned(), answer));
        asked.await.unwrap_or_else(|| Err(gone()))?;
        self.places().remove(id);
        Ok(())
    }

    /// All streams by their ids, and the workers.
    async fn look(&self) -> (Vec<view::Stream>, Vec<WorkerLook>) {
        let (mut streams, mut workers) = (Vec::new(), Vec::new());
        for desk in &self.desks {
            let Some(look) = desk.ask(Command::Look).await else {
                continue;
            };
            streams.extend(look.streams);
            workers.push(WorkerLook {
                counts: look.counts,
                busy: look.busy,
            });
        }
        streams.sort_by(|a, b| a.id.cmp(&b.id));
        (streams, workers)
    }

    async fn strips(&self, since: u64) -> BTreeMap<String, view::Strip> {
        let mut all = BTreeMap::new();
        for desk in &self.desks {
            let strips = desk.ask(|answer| Command::Strips(since, answer)).await;
            all.extend(strips.unwrap_or_default());
        }
        all
    }
}

/// An id that can stand in an address.
fn checked(id: String) -> Result<String, Refusal> {
    let letters = id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b));
    if letters && (1..=64).contains(&id.len()) && id != "." && id != ".." {
        return Ok(id);
    }
    let text = "id: expected 1 to 64 letters, digits, `-`, `_`, `.` or `~`";
    Err(Refusal::Invalid(text.into()))
}

/// Where the control interface listens if nothing is said.
pub fn default_http() -> SocketAddr {
    ([127, 0, 0, 1], 8790).into()
}
