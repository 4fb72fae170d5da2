//! A gated recurrence in one operation: what a graph says in ten, each with a tensor of its own.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::Gather;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;

use super::linear::{Layer, Linear, TILE, WithLayer};
use super::{add_product, dims_of};

/// The rows of the gates, in this order.
const UPDATE: i64 = 0;
const CANDIDATE: i64 = 1;
const OPEN: i64 = 2;

/// Gates [rows, 3 * width], states and input [rows, width] to the output and the next states:
/// `state + sigmoid(update) * (candidate - state)`, and `input + sigmoid(open) * tanh(that)`.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct GatedRecurrence {
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

/// The recurrence `node` and the layer that makes its gates, if that hears what the recurrence
/// does: what both hear, the states, and both in one.
pub(super) fn with_gates(
    model: &TypedModel,
    node: &TypedNode,
) -> TractResult<Option<([OutletId; 2], GatedLayer)>> {
    let Some(recurrence) = node.op_as::<GatedRecurrence>() else {
        return Ok(None);
    };
    let [gates, state, input] = node.inputs[..] else {
        return Ok(None);
    };
    let layer = model.node(gates.node);
    let alone = model.outlet_successors(gates).len() == 1 && !model.outputs.contains(&gates);
    let (Some(linear), true) = (layer.op_as::<Linear>(), alone) else {
        return Ok(None);
    };
    let both = GatedLayer {
        gates: linear.clone(),
        recurrence: recurrence.clone(),
    };
    let fits = *layer.inputs == [input] && linear.sizes() == both.sizes();
    Ok(fits.then_some(([input, state], both)))
}

/// One row: gates [3 * width], state and what becomes the output [width].
#[inline(always)]
fn step<S: pulp::Simd>(gates: &[f32], state: &mut [f32], output: &mut [f32]) {
    let width = state.len();
    let (update, gates) = gates.split_at(width);
    let (candidate, open) = gates.split_at(width);
    let (candidate, open) = (&candidate[..width], &open[..width]);
    let output = &mut output[..width];
    for at in 0..width {
        let share = 1.0 / (1.0 + fading::<S>(update[at], 1.0));
        let next = add_product::<S>(state[at], share, candidate[at] - state[at]);
        state[at] = next;
        // sigmoid(open) * tanh(next), with one division.
        let shape = fading::<S>(next, 2.0);
        let open = fading::<S>(open[at], 1.0);
        output[at] += (1.0 - shape) / ((1.0 + shape) * (1.0 + open));
    }
}

/// e^(-`rate` x), between 2^-60 and 2^60, so that products of two are finite: a power of two and a
/// polynomial for what is left, fitted to 2^x within half of 0 (to 2e-7).
#[inline(always)]
fn fading<S: pulp::Simd>(x: f32, rate: f32) -> f32 {
    // Adding and taking away 1.5 x 2^23 rounds to the nearest whole number.
    const ROUNDER: f32 = 12_582_912.0;
    let x = (x * (-rate * std::f32::consts::LOG2_E)).clamp(-60.0, 60.0);
    let shifted = x + ROUNDER;
    let rest = x - (shifted - ROUNDER);
    let mut sum = 1.327_648_2e-3;
    for factor in [
        9.675_547e-3,
        5.550_713_5e-2,
        2.402_212e-1,
        6.931_469e-1,
        1.000_000_1,
    ] {
        sum = add_product::<S>(factor, sum, rest);
    }
    let power = shifted.to_bits().wrapping_sub(ROUNDER.to_bits());
    sum * f32::from_bits(power.wrapping_add(127) << 23)
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
        let rows = self.state.chunks_exact_mut(self.width);
        let rows = rows.zip(self.output.chunks_exact_mut(self.width));
        for ((state, output), gates) in rows.zip(self.gates.chunks_exact(3 * self.width)) {
            step::<S>(gates, state, output);
        }
    }
}

/// A layer that makes the gates, and their recurrence: a tile's gates are used while they are in
/// the cache, and lie nowhere else.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct GatedLayer {
    gates: Linear,
    recurrence: GatedRecurrence,
}

impl GatedLayer {
    /// Numbers that the layer hears and makes.
    fn sizes(&self) -> [usize; 2] {
        [self.recurrence.width, 3 * self.recurrence.width]
    }
}

/// What a gated layer works on.
struct GatedRows<'a> {
    width: usize,
    /// room for the gates of a tile
    gates: &'a mut [f32],
    state: &'a mut [f32],
    /// at first what is heard
    output: &'a mut [f32],
}

impl WithLayer for GatedRows<'_> {
    #[inline(always)]
    fn with_layer<S: pulp::Simd>(self, simd: S, layer: &impl Layer<S>) {
        let width = self.width;
        let tiles = self.state.chunks_mut(TILE * width);
        for (state, output) in tiles.zip(self.output.chunks_mut(TILE * width)) {
            let gates = &mut self.gates[..3 * state.len()];
            layer.run(simd, output, gates);
            let recurrence = Run {
                width,
                gates,
                state,
                output,
            };
            pulp::WithSimd::with_simd(recurrence, simd);
        }
    }
}

