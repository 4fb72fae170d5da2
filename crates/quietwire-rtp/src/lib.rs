#![doc = include_str!("../README.md")]

mod audio_chain;
mod codec;
mod comfort_noise;
mod delay_line;
mod denoiser;
mod error;
mod jitter_buffer;
mod options;
mod packet;
mod plausibility;
mod playout;
mod red;
mod sender;
mod sender_clock;
mod source;
mod stats;
mod timeline;

pub use codec::Codec;
pub use denoiser::{RtpDenoiser, RtpDenoiserBuilder};
pub use error::{RtpBuildError, RtpError};
pub use packet::Packet;
pub use stats::{DropStats, RtpStats};
