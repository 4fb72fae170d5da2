//! Starts the workers and the control interface, and ends them on a signal.

use std::convert::Infallible;
use std::error::Error;
use std::io::Write as _;
use std::net::TcpListener;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use quietwire::Model;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::access::Access;
use crate::api::stream_info::State;
use crate::config::Config;
use crate::control::Relay;
use crate::drain::Drain;
use crate::error::RelayError;
use crate::http::{self, connections};
use crate::process::raise_file_limit;
use crate::worker::{Notice, Worker};
use crate::worker_handle::WorkerHandle;

/// Interval of the checks whether a drain is over.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Files that the process needs beside sockets of streams and connections: standard streams, the
/// runtime, the listener, and those that are open for a moment.
const OTHER_FILES: u64 = 16;
/// The same for each worker.
const FILES_PER_WORKER: u64 = 3;
/// Largest number of connections of the control interface.
const MAX_CONNECTIONS: u64 = 128;

/// Runs a relay until SIGTERM or SIGINT, and then until its streams have drained. SIGHUP reads the file
/// with tokens again. Writes the line `relay: control on http://ADDRESS:PORT, N workers` to standard
/// output when it is ready. Everything else is an event of the crate `tracing`.
///
/// Raises the limit of open files to what the system allows, and keeps enough of them for streams.
///
/// # Errors
/// As [`check`]. [`RelayError::Listen`] when the address of the control interface cannot be bound.
/// Otherwise [`RelayError`] for what the operating system or the engine refused.
pub fn run(config: Config) -> Result<(), RelayError> {
    check(&config)?;
    let models: Arc<[Arc<Model>]> = config.models.into();
    let access = Access::new(config.http, config.tokens, config.token_file)?;
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
    let files = raise_file_limit()?;
    let (max_connections, max_sockets) = divide_files(files, count);
    if config.max_streams > max_sockets {
        tracing::warn!(
            max_streams = config.max_streams,
            max_sockets,
            files,
            "the limit of open files allows fewer streams than max_streams"
        );
    }
    let (notice_sender, notices) = mpsc::unbounded_channel();
    let (mut handles, mut threads) = (Vec::new(), Vec::new());
    let start = Instant::now();
    for index in 0..count {
        let (handle, thread) = WorkerThread::start(index, &models, start, notice_sender.clone())?;
        handles.push(handle);
        threads.push(thread);
    }
    let has_tokens = access.has_tokens();
    if !has_tokens && !config.http.ip().to_canonical().is_loopback() {
        tracing::warn!(
            address = %config.http,
            "everyone who can reach this address can control the relay: protect it with tokens"
        );
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
        let hangup = handler(SignalKind::hangup())?;
        writeln!(
            std::io::stdout(),
            "relay: control on http://{address}, {count} workers"
        )
        .map_err(RelayError::system("write to standard output"))?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            start_id = relay.start_id,
            %address,
            workers = count,
            has_tokens,
            "relay started"
        );
        let router = http::router(relay.clone());
        tokio::select! {
            never = connections::serve(listener, router, max_connections) => match never {},
            never = handle_notices(&relay, notices) => match never {},
            never = reload_on(&relay, hangup) => match never {},
            () = until_drained(&relay, config.drain, signals) => {}
        }
        Ok(())
    })?;
    tracing::info!("relay ended");
    drop(runtime);
    // A worker ends when all senders of its commands are gone.
    drop(relay);
    threads.into_iter().try_for_each(WorkerThread::end)
}

/// Checks a configuration without running it: the models, the tokens and the file with tokens.
///
/// # Errors
/// [`RelayError::NoModel`], [`RelayError::DuplicateModel`], [`RelayError::Token`] or
/// [`RelayError::TokenFile`].
pub fn check(config: &Config) -> Result<(), RelayError> {
    if config.models.is_empty() {
        return Err(RelayError::NoModel);
    }
    let mut ids: Vec<&str> = config.models.iter().map(|m| m.manifest().id()).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(RelayError::DuplicateModel { id: pair[0].into() });
    }
    Access::new(
        config.http,
        config.tokens.clone(),
        config.token_file.clone(),
    )?;
    Ok(())
}

/// How many of the open files connections may take, and how many sockets of streams remain.
fn divide_files(files: u64, workers: usize) -> (usize, usize) {
    let connections = (files / 4).clamp(2, MAX_CONNECTIONS);
    let others = OTHER_FILES + FILES_PER_WORKER * workers as u64 + connections;
    (connections as usize, files.saturating_sub(others) as usize)
}

/// Handles what workers report.
async fn handle_notices(relay: &Relay, mut notices: UnboundedReceiver<Notice>) -> Infallible {
    loop {
        match notices.recv().await {
            Some(notice) => relay.handle(notice).await,
            // All workers have ended.
            None => std::future::pending().await,
        }
    }
}

/// Reads the file with tokens again at each signal.
async fn reload_on(relay: &Relay, mut hangup: Signal) -> Infallible {
    loop {
        hangup.recv().await;
        match relay.access.reload() {
            Ok(tokens) => tracing::info!(tokens, "tokens read again"),
            Err(error) => {
                let error = describe(&error);
                tracing::error!(error, "tokens not read: the present ones stay");
            }
        }
    }
}

/// An error with its causes.
fn describe(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", describe(cause)),
        None => error.to_string(),
    }
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
        notices: UnboundedSender<Notice>,
    ) -> Result<(WorkerHandle, Self), RelayError> {
        let (commands, receiver) = std_mpsc::channel();
        let poll = Poll::new().map_err(RelayError::system("poll sockets"))?;
        let waker = Waker::new(poll.registry(), Worker::WAKER);
        let waker = Arc::new(waker.map_err(RelayError::system("poll sockets"))?);
        let worker =
            Worker::new(poll, receiver, notices, models, start).map_err(RelayError::Worker)?;
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
    tracing::info!(
        limit_s = limit.as_secs_f32(),
        streams = relay.stream_count(),
        "draining: no new streams, ends when no stream receives packets or at the limit"
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
        config.tokens = vec!["right".into(), String::new()];
        assert!(matches!(run(config), Err(RelayError::Token { .. })));
    }

    #[test]
    fn connections_leave_files_for_streams() {
        assert_eq!(divide_files(1_000_000, 8), (128, 1_000_000 - 168));
        let (connections, sockets) = divide_files(128, 1);
        assert_eq!((connections, sockets), (32, 77));
        assert_eq!(divide_files(8, 1), (2, 0));
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
