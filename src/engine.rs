//! The inference engine: loads ONNX graphs and runs them one hop a step. Only this module and the
//! modules below it use tract.

mod fault;
mod graph;
mod import;
mod kernels;
mod session;
mod unroll;
mod whole_signal;

pub(crate) use graph::Graph;
pub(crate) use session::Session;
pub(crate) use whole_signal::whole_signal_difference;
