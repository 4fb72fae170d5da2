//! Compares hop-by-hop runs of a graph that was exported for whole signals with a run over the whole
//! signal.

use std::collections::HashMap;

use tract_onnx::prelude::*;

use super::graph::{Graph, Input, filled};
use super::import::import;
use crate::engine::fault::engine_error;
use crate::error::Error;
use crate::manifest::{Axis, GraphSpec, HOPS, Role, TensorSpec};

/// Runs a graph that was exported for whole signals on noise, over the whole signal and hop by hop.
/// Returns the largest difference, relative to the largest output. `None` for other graphs.
///
/// # Errors
/// As [`Graph::load`].
pub(crate) fn whole_signal_difference(
    onnx: &[u8],
    spec: &GraphSpec,
    graphs: &[GraphSpec],
) -> Result<Option<f32>, Error> {
    const HOPS_RUN: usize = 24;
    let axis = |tensor: &TensorSpec| {
        let symbol = Axis::Symbol(HOPS.into());
        tensor.shape.iter().position(|axis| *axis == symbol)
    };
    if spec.inputs.iter().all(|tensor| axis(tensor).is_none()) {
        return Ok(None);
    }
    let mut seed = 1u32;
    let mut noise = |shape: &[usize]| {
        let len = shape.iter().product();
        let values: Vec<f32> = (0..len)
            .map(|_| {
                // Linear congruential generator of Numerical Recipes.
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        Tensor::from_shape(shape, &values).map_err(engine_error)
    };
    let mut inputs = Vec::with_capacity(spec.inputs.len());
    for tensor in &spec.inputs {
        let mut shape = tensor.stream_shape();
        if let Some(axis) = axis(tensor) {
            shape[axis] = HOPS_RUN;
        }
        inputs.push(match tensor.initial {
            Some(initial) => filled(&shape, initial)?,
            None => noise(&shape)?,
        });
    }

    let imported = import(onnx, spec, false)?;
    let sizes = HashMap::from([(imported.hops, TDim::Val(HOPS_RUN as i64))]);
    let reference = imported.model.set_symbols(&sizes).map_err(engine_error)?;
    let reference = reference.into_optimized().and_then(|m| m.into_runnable());
    let values = inputs.iter().map(|t| t.clone().into_tvalue()).collect();
    let reference = reference
        .and_then(|m| m.run(values))
        .map_err(engine_error)?;

    // Without the kernels of this library, so that only the order of hops differs.
    let graph = Graph::build(onnx, spec, graphs, false, Ok)?;
    let mut state = graph.plan.spawn().map_err(engine_error)?;
    let mut latest: TVec<TValue> = tvec![];
    let (mut largest, mut difference) = (0.0f32, 0.0f32);
    for hop in 0..HOPS_RUN {
        let mut values: TVec<TValue> = tvec![];
        for (at, input) in graph.inputs.iter().enumerate() {
            values.push(match input {
                Input::State { initial, .. } if hop == 0 => initial.clone(),
                Input::State { next, .. } => latest[*next].clone(),
                Input::Fed { .. } | Input::Intermediate { .. } => match axis(&spec.inputs[at]) {
                    Some(axis) => inputs[at].slice(axis, hop, hop + 1).map_err(engine_error)?,
                    None => inputs[at].clone(),
                }
                .into_tvalue(),
            });
        }
        latest = state.run(values).map_err(engine_error)?;
        for (at, tensor) in spec.outputs.iter().enumerate() {
            let Some(axis) = axis(tensor).filter(|_| tensor.role != Role::Unused) else {
                continue;
            };
            let expected = reference[at]
                .slice(axis, hop, hop + 1)
                .map_err(engine_error)?;
            let expected = expected
                .to_plain_array_view::<f32>()
                .map_err(engine_error)?;
            let found = latest[at]
                .to_plain_array_view::<f32>()
                .map_err(engine_error)?;
            for (expected, found) in expected.iter().zip(&found) {
                largest = largest.max(expected.abs());
                difference = difference.max((expected - found).abs());
            }
        }
    }
    Ok(Some(difference / largest.max(f32::MIN_POSITIVE)))
}
