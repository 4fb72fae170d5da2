//! Whole-signal exports to one hop a step.
//!
//! An export that takes all hops of a signal at once keeps its memory inside: a recurrence starts
//! from a constant, a convolution along the hops starts from padding. Here that memory becomes
//! inputs and outputs of the graph, so that one hop a step gives what the whole signal would.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Pad, PadMode, Slice, TypedConcat};
use tract_onnx::tract_core::ops::cnn::{Conv, PaddingSpec};
use tract_onnx::tract_core::ops::gru_seq::GruSeq;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::scan::{InputMapping, Scan};

use super::engine;
use crate::error::Error;

/// Makes every hidden state an input and an output, appended in the order of the graph, and gives
/// their initial values. `hops` is the axis of hops.
///
/// # Errors
/// [`Error::Engine`] for a graph that needs hops to come, or that mixes hops otherwise.
pub(super) fn expose_states(
    model: TypedModel,
    hops: &Symbol,
) -> Result<(TypedModel, Vec<TValue>), Error> {
    let mut model = model.into_decluttered().map_err(engine)?;
    let mut initial = Vec::new();
    for node in model.eval_order().map_err(engine)? {
        expose(&mut model, node, hops, &mut initial).map_err(engine)?;
    }
    if !initial.is_empty() {
        model.refresh_output_facts().map_err(engine)?;
    }
    check_hops(&model, hops).map_err(engine)?;
    Ok((model, initial))
}

fn expose(
    model: &mut TypedModel,
    id: usize,
    hops: &Symbol,
    initial: &mut Vec<TValue>,
) -> TractResult<()> {
    let node = &model.nodes[id];
    if node.op_is::<Scan>() {
        return expose_recurrence(model, id, hops, initial);
    }
    if let Some(gru) = node.op_as::<GruSeq>() {
        // Of known length, so within a hop: it starts afresh each time, as ONNX has it.
        let mut gru = gru.clone();
        gru.reset_every_turn = true;
        model.nodes[id].op = Box::new(gru);
        return Ok(());
    }
    // The axis of hops in the input, and how many hops of the past the operation pads with.
    let input = node.inputs.first().map(|input| model.outlet_fact(*input));
    let axis = input.transpose()?.map(|fact| hops_axis(fact, hops));
    let Some(axis) = axis.transpose()?.flatten() else {
        return Ok(());
    };
    if let Some(pad) = node.op_as::<Pad>() {
        let (past, future) = pad.pads[axis];
        if (past, future) == (0, 0) {
            return Ok(());
        }
        let PadMode::Constant(value) = &pad.mode else {
            bail!("{node}: hops can only be padded with a constant");
        };
        ensure!(future == 0, "{node}: needs {future} hops to come");
        let value = value.cast_to_scalar::<f32>()?;
        let mut op = pad.clone();
        op.pads[axis] = (0, 0);
        return remember(model, id, axis, past, value, Box::new(op), initial);
    }
    if let Some(conv) = node.op_as::<Conv>() {
        let manifest = &conv.pool_spec;
        let Some(spatial) = axis.checked_sub(manifest.data_format.h_axis()) else {
            return Ok(());
        };
        let Some(kernel) = manifest.kernel_shape.get(spatial) else {
            return Ok(());
        };
        let (past, future) = match &manifest.padding {
            PaddingSpec::Explicit(before, after) => (before[spatial], after[spatial]),
            PaddingSpec::Valid => (0, 0),
            other if *kernel > 1 => bail!("{node}: padding {other:?} along hops"),
            _ => return Ok(()),
        };
        if (past, future) == (0, 0) {
            return Ok(());
        }
        ensure!(future == 0, "{node}: needs {future} hops to come");
        let mut op = conv.clone();
        if let PaddingSpec::Explicit(before, _) = &mut op.pool_spec.padding {
            before[spatial] = 0;
        }
        return remember(model, id, axis, past, 0.0, Box::new(op), initial);
    }
    Ok(())
}

