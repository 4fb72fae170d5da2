//! The recurrence of the embedded models ([`crate::engine::recurrence`]) as one operation of tract. An
//! exported graph computes it in ten operations.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::Gather;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;

use super::kernel::{Kernel, impl_op_for_kernel};
use super::linear::Linear;
use super::shape::dims_of;
use crate::engine::recurrence::{LayerRows, layer_scratch, run_gates};

/// Rows of the gates.
const UPDATE: i64 = 0;
const CANDIDATE: i64 = 1;
const OUTPUT_GATE: i64 = 2;

/// The recurrence without the layer that computes its gates: gates [rows, 3, width], state [rows,
/// width] and input [rows, width] to output and next state [rows, width].
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct MinGru {
    width: usize,
    output_shape: TVec<TDim>,
}

/// A recurrence in a graph.
struct Match {
    gates: OutletId,
    state: OutletId,
    input: OutletId,
    next: OutletId,
    output: OutletId,
    op: MinGru,
}

/// Replaces each recurrence of `model` by one [`MinGru`].
pub(super) fn fuse_recurrences(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let Some(found) = find(model, id)? else {
            continue;
        };
        let mut patch = TypedModelPatch::default();
        let inputs = patch.taps(model, &[found.gates, found.state, found.input])?;
        let name = &model.node(found.output.node).name;
        let outputs = patch.wire_node(format!("{name}.recurrence"), found.op, &inputs)?;
        patch.shunt_outside(model, found.output, outputs[0])?;
        patch.shunt_outside(model, found.next, outputs[1])?;
        patch.apply(model)?;
    }
    Ok(())
}