impl Op for GatedLayer {
    fn name(&self) -> StaticName {
        "GatedLayer".into()
    }

    op_as_typed_op!();
}

impl EvalOp for GatedLayer {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (input, state) = args_2!(inputs);
        // Written in place when nobody else holds them.
        let (mut state, mut output) = (state.into_tensor(), input.into_tensor());
        let width = self.recurrence.width;
        let mut gates = Tensor::zero::<f32>(&[TILE.min(state.len() / width), 3 * width])?;
        {
            let (mut gates, mut state, mut output) = (
                gates.try_as_plain_ram_mut()?,
                state.try_as_plain_ram_mut()?,
                output.try_as_plain_ram_mut()?,
            );
            let (gates, state) = (gates.as_slice_mut()?, state.as_slice_mut()?);
            let output = output.as_slice_mut()?;
            self.gates.with_layer(GatedRows {
                width,
                gates,
                state,
                output,
            })?;
        }
        Ok(tvec![output.into_tvalue(), state.into_tvalue()])
    }
}

impl TypedOp for GatedLayer {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.recurrence.output_facts(inputs)
    }

    as_op!();
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

    /// Parts of [rows, parts, width]: from one on, so many.
    fn part(model: &mut TypedModel, whole: OutletId, begin: usize, parts: usize) -> OutletId {
        let name = format!("part{begin}");
        let slice = tract_onnx::tract_core::ops::array::Slice::new(1, begin, begin + parts);
        let part = model.wire_node(&name, slice, &[whole]).unwrap()[0];
        if parts > 1 {
            return part;
        }
        model
            .wire_node(name + ".row", AxisOp::Rm(1), &[part])
            .unwrap()[0]
    }

    /// What a recurrence says and keeps, added up, as an export writes it, with the rows of its
    /// gates in `order`.
    fn recurrence(model: &mut TypedModel, [gates, state, input]: [OutletId; 3], order: [i64; 3]) {
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
    }

    /// A recurrence of `rows` by `width` whose input gives gates, state and input, one after the
    /// other.
    fn graph(rows: usize, width: usize, order: [i64; 3]) -> TypedModel {
        let mut model = TypedModel::default();
        let shape = f32::fact([rows, 5, width]);
        let whole = model.add_source("all", shape).unwrap();
        let heard = [(0, 3), (3, 1), (4, 1)].map(|(at, parts)| part(&mut model, whole, at, parts));
        recurrence(&mut model, heard, order);
        model
    }

    /// The same whose gates are made of its input, or of its state.
    fn layered(rows: usize, width: usize, of_state: bool) -> TypedModel {
        let mut model = TypedModel::default();
        let shape = f32::fact([rows, 2, width]);
        let whole = model.add_source("all", shape).unwrap();
        let [input, state] = [0, 1].map(|at| part(&mut model, whole, at, 1));
        let mut seed = 6;
        let mut constant =
            |name: &str, shape: &[usize]| model.add_const(name, noise(&mut seed, shape)).unwrap();
        let weights = constant("weights", &[width, 3 * width]);
        let bias = constant("bias", &[1, 3 * width]);
        let product = "mk,kn->mn".parse().unwrap();
        let product = tract_onnx::tract_core::ops::einsum::EinSum::new(product, f32::datum_type());
        let mut one = |name: &str, op: Box<dyn TypedOp>, heard: &[OutletId]| {
            model.wire_node(name, op, heard).unwrap()[0]
        };
        let heard = if of_state { state } else { input };
        let gates = one("product", Box::new(product), &[heard, weights]);
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
    fn a_layer_that_makes_the_gates_joins_them() {
        let mut seed = 2;
        for (rows, width) in [(2, 7), (8, 16), (27, 48), (13, 96)] {
            let input = noise(&mut seed, &[rows, 2, width]);
            let (error, ops) = difference(layered(rows, width, false), input.clone());
            assert!(error < 1e-3, "{rows} x {width}: {error}");
            assert!(ops.iter().any(|op| op == "GatedLayer"), "{ops:?}");
            assert!(!ops.iter().any(|op| op == "Linear"), "{ops:?}");
            let (error, ops) = difference(layered(rows, width, true), input);
            assert!(error < 1e-3, "{rows} x {width}: {error}");
            assert!(ops.iter().any(|op| op == "GatedRecurrence"), "{ops:?}");
        }
    }

    #[test]
    fn exponentials_are_right() {
        for at in -400..=400 {
            let x = at as f32 * 0.1;
            let expected = (-f64::from(x)).exp();
            let error = (f64::from(fading::<pulp::Scalar>(x, 1.0)) / expected - 1.0).abs();
            assert!(error < 2e-7 * f64::from(x.abs()).max(2.0), "{x}: {error}");
        }
        let ends = [-1e9, 1e9].map(|x| fading::<pulp::Scalar>(x, 2.0));
        assert_eq!(
            ends,
            [2.0f32.powi(60), 2.0f32.powi(-60)].map(|end| end * 1.000_000_1)
        );
        assert!(fading::<pulp::Scalar>(f32::NAN, 1.0).is_nan());
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
