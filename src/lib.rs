#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// In the order in which samples flow.
mod batch;
mod block;
mod crossfade;
mod denoiser;
mod fast_math;
mod feature;
mod fifo;
mod filterbank;
mod hop_powers;
mod inference;
mod mask;
mod noise_floor;
mod options;
mod pipeline;
mod resample;
mod shared;
mod simd;
mod spectrum_history;
mod stft;
mod telemetry;

mod engine;
mod manifest;
mod model;

mod error;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
#[cfg(test)]
mod stage_tests;

pub use batch::{Batch, BatchStats, BatchStream, OwnedBatchStream};
pub use denoiser::{Denoiser, DenoiserBuilder};
pub use error::{Error, ErrorKind};
pub use manifest::{GraphFile, Manifest, PackageSource};
pub use model::{GraphEngine, Model};
pub use options::{AttenuationLimit, ChannelMode, DenoiserOptions, Strength};
pub use telemetry::{DenoiserStats, Telemetry};
