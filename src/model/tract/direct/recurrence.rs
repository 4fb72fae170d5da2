//! A gated recurrence in one operation: what a graph says in ten, each with a tensor of its own.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::Gather;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;

use super::{dims_of, gru::sigmoid};

/// The rows of the gates, in this order.
const UPDATE: i64 = 0;
const CANDIDATE: i64 = 1;
const OPEN: i64 = 2;

/// Gates [rows, 3 * width], states and input [rows, width] to the output and the next states:
/// `state + sigmoid(update) * (candidate - state)`, and `input + sigmoid(open) * tanh(that)`.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
struct GatedRecurrence {
    width: usize,
    output_shape: TVec<TDim>,
}

/// Where a recurrence lies in a graph.
struct Found {
    gates: OutletId,
    state: OutletId,
    input: OutletId,
    next: OutletId,
    output: OutletId,
    op: GatedRecurrence,
}

/// Puts one operation in the place of each recurrence of `model`.
pub(super) fn join(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let Some(found) = find(model, id)? else {
            continue;
        };
        let mut patch = TypedModelPatch::default();
        let heard = patch.taps(model, &[found.gates, found.state, found.input])?;
        let name = &model.node(found.output.node).name;
        let said = patch.wire_node(format!("{name}.recurrence"), found.op, &heard)?;
        patch.shunt_outside(model, found.output, said[0])?;
        patch.shunt_outside(model, found.next, said[1])?;
        patch.apply(model)?;
    }
    Ok(())
}

/// The recurrence that ends in node `id`.
fn find(model: &TypedModel, id: usize) -> TractResult<Option<Found>> {
    let output = OutletId::from(id);
    for (input, heard) in operands(model, output, "Add") {
        for (open, shape) in operands(model, heard, "Mul") {
            let Some(next) = operand(model, shape, "Tanh") else {
                continue;
            };
            let Some((gates, OPEN)) = opened(model, open) else {
                continue;
            };
            for (state, step) in operands(model, next, "Add") {
                for (update, change) in operands(model, step, "Mul") {
                    let Some((candidate, subtracted)) = both(model, change, "Sub") else {
                        continue;
                    };
                    let is_found = opened(model, update) == Some((gates, UPDATE))
                        && row_of(model, candidate) == Some((gates, CANDIDATE))
                        && subtracted == state;
                    if let (true, Some(op)) = (is_found, shaped(model, [gates, state, input])?) {
                        return Ok(Some(Found {
                            gates: unshaped(model, gates),
                            state,
                            input,
                            next,
                            output,
                            op,
                        }));
                    }
                }
            }
        }
    }
    Ok(None)
}

/// What the operation `name` that makes `outlet` hears first and second.
fn both(model: &TypedModel, outlet: OutletId, name: &str) -> Option<(OutletId, OutletId)> {
    let node = model.node(outlet.node);
    let op = node.op_as::<TypedBinOp>()?;
    (op.0.name() == name).then(|| (node.inputs[0], node.inputs[1]))
}

/// The same either way round.
fn operands(
    model: &TypedModel,
    outlet: OutletId,
    name: &str,
) -> impl Iterator<Item = (OutletId, OutletId)> + use<> {
    let found = both(model, outlet, name);
    found.into_iter().flat_map(|(a, b)| [(a, b), (b, a)])
}

/// What the operation `name` of single numbers hears.
fn operand(model: &TypedModel, outlet: OutletId, name: &str) -> Option<OutletId> {
    let node = model.node(outlet.node);
    let op = node.op_as::<ElementWiseOp>()?;
    (op.name() == name).then(|| node.inputs[0])
}

/// The gates and the row of them that `outlet` is the sigmoid of.
fn opened(model: &TypedModel, outlet: OutletId) -> Option<(OutletId, i64)> {
    row_of(model, operand(model, outlet, "Sigmoid")?)
}

/// The gates and the row of them that `outlet` is: rows lie along the last axis but one.
fn row_of(model: &TypedModel, outlet: OutletId) -> Option<(OutletId, i64)> {
    let node = model.node(outlet.node);
    let axis = node.op_as::<Gather>()?.axis;
    let rank = model.outlet_fact(node.inputs[0]).ok()?.rank();
    let place = model.outlet_fact(node.inputs[1]).ok()?.konst.clone()?;
    let place = place
        .cast_to_scalar::<i64>()
        .ok()
        .filter(|_| place.rank() == 0)?;
    (axis + 2 == rank).then_some((node.inputs[0], place))
}

/// What was reshaped to make `outlet`, or that itself: in memory it is the same.
fn unshaped(model: &TypedModel, outlet: OutletId) -> OutletId {
    let node = model.node(outlet.node);
    match node.op_as::<AxisOp>() {
        Some(AxisOp::Reshape(..)) => node.inputs[0],
        _ => outlet,
    }
}

/// The operation for gates, states and input, if they have the shapes that it asks for.
fn shaped(model: &TypedModel, heard: [OutletId; 3]) -> TractResult<Option<GatedRecurrence>> {
    let [Some(gates), Some(state), Some(input)] = [
        dims_of(model, heard[0])?,
        dims_of(model, heard[1])?,
        dims_of(model, heard[2])?,
    ] else {
        return Ok(None);
    };
    let Some((last, rows)) = state.split_last() else {
        return Ok(None);
    };
    let mut expected: TVec<TDim> = rows.into();
    expected.extend([3.to_dim(), last.clone()]);
    let (true, Ok(width)) = (gates == expected && input == state, last.to_usize()) else {
        return Ok(None);
    };
    Ok(Some(GatedRecurrence {
        width,
        output_shape: state,
    }))
}

