//! The states of a stream or of a batch, and the runs of its graphs.

use super::fault::InferenceFailed;
use super::graphs::{Graphs, Loaded};
use super::plan::PlanSession;
#[cfg(feature = "onnx")]
use super::tract::TractSession;
use crate::error::Error;

/// The states and the outputs of the latest step of all graphs of a model, for one stream or for the
/// streams that share a step.
pub(crate) enum Session {
    Plan(PlanSession),
    #[cfg(feature = "onnx")]
    Tract(TractSession),
}

/// Runs a method of the session, whatever its executor.
macro_rules! with_session {
    ($self:expr, $session:ident => $result:expr) => {
        match $self {
            Self::Plan($session) => $result,
            #[cfg(feature = "onnx")]
            Self::Tract($session) => $result,
        }
    };
}

impl Session {
    /// A session of one stream, its states at their initial values.
    ///
    /// # Errors
    /// [`Error::Engine`] when tract cannot set up its side.
    pub(crate) fn new(graphs: &Graphs) -> Result<Self, Error> {
        Ok(match &graphs.loaded {
            Loaded::Plan(plan) => Self::Plan(PlanSession::new(plan, 1)),
            #[cfg(feature = "onnx")]
            Loaded::Tract(graphs) => Self::Tract(TractSession::new(graphs)?),
        })
    }

    /// A session for steps that `rows` streams share. [`Self::load_states`] and
    /// [`Self::store_states`] move the states of each stream.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn batched(graphs: &Graphs, rows: usize) -> Result<Self, Error> {
        Ok(match &graphs.loaded {
            Loaded::Plan(plan) => Self::Plan(PlanSession::new(plan, rows)),
            #[cfg(feature = "onnx")]
            Loaded::Tract(graphs) => Self::Tract(TractSession::batched(graphs, rows)?),
        })
    }

    /// Row `row` of an input that the pipeline fills before [`Self::run`], in the tensor's order.
    pub(crate) fn input_mut(&mut self, graph: usize, input: usize, row: usize) -> &mut [f32] {
        with_session!(self, session => session.input_mut(graph, input, row))
    }

    /// Runs one graph for every row.
    ///
    /// # Errors
    /// [`InferenceFailed`] when tract fails or panics. [`Self::last_failure`] gives the reason.
    ///
    /// # Real-time
    /// The executor of this library does not allocate. Tract allocates its tensors.
    pub(crate) fn run(&mut self, graph: usize) -> Result<(), InferenceFailed> {
        match self {
            Self::Plan(session) => {
                session.run(graph);
                Ok(())
            }
            #[cfg(feature = "onnx")]
            Self::Tract(session) => session.run(graph),
        }
    }

    /// The reason for the latest failure, on one line.
    pub(crate) fn last_failure(&self) -> Option<String> {
        match self {
            Self::Plan(_) => None,
            #[cfg(feature = "onnx")]
            Self::Tract(session) => session.last_failure(),
        }
    }

    /// Copies the inputs that the pipeline fills from row `row` of another session.
    pub(crate) fn copy_inputs(&mut self, from: &Self, row: usize) {
        match (self, from) {
            (Self::Plan(to), Self::Plan(from)) => to.copy_inputs(from, row),
            #[cfg(feature = "onnx")]
            (Self::Tract(to), Self::Tract(from)) => to.copy_inputs(from, row),
            #[cfg(feature = "onnx")]
            _ => unreachable!("the sessions of a model have one executor"),
        }
    }

    /// Row `row` of an output of the latest step.
    pub(crate) fn output(&self, graph: usize, output: usize, row: usize) -> &[f32] {
        with_session!(self, session => session.output(graph, output, row))
    }

    /// Moves the states of `stream`, a session of one stream, into row `row` of this batch. Until
    /// [`Self::store_states`], `stream` has none: when it is interrupted, it must be reset.
    pub(crate) fn load_states(&mut self, row: usize, stream: &mut Self) {
        match (self, stream) {
            (Self::Plan(to), Self::Plan(from)) => to.load_states(row, from),
            #[cfg(feature = "onnx")]
            (Self::Tract(to), Self::Tract(from)) => to.load_states(row, from),
            #[cfg(feature = "onnx")]
            _ => unreachable!("the sessions of a model have one executor"),
        }
    }

    /// Moves the states of row `row` of this batch back into `stream`, the session that they come from.
    ///
    /// # Real-time
    /// In tract: allocates when `stream` itself ran the latest step.
    pub(crate) fn store_states(&mut self, row: usize, stream: &mut Self) {
        match (self, stream) {
            (Self::Plan(from), Self::Plan(to)) => from.store_states(row, to),
            #[cfg(feature = "onnx")]
            (Self::Tract(from), Self::Tract(to)) => from.store_states(row, to),
            #[cfg(feature = "onnx")]
            _ => unreachable!("the sessions of a model have one executor"),
        }
    }

    /// Sets every state to its initial value.
    ///
    /// # Real-time
    /// No allocation.
    pub(crate) fn reset(&mut self) {
        with_session!(self, session => session.reset());
    }

    /// Microseconds of each operation of a graph, the minimum over `runs` steps: (time, operation,
    /// node).
    #[cfg(feature = "bench")]
    pub(crate) fn profile(&mut self, graph: usize, runs: u32) -> Vec<(f64, String, String)> {
        with_session!(self, session => session.profile(graph, runs))
    }
}
