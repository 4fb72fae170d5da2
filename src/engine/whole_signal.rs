//! A graph that was exported for whole signals: does it give the same hop by hop?

use std::collections::HashMap;

use tract_onnx::prelude::*;

use super::{Graph, Input, engine, parse};
use crate::error::Error;
use crate::manifest::{Axis, GraphSpec, HOPS, TensorSpec};

/// Runs a graph that was exported for whole signals both ways, whole and hop by hop, on the same
/// noise. Gives the largest difference against the largest output; none for other graphs.
///
/// # Errors
/// As [`Graph::load`].
pub(crate) fn whole_signal_difference(
    onnx: &[u8],
    manifest: &GraphSpec,
    graphs: &[GraphSpec],
) -> Result<Option<f32>, Error> {
    const HOPS_RUN: usize = 24;
    let axis = |tensor: &TensorSpec| {
        let symbol = Axis::Symbol(HOPS.into());
        tensor.shape.iter().position(|axis| *axis == symbol)
    };
    if manifest.inputs.iter().all(|tensor| axis(tensor).is_none()) {
        return Ok(None);
    }
    let mut seed = 1u32;
    let mut noise = |shape: &[usize]| {
        let len = shape.iter().product();
        let numbers: Vec<f32> = (0..len)
            .map(|_| {
                // A small random generator (Numerical Recipes) is noise enough.
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        Tensor::from_shape(shape, &numbers).map_err(engine)
    };
    let mut inputs = Vec::with_capacity(manifest.inputs.len());
    for tensor in &manifest.inputs {
        let mut shape = tensor.stream_shape();
        if let Some(axis) = axis(tensor) {
            shape[axis] = HOPS_RUN;
        }
        inputs.push(match tensor.initial {
            Some(start) => {
                let mut state = Tensor::zero::<f32>(&shape).map_err(engine)?;
                state.fill_t(start).map_err(engine)?;
                state
            }
            None => noise(&shape)?,
        });
    }

    let (model, hops, _) = parse(onnx, manifest, false)?;
    let all = HashMap::from([(hops, TDim::Val(HOPS_RUN as i64))]);
    let whole = model.set_symbols(&all).map_err(engine)?;
    let whole = whole.into_optimized().and_then(|m| m.into_runnable());
    let values = inputs.iter().map(|t| t.clone().into_tvalue()).collect();
    let whole = whole.and_then(|m| m.run(values)).map_err(engine)?;

    // By the engine's operations, so that nothing but the order of hops differs.
    let graph = Graph::build(onnx, manifest, graphs, false, Ok)?;
    let mut state = graph.plan.spawn().map_err(engine)?;
    let mut latest: TVec<TValue> = tvec![];
    let (mut largest, mut difference) = (0.0f32, 0.0f32);
    for hop in 0..HOPS_RUN {
        let mut values: TVec<TValue> = tvec![];
        for (at, input) in graph.inputs.iter().enumerate() {
            values.push(match input {
                Input::State { initial, .. } if hop == 0 => initial.clone(),
                Input::State { next, .. } => latest[*next].clone(),
                Input::Fed { .. } | Input::Link { .. } => match axis(&manifest.inputs[at]) {
                    Some(axis) => inputs[at].slice(axis, hop, hop + 1).map_err(engine)?,
                    None => inputs[at].clone(),
                }
                .into_tvalue(),
            });
        }
        latest = state.run(values).map_err(engine)?;
        for (at, tensor) in manifest.outputs.iter().enumerate() {
            let Some(axis) = axis(tensor) else { continue };
            let expected = whole[at].slice(axis, hop, hop + 1).map_err(engine)?;
            let numbers = expected.to_plain_array_view::<f32>().map_err(engine)?;
            let found = latest[at].to_plain_array_view::<f32>().map_err(engine)?;
            for (expected, found) in numbers.iter().zip(&found) {
                largest = largest.max(expected.abs());
                difference = difference.max((expected - found).abs());
            }
        }
    }
    Ok(Some(difference / largest.max(f32::MIN_POSITIVE)))
}
