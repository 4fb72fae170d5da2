//! The relay as the control interface uses it: assigns streams to workers and sends them commands.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quietwire::Model;

use crate::access::Access;
use crate::api::error::ApiError;
use crate::api::event::EventKind;
use crate::api::new_stream::{Change, NewStream};
use crate::api::relay::Strip;
use crate::api::stream_info::StreamInfo;
use crate::events::Events;
use crate::registry::{Entry, Registry, check_id};
use crate::route::Route;
use crate::stream::Stream;
use crate::worker::{Command, Notice, WorkerStats};
use crate::worker_handle::WorkerHandle;

/// The streams of all workers.
pub struct Relay {
    workers: Vec<WorkerHandle>,
    registry: Registry,
    /// one change of the registry at a time
    changes: tokio::sync::Mutex<()>,
    models: Arc<[Arc<Model>]>,
    max_streams: usize,
    draining: AtomicBool,
    start: Instant,
    pub access: Access,
    pub events: Events,
    /// identifies this start of the relay
    pub start_id: String,
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
            registry: Registry::default(),
            changes: tokio::sync::Mutex::default(),
            models,
            max_streams,
            draining: false.into(),
            start: Instant::now(),
            access,
            events: Events::default(),
            // The keys of a new `RandomState` are random.
            start_id: format!("{:016x}", RandomState::new().build_hasher().finish()),
        }
    }

    pub fn stream_count(&self) -> usize {
        self.registry.len()
    }

    /// Time since the start of the relay.
    pub fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn max_streams(&self) -> usize {
        self.max_streams
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
        self.events.add_draining();
    }

    /// Whether all workers answer.
    pub async fn is_alive(&self) -> bool {
        for worker in &self.workers {
            if worker.request(Command::Ping).await.is_none() {
                return false;
            }
        }
        true
    }

    /// Creates a stream.
    pub async fn add(&self, config: NewStream) -> Result<StreamInfo, ApiError> {
        let _change = self.changes.lock().await;
        let id = match &config.id {
            Some(id) => id.clone(),
            None => self.registry.free_id(),
        };
        self.create(id, config).await
    }

    /// Creates the stream `id` or changes it to `config`. True: it was created.
    pub async fn put(
        &self,
        id: &str,
        mut config: NewStream,
    ) -> Result<(bool, StreamInfo), ApiError> {
        if config.id.as_ref().is_some_and(|other| other != id) {
            let text = "id: expected the id of the path, or none";
            return Err(ApiError::Invalid(text.into()));
        }
        config.id = Some(id.to_owned());
        let _change = self.changes.lock().await;
        if !self.registry.contains(id) {
            return Ok((true, self.create(id.to_owned(), config).await?));
        }
        let default_model = self.models[0].manifest().id();
        let change = self
            .registry
            .with(id, |entry| entry.config.change_to(&config, default_model))?;
        let change = change.map_err(|fields| {
            let fields = fields.join(", ");
            ApiError::Conflict(format!(
                "the stream `{id}` exists with another {fields}: delete it first"
            ))
        })?;
        Ok((false, self.change_locked(id, change).await?))
    }

    /// Creates a stream. `changes` must be locked.
    async fn create(&self, id: String, config: NewStream) -> Result<StreamInfo, ApiError> {
        if self.is_draining() {
            let text = "the relay is draining and creates no streams: use another relay";
            return Err(ApiError::Unavailable(text.into()));
        }
        check_id(&id)?;
        if self.registry.contains(&id) {
            let text = format!("id: a stream with the id `{id}` exists already");
            return Err(ApiError::Conflict(text));
        }
        if self.registry.len() >= self.max_streams {
            let text = format!("the limit of {} streams is reached", self.max_streams);
            return Err(ApiError::Unavailable(text));
        }
        let stream = Stream::new(id.clone(), &config, self.models.clone())?;
        let route = stream.route();
        self.registry.check_route(&id, route)?;
        let worker = self.registry.idlest_worker(self.workers.len());
        let added = self.workers[worker]
            .request(|answer| Command::Add(Box::new(stream), answer))
            .await;
        let added = added.unwrap_or_else(|| Err(worker_ended()))?;
        self.registry.insert(
            id.clone(),
            Entry {
                worker,
                config,
                route,
            },
        );
        self.events.add(EventKind::Created, &id);
        Ok(added)
    }

    /// One stream.
    pub async fn show(&self, id: &str) -> Result<StreamInfo, ApiError> {
        let worker = self.registry.with(id, |entry| entry.worker)?;
        let ids = vec![id.to_owned()];
        let snapshot = self.workers[worker]
            .request(|answer| Command::Snapshot(Some(ids), answer))
            .await;
        let mut streams = snapshot.ok_or_else(worker_ended)?.streams;
        streams.pop().ok_or_else(|| ApiError::unknown_stream(id))
    }

    pub async fn change(&self, id: &str, change: Change) -> Result<StreamInfo, ApiError> {
        let _change = self.changes.lock().await;
        self.change_locked(id, change).await
    }

    /// Changes a stream. `changes` must be locked.
    async fn change_locked(&self, id: &str, change: Change) -> Result<StreamInfo, ApiError> {
        let (worker, route) = self
            .registry
            .with(id, |entry| (entry.worker, entry.route))?;
        let route = Route {
            send_to: change.send_to.unwrap_or(route.send_to),
            ..route
        };
        self.registry.check_route(id, route)?;
        if change == Change::default() {
            return self.show(id).await;
        }
        let command = Box::new(change.clone());
        let changed = self.workers[worker]
            .request(|answer| Command::Change(id.to_owned(), command, answer))
            .await;
        let changed = changed.unwrap_or_else(|| Err(worker_ended()))?;
        self.registry.with(id, |entry| {
            entry.config.apply(change);
            entry.route = route;
        })?;
        self.events.add(EventKind::Changed, id);
        Ok(changed)
    }

    pub async fn remove(&self, id: &str) -> Result<(), ApiError> {
        let _change = self.changes.lock().await;
        let worker = self.registry.with(id, |entry| entry.worker)?;
        let removed = self.workers[worker]
            .request(|answer| Command::Remove(id.to_owned(), answer))
            .await;
        removed.unwrap_or_else(|| Err(worker_ended()))?;
        self.registry.remove(id);
        self.events.add(EventKind::Removed, id);
        Ok(())
    }

    /// Removes a stream whose idle timeout has passed, unless it has received a packet since.
    async fn remove_expired(&self, id: &str) {
        let _change = self.changes.lock().await;
        let Ok(worker) = self.registry.with(id, |entry| entry.worker) else {
            return;
        };
        let removed = self.workers[worker]
            .request(|answer| Command::RemoveExpired(id.to_owned(), answer))
            .await;
        if removed == Some(true) {
            self.registry.remove(id);
            self.events.add(EventKind::Expired, id);
        }
    }

    /// Handles what a worker reports.
    pub async fn handle(&self, notice: Notice) {
        match notice {
            Notice::State {
                stream,
                state,
                active_model,
            } => self.events.add_state(&stream, state, active_model),
            Notice::Error { stream, error } => self.events.add_error(&stream, error),
            Notice::Expired { stream } => self.remove_expired(&stream).await,
            Notice::CodecShed { streams } => {
                tracing::warn!(streams, "streams without codec because of an overload");
            }
        }
    }

    /// Ids after `after` of streams with all of `labels`.
    pub fn ids_with(&self, labels: &BTreeMap<String, String>, after: Option<&str>) -> Vec<String> {
        let selected = self.registry.select(labels, after);
        selected.into_iter().map(|(id, _)| id).collect()
    }

    /// These streams, by id.
    pub async fn show_all(&self, ids: Vec<String>) -> Vec<StreamInfo> {
        let mut by_worker: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for id in ids {
            if let Ok(worker) = self.registry.with(&id, |entry| entry.worker) {
                by_worker.entry(worker).or_default().push(id);
            }
        }
        let mut streams = Vec::new();
        for (worker, ids) in by_worker {
            let snapshot = self.workers[worker]
                .request(|answer| Command::Snapshot(Some(ids), answer))
                .await;
            streams.extend(snapshot.into_iter().flat_map(|snapshot| snapshot.streams));
        }
        streams.sort_by(|a, b| a.id.cmp(&b.id));
        streams
    }

    /// All streams by id, and the workers.
    pub async fn snapshot(&self) -> (Vec<StreamInfo>, Vec<WorkerStats>) {
        let (mut streams, mut workers) = (Vec::new(), Vec::new());
        for worker in &self.workers {
            let snapshot = worker.request(|answer| Command::Snapshot(None, answer));
            let Some(snapshot) = snapshot.await else {
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
    ApiError::Unavailable(
        "the worker of this stream has ended or does not answer: restart the relay".into(),
    )
}
