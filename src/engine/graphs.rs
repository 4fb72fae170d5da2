//! The graphs of a model, and the choice of their executor.

use std::sync::Arc;

use super::compare;
use super::fault::engine_error;
use super::plan::Plan;
use super::tract::Graph;
use crate::error::Error;
use crate::manifest::GraphSpec;

/// The graphs of a model that were checked against its manifest. A step is one hop of one stream or,
/// where the tensors have the batch axis "N", one hop of any number of streams.
pub(crate) struct Graphs {
    pub(super) loaded: Loaded,
    /// [graphs]
    executors: Vec<Executor>,
}

/// The loaded graphs.
pub(super) enum Loaded {
    Plan(Arc<Plan>),
    Tract(Vec<Graph>),
}

/// The executor of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Executor {
    /// that of this library
    Plan,
    /// tract, and why
    Tract { reason: String },
}

impl Graphs {
    /// Loads the files `onnx`, which `specs` describe. `batched`: for any number of streams a step
    /// instead of one. All graphs of a model run in one executor: in that of this library if it has all
    /// their operators, otherwise in tract. A debug build compares both.
    ///
    /// # Errors
    /// [`Error::Engine`] for bytes that are not an ONNX graph, for a graph that tract cannot run, and for
    /// outputs that differ from those of tract; [`Error::Tensor`] for a tensor that differs from the
    /// manifest, [`Error::Manifest`] for a wrong number of hidden states.
    pub(crate) fn load(onnx: &[&[u8]], specs: &[GraphSpec], batched: bool) -> Result<Self, Error> {
        let (failed, reason) = match Plan::new(onnx, specs, batched) {
            Ok(plan) => {
                let plan = Arc::new(plan);
                if cfg!(debug_assertions) {
                    check(&plan, onnx, specs, batched)?;
                }
                return Ok(Self {
                    loaded: Loaded::Plan(plan),
                    executors: vec![Executor::Plan; specs.len()],
                });
            }
            Err(failed) => failed,
        };
        let mut graphs = Vec::with_capacity(specs.len());
        for (onnx, spec) in onnx.iter().zip(specs) {
            graphs.push(Graph::load(onnx, spec, specs, batched)?);
        }
        let executor = |at: usize| Executor::Tract {
            reason: if at == failed {
                reason.to_string()
            } else {
                format!("as {}", specs[failed].file)
            },
        };
        Ok(Self {
            loaded: Loaded::Tract(graphs),
            executors: (0..specs.len()).map(executor).collect(),
        })
    }

    /// [graphs]
    pub(crate) fn executors(&self) -> &[Executor] {
        &self.executors
    }
}

/// Checks that the outputs of a plan are those of tract.
fn check(
    plan: &Arc<Plan>,
    onnx: &[&[u8]],
    specs: &[GraphSpec],
    batched: bool,
) -> Result<(), Error> {
    let difference = compare::plan_difference(plan, onnx, specs, batched)?;
    if difference <= compare::MAX_DIFFERENCE {
        return Ok(());
    }
    let max = compare::MAX_DIFFERENCE;
    Err(engine_error(format!(
        "the outputs of the graphs differ from those of tract by {difference:.1e} of the largest \
         output, expected at most {max:.0e}"
    )))
}
