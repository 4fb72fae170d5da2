//! Shapes of f32 tensors in a graph.

use tract_onnx::prelude::*;

/// The shape of `outlet`, sizes possibly symbolic; `None` for other types than f32.
pub(super) fn dims_of(model: &TypedModel, outlet: OutletId) -> TractResult<Option<TVec<TDim>>> {
    let fact = model.outlet_fact(outlet)?;
    let dims = (fact.datum_type == f32::datum_type()).then(|| fact.shape.dims().into());
    Ok(dims)
}

/// The shape of `outlet` if all its sizes are known; `None` for other types than f32.
pub(super) fn shape_of(model: &TypedModel, outlet: OutletId) -> TractResult<Option<TVec<usize>>> {
    let fact = model.outlet_fact(outlet)?;
    let shape = fact.shape.as_concrete().map(TVec::from_slice);
    Ok(shape.filter(|_| fact.datum_type == f32::datum_type()))
}

/// `shape` with sizes. At most one size is symbolic; it follows from `len`, the number of elements.
pub(super) fn resolve(shape: &[TDim], len: usize) -> TVec<usize> {
    let known = |dim: &TDim| match dim {
        TDim::Val(size) => Some(*size as usize),
        _ => None,
    };
    let others: usize = shape.iter().filter_map(known).product();
    let rest = len / others.max(1);
    shape.iter().map(|dim| known(dim).unwrap_or(rest)).collect()
}
