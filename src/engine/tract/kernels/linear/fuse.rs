//! Makes biases, residuals and ReLUs part of their linear layer.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

use super::super::reshape::Reshape;
use super::op::Linear;

/// If `node` adds a bias or a second input to a linear layer, or is its ReLU, and nothing else uses
/// the layer: the inputs of both, and both as one layer.
pub(in super::super) fn fuse_epilogue(
    model: &TypedModel,
    node: &TypedNode,
) -> TractResult<Option<(TVec<OutletId>, Linear)>> {
    let ([a, b], Some(op)) = (&node.inputs[..], node.op_as::<TypedBinOp>()) else {
        return Ok(None);
    };
    let shape = &model.outlet_fact(node.id.into())?.shape;
    for (sums, other) in [(a, b), (b, a)] {
        let Some((layer, linear)) = layer_with_sole_consumer(model, *sums) else {
            continue;
        };
        let fact = model.outlet_fact(*other)?;
        if model.outlet_fact(*sums)?.shape != *shape || fact.datum_type != f32::datum_type() {
            continue;
        }
        let mut inputs: TVec<OutletId> = layer.inputs.iter().copied().collect();
        let is_direct = sums.node == layer.id;
        let [_, outputs] = linear.sizes();
        let fused = match (op.0.name(), &fact.konst) {
            // A bias for each output, the same for all rows.
            ("Add", Some(bias)) if is_direct && bias.shape().last() == Some(&outputs) => {
                linear.with_bias(bias)?
            }
            ("Add", None) if fact.shape == *shape => {
                inputs.push(*other);
                linear.with_residual(shape.dims().into())
            }
            ("Max", Some(min)) if is_direct && min.as_uniform() == Some(tensor0(0f32)) => {
                (min.len() == 1).then(|| linear.with_relu())
            }
            _ => None,
        };
        if let Some(fused) = fused {
            return Ok(Some((inputs, fused)));
        }
    }
    Ok(None)
}

/// The layer that computes `outlet`, directly or through reshapes, if nothing else uses it.
fn layer_with_sole_consumer(model: &TypedModel, outlet: OutletId) -> Option<(&TypedNode, &Linear)> {
    let node = model.node(outlet.node);
    if model.outlet_successors(outlet).len() != 1 || model.outputs.contains(&outlet) {
        return None;
    }
    match node.op_as::<Linear>() {
        Some(linear) => Some((node, linear)),
        None if node.op_is::<Reshape>() => layer_with_sole_consumer(model, node.inputs[0]),
        None => None,
    }
}
