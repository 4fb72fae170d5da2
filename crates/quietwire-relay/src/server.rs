//! Starts the workers and the control interface, and ends them on a signal.

use std::io::Write as _;
use std::net::TcpListener;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use quietwire::Model;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::State;
use crate::config::Config;
use crate::control::{Access, Relay, WorkerHandle};
use crate::drain::Drain;
use crate::error::RelayError;
use crate::http;
use crate::worker::Worker;

/// Interval of the checks whether a drain is over.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Runs a relay until SIGTERM or SIGINT, and then until its streams have drained. Writes the line
/// `relay: control on http://ADDRESS:PORT, N workers` to standard output when it is ready, and one line
/// to standard error when it starts to drain.
///
/// # Errors
/// [`RelayError::NoModel`], [`RelayError::DuplicateModel`] or [`RelayError::EmptyToken`] for a
/// configuration that is not valid. [`RelayError::Listen`] when the address of the control interface
/// cannot be bound. Otherwise [`RelayError`] for what the operating system or the engine refused.
pub fn run(config: Config) -> Result<(), RelayError> {
    check(&config)?;
    let models: Arc<[Arc<Model>]> = config.models.into();
    let access = Access::new(config.http, config.token);
    let listen_error = |source| RelayError::Listen {
        address: config.http,
        source,
    };
    let listener = TcpListener::bind(config.http).map_err(listen_error)?;
    listener.set_nonblocking(true).map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;

    let count = config.workers.map_or_else(
        || std::thread::available_parallelism().map_or(1, NonZero::get),
        NonZero::get,
    );
    let (mut handles, mut threads) = (Vec::new(), Vec::new());
    let start = Instant::now();
    for index in 0..count {
        let (handle, thread) = WorkerThread::start(index, &models, start)?;
        handles.push(handle);
        threads.push(thread);
    }
    let relay = Arc::new(Relay::new(handles, models, config.max_streams, access));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RelayError::system("create the HTTP runtime"))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(listen_error)?;
        // Before the ready line, so that a signal after it starts a drain.
        let handler = |kind| signal(kind).map_err(RelayError::system("handle signals"));
        let signals = [
            handler(SignalKind::terminate())?,
            handler(SignalKind::interrupt())?,
        ];
        writeln!(
            std::io::stdout(),
            "relay: control on http://{address}, {count} workers"
        )
        .map_err(RelayError::system("write to standard output"))?;
        let server = axum::serve(listener, http::router(relay.clone()));
        tokio::select! {
            result = server.into_future() => result.map_err(RelayError::Http),
            () = until_drained(&relay, config.drain, signals) => Ok(()),
        }
    })?;
    // A worker ends when all senders of its commands are gone.
    drop(relay);
    drop(runtime);
    threads.into_iter().try_for_each(WorkerThread::end)
}

fn check(config: &Config) -> Result<(), RelayError> {
    if config.models.is_empty() {
        return Err(RelayError::NoModel);
    }
    let mut ids: Vec<&str> = config.models.iter().map(|m| m.manifest().id()).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(RelayError::DuplicateModel { id: pair[0].into() });
    }
    if config.token.as_ref().is_some_and(String::is_empty) {
        return Err(RelayError::EmptyToken);
    }
    Ok(())
}

/// A running worker.
struct WorkerThread {
    thread: JoinHandle<std::io::Result<()>>,
    waker: Arc<Waker>,
}

impl WorkerThread {
    fn start(
        index: usize,
        models: &[Arc<Model>],
        start: Instant,
    ) -> Result<(WorkerHandle, Self), RelayError> {
        let (commands, receiver) = channel();
        let poll = Poll::new().map_err(RelayError::system("poll sockets"))?;
        let waker = Waker::new(poll.registry(), Worker::WAKER);
        let waker = Arc::new(waker.map_err(RelayError::system("poll sockets"))?);
        let worker = Worker::new(poll, receiver, models, start).map_err(RelayError::Worker)?;
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || worker.run())
            .map_err(RelayError::system("start a worker thread"))?;
        let handle = WorkerHandle::new(commands, waker.clone());
        Ok((handle, Self { thread, waker }))
    }

    /// Waits for the end of the thread. All [`WorkerHandle`]s must be gone.
    fn end(self) -> Result<(), RelayError> {
        self.waker
            .wake()
            .map_err(RelayError::system("wake a worker"))?;
        let result = self.thread.join().map_err(|_| RelayError::WorkerPanicked)?;
        result.map_err(RelayError::system("poll sockets"))
    }
}

/// Waits for a signal, then until the streams have drained. A second signal ends the drain.
async fn until_drained(relay: &Relay, limit: Duration, signals: [Signal; 2]) {
    let [mut terminate, mut interrupt] = signals;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    relay.start_draining();
    eprintln!(
        "relay: draining: no new streams, ends when no stream receives packets or after {} s",
        limit.as_secs_f32()
    );
    let start = Instant::now();
    let drain = Drain::new(Duration::ZERO, limit);
    loop {
        let (streams, _) = relay.snapshot().await;
        let has_active = streams.iter().any(|stream| stream.state != State::Idle);
        if drain.is_over(start.elapsed(), has_active) {
            return;
        }
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            () = tokio::time::sleep(DRAIN_CHECK_INTERVAL) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(ids: &[&str]) -> Vec<Arc<Model>> {
        ids.iter().map(|id| Model::embedded(id).unwrap()).collect()
    }

    #[test]
    fn invalid_configurations_are_rejected() {
        assert!(matches!(
            run(Config::new(Vec::new())),
            Err(RelayError::NoModel)
        ));
        let repeated = Config::new(models(&["tiny", "base", "tiny"]));
        assert!(matches!(run(repeated), Err(RelayError::DuplicateModel { id }) if id == "tiny"));
        let mut config = Config::new(models(&["tiny"]));
        config.token = Some(String::new());
        assert!(matches!(run(config), Err(RelayError::EmptyToken)));
    }

    #[test]
    fn an_address_in_use_is_reported() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::new(models(&["tiny"]));
        config.http = listener.local_addr().unwrap();
        let error = run(config).unwrap_err();
        assert!(
            matches!(&error, RelayError::Listen { address, .. } if *address == listener.local_addr().unwrap())
        );
    }
}
