//! A graph, optimized for one hop a step.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::*;

use super::import::{Imported, dims, import};
use super::{kernels, unroll};
use crate::engine::fault::{engine_error, tensor_mismatch};
use crate::error::Error;
use crate::manifest::{GraphSpec, Role, TensorSpec};

/// An optimized graph that was checked against its manifest. A step is one hop of one stream or,
/// where the tensors have the batch axis "N", one hop of any number of streams.
pub(in crate::engine) struct Graph {
    pub(super) plan: Arc<TypedSimplePlan>,
    /// the manifest's inputs in their order, then the hidden states
    pub(super) inputs: Arc<[Input]>,
    /// number of outputs, hidden states included
    pub(super) outputs: usize,
}

/// The source of an input.
pub(super) enum Input {
    /// filled by the pipeline before each run
    Fed {
        /// of one stream
        shape: Vec<usize>,
    },
    /// a state
    State {
        /// of one stream, shared by all sessions, never written
        initial: TValue,
        /// index of the output that becomes this input on the next step
        next: usize,
    },
    /// an output of an earlier graph
    Intermediate { graph: usize, output: usize },
}

impl Graph {
    /// Loads `onnx`, which `spec`, one of `graphs`, describes. `batched`: for any number of streams
    /// a step instead of one.
    ///
    /// # Errors
    /// [`Error::Engine`] for bytes that are not an ONNX graph and for a graph that tract cannot run,
    /// [`Error::Tensor`] for a tensor that differs from the manifest, [`Error::Manifest`] for a
    /// wrong number of hidden states.
    pub(in crate::engine) fn load(
        onnx: &[u8],
        spec: &GraphSpec,
        graphs: &[GraphSpec],
        batched: bool,
    ) -> Result<Self, Error> {
        Self::build(onnx, spec, graphs, batched, kernels::rewrite)
    }

    /// [`Self::load`] for one stream, without the kernels of this library: the reference for other
    /// executors.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(in crate::engine) fn load_reference(
        onnx: &[u8],
        spec: &GraphSpec,
        graphs: &[GraphSpec],
    ) -> Result<Self, Error> {
        Self::build(onnx, spec, graphs, false, Ok)
    }

    /// [`Self::load`] with another pass than [`kernels::rewrite`].
    pub(super) fn build(
        onnx: &[u8],
        spec: &GraphSpec,
        graphs: &[GraphSpec],
        batched: bool,
        rewrite: fn(TypedModel) -> TractResult<TypedModel>,
    ) -> Result<Self, Error> {
        let Imported {
            model,
            hops,
            streams,
        } = import(onnx, spec, batched)?;
        let (model, hidden) = unroll::expose_states(model, &hops)?;
        if hidden.len() != spec.hidden_states {
            return Err(Error::Manifest {
                field: format!("graph {}, hidden_states", spec.file),
                expected: format!("{}, the number of hidden states of the graph", hidden.len()),
                found: spec.hidden_states.to_string(),
            });
        }
        let one = TDim::Val(1);
        let sizes = HashMap::from([(hops, one.clone())]);
        let mut model = model.set_symbols(&sizes).map_err(engine_error)?;
        for (tensor, outlet) in spec.outputs.iter().zip(model.outputs.clone()) {
            let fact = model.outlet_fact(outlet).map_err(engine_error)?;
            let expected = dims(tensor, &one, &streams);
            if fact.datum_type != f32::datum_type() || fact.shape.dims() != expected {
                let found = format!("{:?} {:?}", fact.shape, fact.datum_type);
                let found = format!("{found} with N = {streams}, S = 1");
                return Err(tensor_mismatch(tensor, found));
            }
        }
        drop_unused(&mut model, spec).map_err(engine_error)?;
        let mut inputs = Vec::with_capacity(spec.inputs.len() + hidden.len());
        for tensor in &spec.inputs {
            inputs.push(Input::new(tensor, spec, graphs)?);
        }
        for (at, initial) in hidden.into_iter().enumerate() {
            let next = spec.outputs.len() + at;
            inputs.push(Input::State { initial, next });
        }
        let plan = model
            .into_decluttered()
            .and_then(rewrite)
            .and_then(|m| m.into_optimized())
            .and_then(|m| m.into_runnable())
            .map_err(engine_error)?;
        Ok(Self {
            outputs: plan.model().outputs.len(),
            plan,
            inputs: inputs.into(),
        })
    }
}

/// Replaces the outputs that nothing uses by constants, so that nothing computes them.
fn drop_unused(model: &mut TypedModel, spec: &GraphSpec) -> TractResult<()> {
    for (at, tensor) in spec.outputs.iter().enumerate() {
        if tensor.role == Role::Unused {
            let nothing = Tensor::zero::<f32>(&[0])?;
            model.outputs[at] = model.add_const(format!("{}.unused", tensor.name), nothing)?;
        }
    }
    Ok(())
}

impl Input {
    fn new(tensor: &TensorSpec, spec: &GraphSpec, graphs: &[GraphSpec]) -> Result<Self, Error> {
        Ok(match tensor.role {
            Role::State => {
                let initial = tensor
                    .initial
                    .expect("a checked manifest has an initial value for each state");
                let mut outputs = spec.outputs.iter();
                let next = outputs.position(|t| t.source.as_ref() == Some(&tensor.name));
                Self::State {
                    initial: filled(&tensor.stream_shape(), initial)?.into_tvalue(),
                    next: next.expect("a checked manifest has an output for each state"),
                }
            }
            Role::Intermediate => {
                let name = tensor.source.as_ref().unwrap_or(&tensor.name);
                let found = graphs.iter().enumerate().find_map(|(graph, spec)| {
                    let mut outputs = spec.outputs.iter();
                    let output =
                        outputs.position(|t| t.role == Role::Intermediate && t.name == *name)?;
                    Some(Self::Intermediate { graph, output })
                });
                found.expect("a checked manifest has an output for each intermediate input")
            }
            _ => Self::Fed {
                shape: tensor.stream_shape(),
            },
        })
    }
}

/// A tensor of `shape` whose values all are `value`.
pub(super) fn filled(shape: &[usize], value: f32) -> Result<Tensor, Error> {
    let mut tensor = Tensor::zero::<f32>(shape).map_err(engine_error)?;
    tensor.fill_t(value).map_err(engine_error)?;
    Ok(tensor)
}
