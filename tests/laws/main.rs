//! The laws that every stream keeps, over a matrix of rates, channels, block sizes and models.

mod alignment;
mod batch;
mod bypass;
mod chunking;
mod fallback;
mod hostile;
mod isolation;
mod level;
mod panics;
mod parity;
mod reconstruction;
mod reset;
mod signal;
mod telemetry;
mod transitions;
