#![doc = include_str!("../README.md")]

mod codec;
mod denoiser;
mod error;
mod fifo;
mod jitter_buffer;
mod options;
mod packet;
mod red;
mod sender;
mod stats;

pub use codec::Codec;
pub use denoiser::{RtpDenoiser, RtpDenoiserBuilder};
pub use error::{RtpBuildError, RtpError};
pub use packet::Packet;
pub use stats::RtpStats;
