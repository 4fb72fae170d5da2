//! The graphs of a model, and the choice of their executor.

use std::sync::Arc;

use super::plan::{Plan, Unsupported};
#[cfg(feature = "onnx")]
use super::{compare, fault::engine_error, tract::Graph};
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
    #[cfg(feature = "onnx")]
    Tract(Vec<Graph>),
}

/// The executor of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Executor {
    /// that of this library
    Plan,
    /// tract, and why
    #[cfg(feature = "onnx")]
    Tract { reason: String },
}

impl Graphs {
    /// Loads the files `onnx`, which `specs` describe. `batched`: for any number of streams a step
    /// instead of one. All graphs of a model run in one executor: in that of this library if it has all
    /// their operators, otherwise in tract. A debug build compares both.
    ///
    /// # Errors
    /// [`Error::Engine`] for bytes that are not an ONNX graph, for weights that are not finite, for a
    /// graph that tract cannot run, and for outputs that differ from those of tract; [`Error::Tensor`] for
    /// a tensor that differs from the manifest, [`Error::Manifest`] for a wrong number of hidden states;
    /// [`Error::EngineMissing`] for a graph that needs tract in a build without it.
    pub(crate) fn load(onnx: &[&[u8]], specs: &[GraphSpec], batched: bool) -> Result<Self, Error> {
        match Plan::new(onnx, specs, batched) {
            Ok(plan) => {
                let plan = Arc::new(plan);
                #[cfg(feature = "onnx")]
                if cfg!(debug_assertions) {
                    check(&plan, onnx, specs, batched)?;
                }
                Ok(Self {
                    loaded: Loaded::Plan(plan),
                    executors: vec![Executor::Plan; specs.len()],
                })
            }
            // Not for tract either: the output of a stream would be NaN.
            Err((at, reason @ Unsupported::NonFinite)) => Err(Error::Engine {
                reason: format!("{}: {reason}", specs[at].file),
            }),
            Err((at, reason)) => Self::load_other(onnx, specs, batched, (at, &reason)),
        }
    }

    /// Loads graphs into tract. The executor of this library cannot run graph `at`.
    #[cfg(feature = "onnx")]
    fn load_other(
        onnx: &[&[u8]],
        specs: &[GraphSpec],
        batched: bool,
        (at, reason): (usize, &Unsupported),
    ) -> Result<Self, Error> {
        let mut graphs = Vec::with_capacity(specs.len());
        for (onnx, spec) in onnx.iter().zip(specs) {
            graphs.push(Graph::load(onnx, spec, specs, batched)?);
        }
        let executor = |graph: usize| Executor::Tract {
            reason: if graph == at {
                reason.to_string()
            } else {
                format!("as {}", specs[at].file)
            },
        };
        Ok(Self {
            loaded: Loaded::Tract(graphs),
            executors: (0..specs.len()).map(executor).collect(),
        })
    }

    #[cfg(not(feature = "onnx"))]
    fn load_other(
        _: &[&[u8]],
        specs: &[GraphSpec],
        _: bool,
        (at, reason): (usize, &Unsupported),
    ) -> Result<Self, Error> {
        Err(Error::EngineMissing {
            file: specs[at].file.clone(),
            reason: reason.to_string(),
        })
    }

    /// [graphs]
    pub(crate) fn executors(&self) -> &[Executor] {
        &self.executors
    }
}

/// Checks that the outputs of a plan are those of tract.
#[cfg(feature = "onnx")]
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
