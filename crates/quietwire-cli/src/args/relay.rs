//! The arguments of `relay`.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
A stream receives RTP on a UDP port and sends the cleaned RTP to another address. Streams are
created, switched and deleted over HTTP. GET / is a page that shows them, GET /openapi.json
describes the interface.

Without keys (srtp_in, srtp_out) packets are not encrypted: use such streams only on one host or in
a private network.

Examples:
  quietwire relay
  curl -H 'content-type: application/json' http://127.0.0.1:8790/v1/streams \\
    -d '{\"id\": \"alice\", \"listen\": \"127.0.0.1:6000\", \"send_to\": \"127.0.0.1:5002\"}'
  curl -X PATCH -H 'content-type: application/json' \\
    http://127.0.0.1:8790/v1/streams/alice -d '{\"on\": false}'
  curl http://127.0.0.1:8790/metrics";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RelayArgs {
    /// Address of the control interface
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = quietwire_relay::DEFAULT_HTTP)]
    pub http: SocketAddr,

    /// A file with a token that every request must contain
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Models of the streams: the default first, then cheaper ones for overload
    #[arg(
        long,
        value_name = "ID|FOLDER",
        value_delimiter = ',',
        default_value = "base,tiny"
    )]
    pub models: Vec<String>,

    /// Threads that process audio [default: number of cores]
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZero<usize>>,

    /// Largest number of streams at the same time
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_streams: usize,

    /// Time for active streams to end after SIGTERM
    #[arg(long, value_name = "S", default_value_t = 30.0, value_parser = seconds)]
    pub drain_seconds: f32,
}

fn seconds(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, 0 to 86400".into()),
    }
}
