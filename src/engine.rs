//! The inference engine: loads ONNX graphs and runs them one hop a step, in the executor of this library
//! ([`plan`]) or in tract ([`tract`]). Only the module [`tract`] and the modules below it use that crate.

#[cfg(feature = "onnx")]
mod compare;
mod fault;
mod graphs;
mod gru_cell;
mod linear;
mod onnx;
mod plan;
mod recurrence;
mod session;
#[cfg(feature = "onnx")]
mod tract;

#[cfg(feature = "onnx")]
pub(crate) use compare::reference_difference;
pub(crate) use graphs::{Executor, Graphs};
#[cfg(feature = "bench")]
pub(crate) use linear::layer_stage;
pub(crate) use session::Session;
#[cfg(feature = "onnx")]
pub(crate) use tract::whole_signal_difference;
