#![doc = include_str!("../README.md")]

// In the order in which samples pass.
mod block;
mod denoiser;
mod resample;
mod hop;
mod stft;
mod feature;
mod model;
mod mask;
mod bypass;
mod telemetry;

mod error;
#[cfg(test)]
mod parity;
#[cfg(feature = "file")]
pub mod file;

pub use denoiser::{ChannelMode, Denoiser, DenoiserBuilder};
pub use error::Error;
pub use model::{Model, Spec};
pub use telemetry::Telemetry;
