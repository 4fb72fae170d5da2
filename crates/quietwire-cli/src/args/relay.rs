//! The arguments of `relay`. The same options can come from the environment and from a file.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;

const EXAMPLES: &str = "\
A stream receives RTP on a UDP port and sends the cleaned RTP to another address. Streams are
created, switched and deleted over HTTP. GET / is a page that shows them, GET /openapi.json
describes the interface.

Every option can also be an environment variable or a line of the file of --config, in TOML:
--max-streams 200, QUIETWIRE_RELAY_MAX_STREAMS=200 and `max_streams = 200` are equal. An option on the
command line comes first, then the environment, then the file. SIGHUP reads the file with tokens again.

Without keys (srtp_in, srtp_out) packets are not encrypted: use such streams only on one host or in
a private network.

Examples:
  quietwire relay
  curl -H 'content-type: application/json' http://127.0.0.1:8790/v1/streams \\
    -d '{\"id\": \"alice\", \"listen\": \"127.0.0.1:6000\", \"send_to\": \"127.0.0.1:5002\"}'
  curl -X PATCH -H 'content-type: application/json' \\
    http://127.0.0.1:8790/v1/streams/alice -d '{\"on\": false}'
  curl http://127.0.0.1:8790/metrics
  quietwire relay check-config --config /etc/quietwire/relay.toml";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RelayArgs {
    #[command(subcommand)]
    pub command: Option<RelayCommand>,

    /// A file with options in TOML
    #[arg(
        long,
        value_name = "FILE",
        env = "QUIETWIRE_RELAY_CONFIG",
        global = true
    )]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub options: RelayOptions,
}

#[derive(Subcommand)]
pub(crate) enum RelayCommand {
    /// Check the options, the models and the tokens, print them and exit
    CheckConfig,
}

/// The options of a relay, from the command line and the environment, or from a file.
#[derive(Args, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelayOptions {
    /// Address of the control interface [default: 127.0.0.1:8790]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "QUIETWIRE_RELAY_HTTP",
        global = true
    )]
    pub http: Option<SocketAddr>,

    /// A file with tokens, one in each line; every request must contain one
    #[arg(
        long,
        value_name = "FILE",
        env = "QUIETWIRE_RELAY_TOKEN_FILE",
        global = true
    )]
    pub token_file: Option<PathBuf>,

    /// Models of the streams: the default first, then cheaper ones for overload [default: base,tiny]
    #[arg(
        long,
        value_name = "ID|FOLDER",
        value_delimiter = ',',
        env = "QUIETWIRE_RELAY_MODELS",
        global = true
    )]
    pub models: Option<Vec<String>>,

    /// Threads that process audio [default: number of cores]
    #[arg(long, value_name = "N", env = "QUIETWIRE_RELAY_WORKERS", global = true)]
    pub workers: Option<NonZero<usize>>,

    /// Largest number of streams at the same time [default: 1000]
    #[arg(
        long,
        value_name = "N",
        env = "QUIETWIRE_RELAY_MAX_STREAMS",
        global = true
    )]
    pub max_streams: Option<usize>,

    /// Time for active streams to end after SIGTERM [default: 30]
    #[arg(
        long,
        value_name = "S",
        env = "QUIETWIRE_RELAY_DRAIN_SECONDS",
        global = true
    )]
    pub drain_seconds: Option<f32>,

    /// Format of the log on standard error [default: text]
    #[arg(
        long,
        value_name = "FORMAT",
        env = "QUIETWIRE_RELAY_LOG_FORMAT",
        global = true
    )]
    pub log_format: Option<LogFormat>,

    /// Smallest level that is logged [default: info]
    #[arg(
        long,
        value_name = "LEVEL",
        env = "QUIETWIRE_RELAY_LOG_LEVEL",
        global = true
    )]
    pub log_level: Option<LogLevel>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    /// One JSON object in each line
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// No log
    Off,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}