/// The recurrence whose output is node `id`.
fn find(model: &TypedModel, id: usize) -> TractResult<Option<Match>> {
    let output = OutletId::from(id);
    for (input, gated) in commuted_operands(model, output, "Add") {
        for (output_gate, activation) in commuted_operands(model, gated, "Mul") {
            let Some(next) = operand(model, activation, "Tanh") else {
                continue;
            };
            let Some((gates, OUTPUT_GATE)) = sigmoid_of_gate(model, output_gate) else {
                continue;
            };
            for (state, change) in commuted_operands(model, next, "Add") {
                for (update, difference) in commuted_operands(model, change, "Mul") {
                    let Some((candidate, subtracted)) = operands(model, difference, "Sub") else {
                        continue;
                    };
                    let matches = sigmoid_of_gate(model, update) == Some((gates, UPDATE))
                        && gate(model, candidate) == Some((gates, CANDIDATE))
                        && subtracted == state;
                    if let (true, Some(op)) = (matches, MinGru::new(model, gates, state, input)?) {
                        return Ok(Some(Match {
                            gates: before_reshape(model, gates),
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

/// Both operands of the binary operation `name` that computes `outlet`.
fn operands(model: &TypedModel, outlet: OutletId, name: &str) -> Option<(OutletId, OutletId)> {
    let node = model.node(outlet.node);
    let op = node.op_as::<TypedBinOp>()?;
    (op.0.name() == name).then(|| (node.inputs[0], node.inputs[1]))
}

/// [`operands`] in both orders.
fn commuted_operands(
    model: &TypedModel,
    outlet: OutletId,
    name: &str,
) -> impl Iterator<Item = (OutletId, OutletId)> + use<> {
    let found = operands(model, outlet, name);
    found.into_iter().flat_map(|(a, b)| [(a, b), (b, a)])
}

/// The operand of the unary operation `name` that computes `outlet`.
fn operand(model: &TypedModel, outlet: OutletId, name: &str) -> Option<OutletId> {
    let node = model.node(outlet.node);
    let op = node.op_as::<ElementWiseOp>()?;
    (op.name() == name).then(|| node.inputs[0])
}

/// The gates and the row of the gate whose sigmoid is `outlet`.
fn sigmoid_of_gate(model: &TypedModel, outlet: OutletId) -> Option<(OutletId, i64)> {
    gate(model, operand(model, outlet, "Sigmoid")?)
}

/// The gates and the row of the gate `outlet`. Rows are along the last axis but one.
fn gate(model: &TypedModel, outlet: OutletId) -> Option<(OutletId, i64)> {
    let node = model.node(outlet.node);
    let axis = node.op_as::<Gather>()?.axis;
    let rank = model.outlet_fact(node.inputs[0]).ok()?.rank();
    let row = model.outlet_fact(node.inputs[1]).ok()?.konst.clone()?;
    let row = row
        .cast_to_scalar::<i64>()
        .ok()
        .filter(|_| row.rank() == 0)?;
    (axis + 2 == rank).then_some((node.inputs[0], row))
}

/// The input of the reshape that computes `outlet`, or `outlet` itself. Both are the same in memory.
fn before_reshape(model: &TypedModel, outlet: OutletId) -> OutletId {
    let node = model.node(outlet.node);
    match node.op_as::<AxisOp>() {
        Some(AxisOp::Reshape(..)) => node.inputs[0],
        _ => outlet,
    }
}

/// If `node` is a recurrence and a layer computes its gates from the same input: the inputs of both,
/// which are input and state, and both as one operation.
pub(super) fn fuse_gates(
    model: &TypedModel,
    node: &TypedNode,
) -> TractResult<Option<([OutletId; 2], FusedMinGru)>> {
    let Some(recurrence) = node.op_as::<MinGru>() else {
        return Ok(None);
    };
    let [gates, state, input] = node.inputs[..] else {
        return Ok(None);
    };
    let layer = model.node(gates.node);
    let is_sole = model.outlet_successors(gates).len() == 1 && !model.outputs.contains(&gates);
    let (Some(linear), true) = (layer.op_as::<Linear>(), is_sole) else {
        return Ok(None);
    };
    let fused = FusedMinGru {
        gates: linear.clone(),
        recurrence: recurrence.clone(),
    };
    let width = recurrence.width;
    let fits =
        *layer.inputs == [input] && linear.has_row_input() && linear.sizes() == [width, 3 * width];
    Ok(fits.then_some(([input, state], fused)))
}

impl MinGru {
    /// The operation for gates, state and input, if they have its shapes.
    fn new(
        model: &TypedModel,
        gates: OutletId,
        state: OutletId,
        input: OutletId,
    ) -> TractResult<Option<Self>> {
        let (Some(gates), Some(state), Some(input)) = (
            dims_of(model, gates)?,
            dims_of(model, state)?,
            dims_of(model, input)?,
        ) else {
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
        Ok(Some(Self {
            width,
            output_shape: state,
        }))
    }
}

impl_op_for_kernel!(MinGru);

impl Kernel for MinGru {
    fn name(&self) -> &'static str {
        "MinGru"
    }

    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (gates, state, input) = args_3!(inputs);
        // In place if the tensors have no other owner.
        let (mut state, mut output) = (state.into_tensor(), input.into_tensor());
        run_gates(
            self.width,
            gates.try_as_plain_ram()?.as_slice()?,
            state.try_as_plain_ram_mut()?.as_slice_mut()?,
            output.try_as_plain_ram_mut()?.as_slice_mut()?,
        );
        Ok(tvec![output.into_tvalue(), state.into_tvalue()])
    }

    fn output_facts(&self, _: &[&TypedFact]) -> TVec<TypedFact> {
        let fact = f32::fact(self.output_shape.as_slice());
        tvec![fact.clone(), fact]
    }
}

/// The layer that computes the gates, and the recurrence. The gates of a tile of rows are used while
/// they are in the cache; there is no tensor of all gates.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct FusedMinGru {
    gates: Linear,
    recurrence: MinGru,
}

impl_op_for_kernel!(FusedMinGru);

impl Kernel for FusedMinGru {
    fn name(&self) -> &'static str {
        "FusedMinGru"
    }

    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (input, state) = args_2!(inputs);
        // In place if the tensors have no other owner.
        let (mut state, mut output) = (state.into_tensor(), input.into_tensor());
        let width = self.recurrence.width;
        let [gates_len, scratch_len] = layer_scratch(width, state.len() / width);
        {
            let (mut state, mut output) = (
                state.try_as_plain_ram_mut()?,
                output.try_as_plain_ram_mut()?,
            );
            self.gates.visit(LayerRows {
                width,
                gates: &mut vec![0.0; gates_len],
                scratch: &mut vec![0; scratch_len],
                states: state.as_slice_mut()?.chunks_exact_mut(width),
                output: output.as_slice_mut()?,
            });
        }
        Ok(tvec![output.into_tvalue(), state.into_tvalue()])
    }

    fn output_facts(&self, inputs: &[&TypedFact]) -> TVec<TypedFact> {
        Kernel::output_facts(&self.recurrence, inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;
    use tract_onnx::tract_core::ops::{math, nn::sigmoid};

    /// `parts` of [rows, parts, width], from `begin` on.
    fn part(model: &mut TypedModel, combined: OutletId, begin: usize, parts: usize) -> OutletId {
        let name = format!("part{begin}");
        let slice = tract_onnx::tract_core::ops::array::Slice::new(1, begin, begin + parts);
        let part = model.wire_node(&name, slice, &[combined]).unwrap()[0];
        if parts > 1 {
            return part;
        }
        model
            .wire_node(name + ".row", AxisOp::Rm(1), &[part])
            .unwrap()[0]
    }

    /// The sum of a recurrence's output and next state, in the operations of an export, with the
    /// rows of the gates in `order`.
    fn recurrence(model: &mut TypedModel, [gates, state, input]: [OutletId; 3], order: [i64; 3]) {
        let [update, candidate, output_gate] = order.map(|at| {
            let row = model
                .add_const(format!("row_index{at}"), tensor0(at))
                .unwrap();
            let gather = Gather::new(1);
            model
                .wire_node(format!("row{at}"), gather, &[gates, row])
                .unwrap()[0]
        });
        let mut one = |name: &str, op: Box<dyn TypedOp>, inputs: &[OutletId]| {
            model.wire_node(name, op, inputs).unwrap()[0]
        };
        let update = one("update", Box::new(sigmoid()), &[update]);
        let output_gate = one("output_gate", Box::new(sigmoid()), &[output_gate]);
        let difference = one("difference", Box::new(math::sub()), &[candidate, state]);
        let change = one("change", Box::new(math::mul()), &[difference, update]);
        let next = one("next", Box::new(math::add()), &[state, change]);
        let activation = one("activation", Box::new(math::tanh()), &[next]);
        let gated = one("gated", Box::new(math::mul()), &[activation, output_gate]);
        let output = one("output", Box::new(math::add()), &[gated, input]);
        let sum = one("sum", Box::new(math::add()), &[output, next]);
        model.select_output_outlets(&[sum]).unwrap();
    }

    /// A recurrence of [rows, width] whose gates, state and input are parts of one input.
    fn graph(rows: usize, width: usize, order: [i64; 3]) -> TypedModel {
        let mut model = TypedModel::default();
        let shape = f32::fact([rows, 5, width]);
        let combined = model.add_source("all", shape).unwrap();
        let parts = [(0, 3), (3, 1), (4, 1)].map(|(at, len)| part(&mut model, combined, at, len));
        recurrence(&mut model, parts, order);
        model
    }

    /// The same with a layer that computes the gates from the input, or from the state.
    fn layered(rows: usize, width: usize, from_state: bool) -> TypedModel {
        let mut model = TypedModel::default();
        let shape = f32::fact([rows, 2, width]);
        let combined = model.add_source("all", shape).unwrap();
        let [input, state] = [0, 1].map(|at| part(&mut model, combined, at, 1));
        let mut seed = 6;
        let mut constant =
            |name: &str, shape: &[usize]| model.add_const(name, noise(&mut seed, shape)).unwrap();
        let weights = constant("weights", &[width, 3 * width]);
        let bias = constant("bias", &[1, 3 * width]);
        let product = "mk,kn->mn".parse().unwrap();
        let product = tract_onnx::tract_core::ops::einsum::EinSum::new(product, f32::datum_type());
        let mut one = |name: &str, op: Box<dyn TypedOp>, inputs: &[OutletId]| {
            model.wire_node(name, op, inputs).unwrap()[0]
        };
        let source = if from_state { state } else { input };
        let gates = one("product", Box::new(product), &[source, weights]);
        let gates = one("gates", Box::new(math::add()), &[gates, bias]);
        let shapes = [
            tvec![(3 * width).to_dim()],
            tvec![3.to_dim(), width.to_dim()],
        ];
        let [from, to] = shapes;
        let gates = one("rows", Box::new(AxisOp::Reshape(1, from, to)), &[gates]);
        recurrence(&mut model, [gates, state, input], [0, 1, 2]);
        model
    }

    #[test]
    fn a_layer_that_computes_the_gates_is_fused() {
        let mut seed = 2;
        for (rows, width) in [(2, 7), (8, 16), (27, 48), (13, 96)] {
            let input = noise(&mut seed, &[rows, 2, width]);
            let (error, ops) = difference(layered(rows, width, false), input.clone());
            assert!(error < 1e-3, "{rows} x {width}: {error}");
            assert!(ops.iter().any(|op| op == "FusedMinGru"), "{ops:?}");
            assert!(!ops.iter().any(|op| op == "Linear"), "{ops:?}");
            let (error, ops) = difference(layered(rows, width, true), input);
            assert!(error < 1e-3, "{rows} x {width}: {error}");
            assert!(ops.iter().any(|op| op == "MinGru"), "{ops:?}");
        }
    }

    #[test]
    fn a_recurrence_equals_that_of_tract() {
        let mut seed = 3;
        for (rows, width) in [(1, 1), (3, 7), (27, 48), (2, 96)] {
            let input = noise(&mut seed, &[rows, 5, width]);
            let (error, ops) = difference(graph(rows, width, [0, 1, 2]), input);
            assert!(error < 1e-6, "{rows} x {width}: {error}");
            assert!(ops.iter().any(|op| op == "MinGru"), "{ops:?}");
            assert!(!ops.iter().any(|op| op == "Tanh"), "{ops:?}");
        }
    }

    #[test]
    fn gates_in_another_order_are_not_fused() {
        let input = noise(&mut 4, &[3, 5, 7]);
        let (error, ops) = difference(graph(3, 7, [1, 0, 2]), input);
        assert!(error < 1e-6, "{error}");
        assert!(!ops.iter().any(|op| op == "MinGru"), "{ops:?}");
    }
}
