//! Why a relay cannot run.

use std::io;
use std::net::SocketAddr;

/// Every error of [`run`](crate::run).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The configuration has no model.
    #[error("no model is configured: expected at least one")]
    NoModel,
    /// Two models have the same id.
    #[error("model `{id}` is configured twice: expected each id once")]
    DuplicateModel {
        /// Their id.
        id: String,
    },
    /// The token is empty.
    #[error("the token is empty: expected one character or more")]
    EmptyToken,
    /// The control interface cannot listen on its address.
    #[error("the control interface cannot listen on {address}")]
    Listen {
        /// Its address.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The operating system refused a thread, a poll, a signal handler or standard output.
    #[error("the relay cannot {action}")]
    System {
        /// What was refused.
        action: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The engine cannot create the sessions of a worker.
    #[error("a worker cannot be created")]
    Worker(#[source] quietwire::Error),
    /// The HTTP server failed.
    #[error("the control interface failed")]
    Http(#[source] io::Error),
    /// A worker thread panicked. This is a bug.
    #[error("a worker thread panicked")]
    WorkerPanicked,
}

impl RelayError {
    /// For `map_err`: the operating system refused `action`.
    pub(crate) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}
