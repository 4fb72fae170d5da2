#![doc = include_str!("../README.md")]

mod api;
mod config;
mod control;
mod drain;
mod error;
mod http;
mod metrics;
mod server;
mod spectrogram_feed;
mod srtp;
mod stream;
mod worker;

pub use config::{Config, DEFAULT_HTTP};
pub use error::RelayError;
pub use server::run;