struct Run<'a> {
    width: usize,
    gates: &'a [f32],
    state: &'a mut [f32],
    output: &'a mut [f32],
}

impl pulp::WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let width = self.width;
        let rows = self.state.chunks_exact_mut(width);
        let rows = rows.zip(self.output.chunks_exact_mut(width));
        for ((state, output), gates) in rows.zip(self.gates.chunks_exact(3 * width)) {
            let (update, gates) = gates.split_at(width);
            let (candidate, open) = gates.split_at(width);
            for at in 0..width {
                let next = state[at] + sigmoid(update[at]) * (candidate[at] - state[at]);
                state[at] = next;
                // tanh x = 2 sigmoid(2 x) - 1
                output[at] += sigmoid(open[at]) * (2.0 * sigmoid(2.0 * next) - 1.0);
            }
        }
    }
}

impl Op for GatedRecurrence {
    fn name(&self) -> StaticName {
        "GatedRecurrence".into()
    }

    op_as_typed_op!();
}

impl EvalOp for GatedRecurrence {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (gates, state, input) = args_3!(inputs);
        // Written in place when nobody else holds them.
        let (mut state, mut output) = (state.into_tensor(), input.into_tensor());
        pulp::Arch::new().dispatch(Run {
            width: self.width,
            gates: gates.try_as_plain_ram()?.as_slice()?,
            state: state.try_as_plain_ram_mut()?.as_slice_mut()?,
            output: output.try_as_plain_ram_mut()?.as_slice_mut()?,
        });
        Ok(tvec![output.into_tvalue(), state.into_tvalue()])
    }
}

impl TypedOp for GatedRecurrence {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let fact = f32::fact(self.output_shape.as_slice());
        Ok(tvec![fact.clone(), fact])
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;
    use tract_onnx::tract_core::ops::{math, nn::sigmoid as open_gate};

    /// A recurrence of `rows` by `width` with the rows of its gates in `order`, as an export writes
    /// it; the input gives gates, state and input, one after the other.
    fn graph(rows: usize, width: usize, order: [i64; 3]) -> TypedModel {
        let mut model = TypedModel::default();
        let whole = model
            .add_source("all", f32::fact([rows, 5, width]))
            .unwrap();
        let mut part = |name: &str, begin: usize, end: usize| {
            let slice = tract_onnx::tract_core::ops::array::Slice::new(1, begin, end);
            model.wire_node(name, slice, &[whole]).unwrap()[0]
        };
        let (gates, state, input) = (part("gates", 0, 3), part("s", 3, 4), part("x", 4, 5));
        let mut one = |name: &str, op: Box<dyn TypedOp>, heard: &[OutletId]| {
            model.wire_node(name, op, heard).unwrap()[0]
        };
        let state = one("state", Box::new(AxisOp::Rm(1)), &[state]);
        let input = one("input", Box::new(AxisOp::Rm(1)), &[input]);
        let [update, candidate, open] = order.map(|at| {
            let place = model.add_const(format!("place{at}"), tensor0(at)).unwrap();
            let gather = Gather::new(1);
            model
                .wire_node(format!("row{at}"), gather, &[gates, place])
                .unwrap()[0]
        });
        let mut one = |name: &str, op: Box<dyn TypedOp>, heard: &[OutletId]| {
            model.wire_node(name, op, heard).unwrap()[0]
        };
        let update = one("update", Box::new(open_gate()), &[update]);
        let open = one("open", Box::new(open_gate()), &[open]);
        let change = one("change", Box::new(math::sub()), &[candidate, state]);
        let step = one("step", Box::new(math::mul()), &[change, update]);
        let next = one("next", Box::new(math::add()), &[state, step]);
        let shape = one("shape", Box::new(math::tanh()), &[next]);
        let heard = one("heard", Box::new(math::mul()), &[shape, open]);
        let output = one("output", Box::new(math::add()), &[heard, input]);
        let both = one("both", Box::new(math::add()), &[output, next]);
        model.select_output_outlets(&[both]).unwrap();
        model
    }

    #[test]
    fn a_recurrence_equals_the_engines() {
        let mut seed = 3;
        for (rows, width) in [(1, 1), (3, 7), (27, 48), (2, 96)] {
            let input = noise(&mut seed, &[rows, 5, width]);
            let (error, ops) = difference(graph(rows, width, [0, 1, 2]), input);
            assert!(error < 1e-6, "{rows} x {width}: {error}");
            assert!(ops.iter().any(|op| op == "GatedRecurrence"), "{ops:?}");
            assert!(!ops.iter().any(|op| op == "Tanh"), "{ops:?}");
        }
    }

    #[test]
    fn gates_in_another_order_are_left_to_the_engine() {
        let input = noise(&mut 4, &[3, 5, 7]);
        let (error, ops) = difference(graph(3, 7, [1, 0, 2]), input);
        assert!(error < 1e-6, "{error}");
        assert!(!ops.iter().any(|op| op == "GatedRecurrence"), "{ops:?}");
    }
}
