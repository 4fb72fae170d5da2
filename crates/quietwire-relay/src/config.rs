//! The options of a relay.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use quietwire::Model;

/// Default address of the control interface: 127.0.0.1:8790.
pub const DEFAULT_HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8790);

/// Options of a relay.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Address of the control interface. Port 0: any free port. Default: [`DEFAULT_HTTP`].
    pub http: SocketAddr,
    /// Token that requests must have in `Authorization: Bearer TOKEN`. `None`: everyone who can reach
    /// [`http`](Self::http) controls the relay; on a loopback address only this host can. Default:
    /// none.
    pub token: Option<String>,
    /// Models of the streams, at least one, each id once. The first is the default; the others are
    /// the fallback models on overload, the cheapest last.
    pub models: Vec<Arc<Model>>,
    /// Worker threads. `None`: the number of cores. Default: none.
    pub workers: Option<NonZero<usize>>,
    /// Largest number of streams at a time. Default: 1000.
    pub max_streams: usize,
    /// How long the relay continues after SIGTERM or SIGINT while streams receive packets. Default:
    /// 30 s.
    pub drain: Duration,
}

impl Config {
    /// The default options with these models.
    pub fn new(models: Vec<Arc<Model>>) -> Self {
        Self {
            http: DEFAULT_HTTP,
            token: None,
            models,
            workers: None,
            max_streams: 1000,
            drain: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for Config {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("http", &self.http)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("models", &self.models)
            .field("workers", &self.workers)
            .field("max_streams", &self.max_streams)
            .field("drain", &self.drain)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_contain_the_token() {
        let mut config = Config::new(Vec::new());
        config.token = Some("s3cret".into());
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
