//! Turns a graph that was exported for whole signals into one that runs one hop a step.
//!
//! An export that takes all hops of a signal at once hides its states: a recurrence starts from a
//! constant, a convolution along the hops starts from padding. This pass makes these states inputs
//! and outputs of the graph, so that hop-by-hop runs equal the run over the whole signal.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Pad, PadMode, Slice, TypedConcat};
use tract_onnx::tract_core::ops::cnn::{Conv, PaddingSpec};
use tract_onnx::tract_core::ops::gru_seq::GruSeq;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::scan::{InputMapping, Scan};

use crate::engine::fault::engine_error;
use crate::error::Error;

/// Makes every hidden state an input and an output of the graph, appended in the order of
/// evaluation, and returns their initial values. `hops` is the symbol of the axis of hops.
///
/// # Errors
/// [`Error::Engine`] for a graph that needs future hops, or that combines hops in another way than
/// recurrences and causal convolutions do.
pub(super) fn expose_states(
    model: TypedModel,
    hops: &Symbol,
) -> Result<(TypedModel, Vec<TValue>), Error> {
    let mut model = model.into_decluttered().map_err(engine_error)?;
    let mut initial = Vec::new();
    for node in model.eval_order().map_err(engine_error)? {
        expose(&mut model, node, hops, &mut initial).map_err(engine_error)?;
    }
    if !initial.is_empty() {
        model.refresh_output_facts().map_err(engine_error)?;
    }
    check_hops(&model, hops).map_err(engine_error)?;
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
        // Its length is constant, so it runs within a hop and starts from its initial state each
        // time (ONNX `GRU`).
        let mut gru = gru.clone();
        gru.reset_every_turn = true;
        model.nodes[id].op = Box::new(gru);
        return Ok(());
    }
    // The axis of hops in the input.
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
        ensure!(future == 0, "{node}: needs {future} future hops");
        let value = value.cast_to_scalar::<f32>()?;
        let mut op = pad.clone();
        op.pads[axis] = (0, 0);
        return expose_padding_state(model, id, axis, past, value, Box::new(op), initial);
    }
    if let Some(conv) = node.op_as::<Conv>() {
        let pool = &conv.pool_spec;
        let Some(spatial) = axis.checked_sub(pool.data_format.h_axis()) else {
            return Ok(());
        };
        let Some(kernel) = pool.kernel_shape.get(spatial) else {
            return Ok(());
        };
        let (past, future) = match &pool.padding {
            PaddingSpec::Explicit(before, after) => (before[spatial], after[spatial]),
            PaddingSpec::Valid => (0, 0),
            other if *kernel > 1 => bail!("{node}: padding {other:?} along hops"),
            _ => return Ok(()),
        };
        if (past, future) == (0, 0) {
            return Ok(());
        }
        ensure!(future == 0, "{node}: needs {future} future hops");
        let mut op = conv.clone();
        if let PaddingSpec::Explicit(before, _) = &mut op.pool_spec.padding {
            before[spatial] = 0;
        }
        return expose_padding_state(model, id, axis, past, 0.0, Box::new(op), initial);
    }
    Ok(())
}

/// Replaces the padding of node `id` by a state: its last `past` input hops, concatenated before the
/// new ones along `axis`. `value` is the initial value, `op` the operation without padding.
fn expose_padding_state(
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
    // The node keeps its id, so its successors need no change.
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
    let mut scan = scan.context("the node is not a recurrence")?.clone();
    let mut over_hops = false;
    for (mapping, input) in scan.input_mapping.iter().zip(&node.inputs) {
        if let InputMapping::Scan(info) = mapping {
            let axis = hops_axis(model.outlet_fact(*input)?, hops)?;
            if axis == Some(info.axis) {
                ensure!(
                    info.chunk > 0,
                    "{node}: runs backwards and needs future hops"
                );
                over_hops = true;
            }
        }
    }
    if !over_hops {
        // A recurrence within a hop starts from its initial state each time.
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
    ensure!(
        states.len() == nexts.len(),
        "{node}: the number of states in and out differs"
    );
    for (state, next) in states.into_iter().zip(nexts) {
        let Some(start) = model.outlet_fact(node.inputs[state])?.konst.clone() else {
            continue; // already an input of the graph
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

/// The axis of hops of `fact`, if it has one.
fn hops_axis(fact: &TypedFact, hops: &Symbol) -> TractResult<Option<usize>> {
    let mut found = (0..fact.rank()).filter(|at| fact.shape[*at].symbols().contains(hops));
    let axis = found.next();
    ensure!(found.next().is_none(), "two axes of hops in {fact:?}");
    Ok(axis)
}

/// Checks that every tensor along the hops has at least one hop for each input hop; a state adds
/// more.
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
                "{node}: {:?} has fewer hops than the input",
                output.fact
            );
        }
    }
    Ok(())
}
