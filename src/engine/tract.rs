//! Graphs that run in tract.

mod graph;
mod import;
mod kernels;
mod session;
mod unroll;
mod whole_signal;

pub(super) use graph::Graph;
pub(super) use session::TractSession;
pub(crate) use whole_signal::whole_signal_difference;
