//! The executor of this library: a graph becomes a list of kernels over one block of memory, with fixed
//! sizes and places. A hop allocates nothing and looks nothing up.
//!
//! - [`import`] reads an ONNX graph as [`ir`]: operators with the shapes of one stream and one hop, and
//!   constants computed.
//! - [`fuse`] finds layers with their epilogues, and recurrences.
//! - [`lower`] gives each value its place in memory and writes the steps.
//! - [`step`] has the kernels, [`session`] the memory of a stream or of a batch.
//!
//! A graph with an operator that is not here runs in tract.

mod fuse;
mod gru;
mod import;
mod ir;
mod lower;
mod operators;
mod session;
mod step;
mod unsupported;

pub(super) use lower::Plan;
pub(super) use session::PlanSession;
pub(super) use unsupported::Unsupported;
