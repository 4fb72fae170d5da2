//! The relay as the control interface uses it: assigns streams to workers and sends them commands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;
use quietwire::Model;
use tokio::sync::oneshot;

use crate::api::{ApiError, Change, NewStream, StreamInfo, Strip};
use crate::stream::Stream;
use crate::worker::{Command, WorkerStats};

/// Longest id of a stream, characters.
const MAX_ID_LEN: usize = 64;

/// The sending end of a worker's command channel.
pub struct WorkerHandle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl WorkerHandle {
    pub fn new(commands: Sender<Command>, waker: Arc<Waker>) -> Self {
        Self { commands, waker }
    }

    /// Sends a command and waits for its answer. `None`: the worker has ended.
    async fn request<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.commands.send(command(sender)).ok()?;
        self.waker.wake().ok()?;
        answer.await.ok()
    }
}

/// Who may use the control interface.
pub struct Access {
    pub token: Option<String>,
    /// only this host can reach the control interface
    pub is_loopback: bool,
}

impl Access {
    pub fn new(address: SocketAddr, token: Option<String>) -> Self {
        Self {
            token,
            is_loopback: address.ip().is_loopback(),
        }
    }
}

/// The streams of all workers.
pub struct Relay {
    workers: Vec<WorkerHandle>,
    /// the worker of each stream; an id is reserved from its request on
    assignments: Mutex<BTreeMap<String, usize>>,
    models: Arc<[Arc<Model>]>,
    max_streams: usize,
    pub access: Access,
    draining: AtomicBool,
    next_id: AtomicU64,
}

impl Relay {
    pub fn new(
        workers: Vec<WorkerHandle>,
        models: Arc<[Arc<Model>]>,
        max_streams: usize,
        access: Access,
    ) -> Self {
        Self {
            workers,
            assignments: Mutex::default(),
            models,
            max_streams,
            access,
            draining: false.into(),
            next_id: 1.into(),
        }
    }

    fn assignments(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        // A panic of another thread leaves the map complete: each change is one call.
        self.assignments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stream_count(&self) -> usize {
        self.assignments().len()
    }

    /// Ids of the models, the default first.
    pub fn model_ids(&self) -> Vec<String> {
        let ids = self.models.iter().map(|model| model.manifest().id().into());
        ids.collect()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// From now on no stream is created.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub async fn add(&self, mut config: NewStream) -> Result<StreamInfo, ApiError> {
        if self.is_draining() {
            let text = "the relay is draining and creates no streams: use another relay";
            return Err(ApiError::Unavailable(text.into()));
        }
        let requested_id = config.id.take().map(check_id).transpose()?;
        let (id, worker) = self.reserve(requested_id)?;
        let added = match Stream::new(id.clone(), &config, self.models.clone()) {
            Ok(stream) => {
                let request =
                    self.workers[worker].request(|answer| Command::Add(Box::new(stream), answer));
                request.await.unwrap_or_else(|| Err(worker_ended()))
            }
            Err(error) => Err(error),
        };
        if added.is_err() {
            self.assignments().remove(&id);
        }
        added
    }

    /// Reserves an id and assigns it to the worker with the fewest streams.
    fn reserve(&self, requested_id: Option<String>) -> Result<(String, usize), ApiError> {
        let mut assignments = self.assignments();
        if assignments.len() >= self.max_streams {
            let text = format!("the limit of {} streams is reached", self.max_streams);
            return Err(ApiError::Unavailable(text));
        }
        let id = match requested_id {
            Some(id) if assignments.contains_key(&id) => {
                let text = format!("id: a stream with the id `{id}` exists already");
                return Err(ApiError::Conflict(text));
            }
            Some(id) => id,
            None => {
                let next = &self.next_id;
                std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed))
                    .map(|number| format!("stream-{number}"))
                    .find(|id| !assignments.contains_key(id))
                    .expect("there are more numbers than streams")
            }
        };
        let streams = |worker: &usize| assignments.values().filter(|w| *w == worker).count();
        let worker = (0..self.workers.len()).min_by_key(streams).unwrap_or(0);
        assignments.insert(id.clone(), worker);
        Ok((id, worker))
    }

    fn worker_of(&self, id: &str) -> Result<&WorkerHandle, ApiError> {
        let worker = self.assignments().get(id).copied();
        let worker = worker.ok_or_else(|| ApiError::unknown_stream(id))?;
        Ok(&self.workers[worker])
    }

    pub async fn change(&self, id: &str, change: Change) -> Result<StreamInfo, ApiError> {
        let request = self
            .worker_of(id)?
            .request(|answer| Command::Change(id.to_owned(), change, answer));
        request.await.unwrap_or_else(|| Err(worker_ended()))
    }

    pub async fn remove(&self, id: &str) -> Result<(), ApiError> {
        let request = self
            .worker_of(id)?
            .request(|answer| Command::Remove(id.to_owned(), answer));
        request.await.unwrap_or_else(|| Err(worker_ended()))?;
        self.assignments().remove(id);
        Ok(())
    }

    /// All streams by id, and the workers.
    pub async fn snapshot(&self) -> (Vec<StreamInfo>, Vec<WorkerStats>) {
        let (mut streams, mut workers) = (Vec::new(), Vec::new());
        for worker in &self.workers {
            let Some(snapshot) = worker.request(Command::Snapshot).await else {
                continue;
            };
            streams.extend(snapshot.streams);
            workers.push(snapshot.worker);
        }
        streams.sort_by(|a, b| a.id.cmp(&b.id));
        (streams, workers)
    }

    /// The spectrogram columns of all streams after column `since`.
    pub async fn strips(&self, since: u64) -> BTreeMap<String, Strip> {
        let mut all = BTreeMap::new();
        for worker in &self.workers {
            let strips = worker
                .request(|answer| Command::Strips(since, answer))
                .await;
            all.extend(strips.unwrap_or_default());
        }
        all
    }
}

fn worker_ended() -> ApiError {
    ApiError::Unavailable("the worker of this stream has ended: restart the relay".into())
}

/// Checks that an id can be a part of a URL.
fn check_id(id: String) -> Result<String, ApiError> {
    let is_url_safe = id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b));
    if is_url_safe && (1..=MAX_ID_LEN).contains(&id.len()) && id != "." && id != ".." {
        return Ok(id);
    }
    let text = "id: expected 1 to 64 letters, digits, `-`, `_`, `.` or `~`";
    Err(ApiError::Invalid(text.into()))
}
