//! The options of a relay.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
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
    /// Tokens of which requests must have one in `Authorization: Bearer TOKEN`: 1 to 1024 ASCII
    /// characters from `!` to `~`. Without any, and without [`token_file`](Self::token_file), everyone
    /// who can reach [`http`](Self::http) controls the relay; on a loopback address only this host can.
    /// Default: none.
    pub tokens: Vec<String>,
    /// A file with more tokens, one in each line. SIGHUP reads it again. Default: none.
    pub token_file: Option<PathBuf>,
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
            tokens: Vec::new(),
            token_file: None,
            models,
            workers: None,
            max_streams: 1000,
            drain: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for Config {
    /// Without the tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("http", &self.http)
            .field("tokens", &self.tokens.len())
            .field("token_file", &self.token_file)
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
    fn debug_output_contains_no_token() {
        let mut config = Config::new(Vec::new());
        config.tokens = vec!["s3cret".into()];
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
