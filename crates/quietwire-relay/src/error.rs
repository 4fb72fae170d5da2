//! Why a relay cannot run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// A token is not valid.
    #[error("{place}{reason}")]
    Token {
        /// The file and the line, if it is in a file.
        place: String,
        /// Why, without the token.
        reason: String,
    },
    /// The file with tokens cannot be read.
    #[error("the file with tokens, {}, cannot be read", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
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
