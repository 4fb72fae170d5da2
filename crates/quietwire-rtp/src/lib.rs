#![doc = include_str!("../README.md")]

mod builder;
mod codec;
mod denoiser;
mod error;
mod fifo;
mod jitter_buffer;
mod packet;
mod red;
mod sender;
mod stats;

pub use builder::RtpDenoiserBuilder;
pub use codec::Codec;
pub use denoiser::RtpDenoiser;
pub use error::{RtpBuildError, RtpError};
pub use packet::Packet;
pub use stats::RtpStats;
