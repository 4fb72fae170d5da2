#![doc = include_str!("../README.md")]

// In the order in which samples pass.
mod batch;
mod block;
mod denoiser;
mod feature;
mod floor;
mod flow;
mod hop;
mod mask;
mod mind;
mod model;
mod resample;
mod stft;
mod switch;
mod telemetry;
mod wide;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod error;
#[cfg(feature = "file")]
pub mod file;
#[cfg(test)]
mod parity;
#[cfg(feature = "rtp")]
pub mod rtp;
#[cfg(feature = "store")]
mod store;

pub use batch::{Batch, BatchBlock, BatchCounts, Job};
pub use denoiser::{ChannelMode, Denoiser, DenoiserBuilder};
pub use error::Error;
pub use model::{Model, Spec, spec::Origin};
#[cfg(feature = "store")]
pub use store::ModelStore;
pub use telemetry::Telemetry;
