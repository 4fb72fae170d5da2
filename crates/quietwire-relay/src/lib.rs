#![doc = include_str!("../README.md")]

mod access;
mod api;
mod codec_load;
mod config;
mod control;
mod cpu;
mod drain;
mod error;
mod events;
mod http;
mod metrics;
mod process;
mod registry;
mod route;
mod senders;
mod server;
mod spectrogram_feed;
mod srtp;
mod stream;
mod timers;
mod worker;
mod worker_handle;

pub use config::{Config, DEFAULT_HTTP};
pub use error::RelayError;
pub use server::{check, run};
