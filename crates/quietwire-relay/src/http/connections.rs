//! Accepts connections of the control interface. Clients that send nothing, or only a part of a
//! request, keep no other client out.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service as _;

/// Longest time until the headers of the first request are complete.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time from one request of a connection until the headers of the next are complete.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time that a client takes none of a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest headers of a request, bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One connection, as the handlers of its requests see it.
pub struct Connection {
    /// authorized requests in progress
    requests: AtomicUsize,
    /// the headers of a request were complete
    has_request: AtomicBool,
    close: Notify,
}

/// Keeps a connection from being closed for another one.
pub struct InUse(Arc<Connection>);

impl Connection {
    /// From now on, until the result is dropped, the connection is not closed for another one.
    pub fn start_request(self: &Arc<Self>) -> InUse {
        self.requests.fetch_add(1, Ordering::Relaxed);
        InUse(self.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open connections, the oldest first.
struct Open {
    connections: Mutex<Vec<Arc<Connection>>>,
    max: usize,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        // A panic of another thread leaves the list complete: each change is one call.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection. At the limit, the oldest one without an authorized request is closed for it.
    /// `None`: there is no such connection.
    fn add(&self) -> Option<Arc<Connection>> {
        let mut connections = self.lock();
        if connections.len() >= self.max {
            let is_free = |c: &Arc<Connection>| c.requests.load(Ordering::Relaxed) == 0;
            let oldest = connections.iter().position(is_free)?;
            connections.remove(oldest).close.notify_one();
        }
        let connection = Arc::new(Connection {
            requests: AtomicUsize::new(0),
            has_request: false.into(),
            close: Notify::new(),
        });
        connections.push(connection.clone());
        Some(connection)
    }

    fn remove(&self, connection: &Arc<Connection>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, connection));
    }
}

/// Serves requests forever, on at most `max_connections` connections at a time.
pub async fn serve(listener: TcpListener, router: Router, max_connections: usize) -> Infallible {
    let open = Arc::new(Open {
        connections: Mutex::default(),
        max: max_connections,
    });
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // The client has left, or the system has no resources: they may come back.
                if !is_client_error(&error) {
                    tracing::error!(%error, "the system refused a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        let Some(connection) = open.add() else {
            tracing::warn!(max_connections, "too many connections");
            continue;
        };
        let (open, router) = (open.clone(), router.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = serve_connection(stream, router, connection.clone()) => {}
                () = connection.close.notified() => {}
                () = first_request_timeout(&connection) => {}
            }
            open.remove(&connection);
        });
    }
}

/// Ends if there is no request in time.
async fn first_request_timeout(connection: &Connection) {
    tokio::time::sleep(HEADER_TIMEOUT).await;
    if connection.has_request.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn serve_connection(stream: TcpStream, router: Router, connection: Arc<Connection>) {
    // Without it, a small response can wait for an acknowledgment.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = pin!(stream);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        connection.has_request.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        router.clone().call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_header_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Errors are those of the client: it left, or it was too slow.
    let _ = serving.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_limit_the_oldest_connection_without_a_request_is_closed() {
        let open = Open {
            connections: Mutex::default(),
            max: 3,
        };
        let first = open.add().unwrap();
        let second = open.add().unwrap();
        let in_use = first.start_request();
        open.add().unwrap();
        let fourth = open.add().unwrap();
        assert!(!open.lock().iter().any(|c| Arc::ptr_eq(c, &second)));
        assert_eq!(open.lock().len(), 3);
        let _all = open
            .lock()
            .iter()
            .map(Connection::start_request)
            .collect::<Vec<_>>();
        assert!(open.add().is_none(), "all are in use");
        drop((_all, in_use));
        open.remove(&fourth);
        assert!(open.add().is_some());
    }
}