/// Puts the last `past` hops before the input of node `id`, which becomes `op`, and keeps them.
fn remember(
    model: &mut TypedModel,
    id: usize,
    axis: usize,
    past: usize,
    value: f32,
    op: Box<dyn TypedOp>,
    initial: &mut Vec<TValue>,
) -> TractResult<()> {
    let input = model.nodes[id].inputs[0];
    let name = model.nodes[id].name.clone();
    let fact = model.outlet_fact(input)?.clone();
    ensure!(
        fact.datum_type == f32::datum_type(),
        "{name}: states are f32"
    );
    let mut shape = fact.shape.clone();
    shape.set(axis, past.to_dim());
    let Some(sizes) = shape.as_concrete() else {
        bail!("{name}: a state of unknown size {shape:?}");
    };
    let mut start = Tensor::zero::<f32>(sizes)?;
    start.fill_t(value)?;
    let before = model.add_source(format!("{name}.past"), f32::fact(shape.clone()))?;
    let with_past = format!("{name}.with_past");
    let all = model.wire_node(with_past, TypedConcat::new(axis), &[before, input])?[0];
    let len = model.outlet_fact(all)?.shape[axis].clone();
    let slice = Slice::new(axis, len.clone() - past, len);
    let kept = model.wire_node(format!("{name}.kept"), slice, &[all])?[0];
    model.outputs.push(kept);
    initial.push(start.into_tvalue());
    // The same node goes on with another input, so that whoever hears it need not be told.
    model.add_edge(all, InletId::new(id, 0))?;
    model.nodes[id].op = op;
    Ok(())
}

fn expose_recurrence(
    model: &mut TypedModel,
    id: usize,
    hops: &Symbol,
    initial: &mut Vec<TValue>,
) -> TractResult<()> {
    let node = model.nodes[id].clone();
    let scan = node.op_as::<Scan>();
    let mut scan = scan.context("asked for recurrences alone")?.clone();
    let mut over_hops = false;
    for (mapping, input) in scan.input_mapping.iter().zip(&node.inputs) {
        if let InputMapping::Scan(info) = mapping {
            let axis = hops_axis(model.outlet_fact(*input)?, hops)?;
            if axis == Some(info.axis) {
                ensure!(info.chunk > 0, "{node}: runs backwards, from hops to come");
                over_hops = true;
            }
        }
    }
    if !over_hops {
        // Within a hop, a recurrence starts afresh each time.
        scan.reset_every_turn = true;
        model.nodes[id].op = Box::new(scan);
        return Ok(());
    }
    let states: Vec<usize> = (0..scan.input_mapping.len())
        .filter(|at| scan.input_mapping[*at].is_state())
        .collect();
    let nexts: Vec<usize> = (0..scan.output_mapping.len())
        .filter(|at| scan.output_mapping[*at].state)
        .collect();
    ensure!(states.len() == nexts.len(), "{node}: states do not pair up");
    for (state, next) in states.into_iter().zip(nexts) {
        let Some(start) = model.outlet_fact(node.inputs[state])?.konst.clone() else {
            continue; // a state that the export shows
        };
        let fact = f32::fact(start.shape());
        ensure!(
            start.datum_type() == f32::datum_type(),
            "{node}: states are f32"
        );
        let slot = scan.output_mapping[next].last_value_slot;
        let slot = slot.unwrap_or(model.nodes[id].outputs.len());
        if slot == model.nodes[id].outputs.len() {
            model.nodes[id].outputs.push(Outlet {
                fact: fact.clone(),
                successors: tvec![],
            });
            scan.output_mapping[next].last_value_slot = Some(slot);
        }
        let source = model.add_source(format!("{}.state{state}", node.name), fact)?;
        model.add_edge(source, InletId::new(id, state))?;
        model.outputs.push(OutletId::new(id, slot));
        initial.push(start.into_tvalue());
    }
    scan.external_state = true;
    model.nodes[id].op = Box::new(scan);
    Ok(())
}

/// Where the axis of hops is, if there is one.
fn hops_axis(fact: &TypedFact, hops: &Symbol) -> TractResult<Option<usize>> {
    let mut found = (0..fact.rank()).filter(|at| fact.shape[*at].symbols().contains(hops));
    let axis = found.next();
    ensure!(found.next().is_none(), "two axes of hops in {fact:?}");
    Ok(axis)
}

/// Every tensor has either one hop for each hop that came in, or those and the ones kept.
fn check_hops(model: &TypedModel, hops: &Symbol) -> TractResult<()> {
    for node in &model.nodes {
        if node.op_is::<Const>() {
            continue;
        }
        for output in &node.outputs {
            let Some(axis) = hops_axis(&output.fact, hops)? else {
                continue;
            };
            let more = output.fact.shape[axis].clone() - TDim::from(hops.clone());
            ensure!(
                more.to_i64().is_ok_and(|more| more >= 0),
                "{node}: {:?} is no hop for each hop",
                output.fact
            );
        }
    }
    Ok(())
}
