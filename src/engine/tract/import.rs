//! Reads an ONNX graph and checks its inputs and outputs against the manifest.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike as _;
use tract_onnx::tract_hir::infer::{DimFact, Factoid as _};

use crate::engine::fault::{engine_error, tensor_mismatch};
use crate::error::Error;
use crate::manifest::{Axis, BATCH, GraphSpec, HOPS, TensorSpec};

/// A graph with its inputs and outputs in the manifest's order.
pub(super) struct Imported {
    pub(super) model: TypedModel,
    /// symbol of the axis of hops
    pub(super) hops: Symbol,
    /// size of the batch axis: 1 or a symbol
    pub(super) streams: TDim,
}

/// Reads `onnx`. `batched`: whether the batch axis keeps a size that is known only when a step runs.
///
/// # Errors
/// [`Error::Engine`] for bytes that are not an ONNX graph, [`Error::Tensor`] for an input or output
/// that differs from the manifest.
pub(super) fn import(onnx: &[u8], spec: &GraphSpec, batched: bool) -> Result<Imported, Error> {
    let mut model = tract_onnx::onnx()
        // Exports of whole signals may declare shapes that contradict each other. The shapes that
        // the operations produce are checked later.
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true)
        .model_for_read(&mut &*onnx)
        .map_err(engine_error)?;
    check_inputs(&model, spec)?;
    check_output_names(&model, spec)?;
    model
        .set_input_names(spec.inputs.iter().map(|t| &t.name))
        .map_err(engine_error)?;
    let order: TVec<OutletId> = spec
        .outputs
        .iter()
        .filter_map(|t| find_output(&model, &t.name))
        .collect();
    model.select_output_outlets(&order).map_err(engine_error)?;
    let hops = model.symbols.sym(HOPS);
    let streams = if batched {
        model.symbols.sym(BATCH).into()
    } else {
        TDim::Val(1)
    };
    for (index, tensor) in spec.inputs.iter().enumerate() {
        let shape = dims(tensor, &hops.clone().into(), &streams);
        model
            .set_input_fact(index, f32::fact(shape).into())
            .map_err(engine_error)?;
    }
    Ok(Imported {
        model: model.into_typed().map_err(engine_error)?,
        hops,
        streams,
    })
}

/// The shape of `tensor` with the sizes of its symbolic axes.
pub(super) fn dims(tensor: &TensorSpec, hops: &TDim, streams: &TDim) -> Vec<TDim> {
    let dim = |axis: &Axis| match axis {
        Axis::Size(size) => size.into(),
        Axis::Symbol(name) if name == HOPS => hops.clone(),
        Axis::Symbol(_) => streams.clone(),
    };
    tensor.shape.iter().map(dim).collect()
}

/// Checks the name, type and declared shape of every input, and that the graph has no other input.
fn check_inputs(model: &InferenceModel, spec: &GraphSpec) -> Result<(), Error> {
    let outlets = model.input_outlets().map_err(engine_error)?;
    let name = |outlet: &OutletId| model.node(outlet.node).name.clone();
    for tensor in &spec.inputs {
        let Some(outlet) = outlets.iter().find(|o| name(o) == tensor.name) else {
            let names: Vec<_> = outlets.iter().map(name).collect();
            return Err(tensor_mismatch(tensor, format!("inputs {names:?}")));
        };
        let fact = model.outlet_fact(*outlet).map_err(engine_error)?;
        let dims: Vec<&DimFact> = fact.shape.dims().collect();
        let size_fits = |(axis, dim): (&Axis, &&DimFact)| match (axis, dim.concretize()) {
            (Axis::Size(size), Some(dim)) => dim.to_usize().map_or(true, |dim: usize| dim == *size),
            (Axis::Symbol(_), Some(dim)) => dim.to_usize().is_err(),
            (_, None) => true,
        };
        let is_f32 = fact
            .datum_type
            .concretize()
            .is_none_or(|t| t == f32::datum_type());
        if !is_f32
            || dims.len() != tensor.shape.len()
            || !tensor.shape.iter().zip(&dims).all(size_fits)
        {
            let found = format!("{:?} {:?}", fact.shape, fact.datum_type);
            return Err(tensor_mismatch(tensor, found));
        }
    }
    let mut names = outlets.iter().map(name);
    match names.find(|name| spec.inputs.iter().all(|t| t.name != *name)) {
        Some(tensor) => Err(Error::Tensor {
            tensor,
            expected: "no such input".into(),
            found: "an input of this name".into(),
        }),
        None => Ok(()),
    }
}

fn find_output(model: &InferenceModel, name: &str) -> Option<OutletId> {
    let mut outputs = model.outputs.iter().copied();
    outputs.find(|outlet| output_name(model, *outlet) == name)
}

fn output_name(model: &InferenceModel, outlet: OutletId) -> String {
    let label = model.outlet_label(outlet).map(str::to_owned);
    label.unwrap_or_else(|| model.node(outlet.node).name.clone())
}

/// Checks that the graph has all outputs of the manifest and no other output.
fn check_output_names(model: &InferenceModel, spec: &GraphSpec) -> Result<(), Error> {
    let outputs = model.outputs.iter();
    let names: Vec<String> = outputs.map(|o| output_name(model, *o)).collect();
    if let Some(tensor) = spec.outputs.iter().find(|t| !names.contains(&t.name)) {
        return Err(tensor_mismatch(tensor, format!("outputs {names:?}")));
    }
    let mut names = names.into_iter();
    match names.find(|name| spec.outputs.iter().all(|t| t.name != *name)) {
        Some(tensor) => Err(Error::Tensor {
            tensor,
            expected: "no such output".into(),
            found: "an output of this name".into(),
        }),
        None => Ok(()),
    }
}
