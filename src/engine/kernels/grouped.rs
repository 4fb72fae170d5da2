//! Linear layers in groups, and which products are what.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::einsum::EinSum;

use super::linear::Linear;
use super::{Wide, add_product, add_scaled, dims_of, run_wide};

/// Outputs of a group whose sums stay in registers.
const LANES: usize = 16;

/// A linear layer whose inputs and outputs come in groups: [group, in] to [group, out].
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
struct GroupedLinear {
    group: usize,
    inputs: usize,
    outputs: usize,
    /// whether the input is [in, group]
    across: bool,
    output_shape: TVec<usize>,
    /// [group, in, out]
    weights: Arc<Tensor>,
}

/// A product with constant weights: of one row in groups, or of any rows in one.
pub(super) fn linear(
    model: &TypedModel,
    node: &TypedNode,
    op: &EinSum,
) -> TractResult<Option<Box<dyn TypedOp>>> {
    if node.inputs.len() != 2 || op.q_params.is_some() {
        return Ok(None);
    }
    let weights = model.outlet_fact(node.inputs[1])?.konst.clone();
    let weights = weights.filter(|t| t.datum_type() == f32::datum_type());
    let (Some(weights), Some(input), Some(output_shape)) = (
        weights,
        dims_of(model, node.inputs[0])?,
        dims_of(model, node.id.into())?,
    ) else {
        return Ok(None);
    };
    // Axes by where they are; those of size one are in nobody's way.
    let place = |at: &TVec<usize>| at.first().copied();
    let (mut group, mut said) = (None, None);
    let mut heard: TVec<(usize, usize)> = tvec![];
    let mut rows: TVec<(usize, usize)> = tvec![];
    for axis in op.axes.iter_all_axes() {
        let all = axis.inputs.iter().chain(&axis.outputs);
        if all.clone().any(|at| at.len() > 1) {
            return Ok(None);
        }
        let (a, b, c) = (
            place(&axis.inputs[0]),
            place(&axis.inputs[1]),
            place(&axis.outputs[0]),
        );
        let is_one = |at: Option<usize>, dims: &[TDim]| at.is_none_or(|at| dims[at].is_one());
        let weight = b.map_or(1, |at| weights.shape()[at]);
        if is_one(a, &input) && is_one(c, &output_shape) && weight == 1 {
            continue;
        }
        let slot = match (a, b, c) {
            (Some(a), Some(b), Some(c)) => (&mut group, (a, b, c)),
            (Some(a), Some(b), None) => {
                heard.push((a, b));
                continue;
            }
            (None, Some(b), Some(c)) => (&mut said, (0, b, c)),
            (Some(a), None, Some(c)) => {
                rows.push((a, c));
                continue;
            }
            _ => return Ok(None),
        };
        if slot.0.replace(slot.1).is_some() {
            return Ok(None);
        }
    }
    heard.sort_unstable();
    let (Some(&first), Some(&last)) = (heard.first(), heard.last()) else {
        return Ok(None);
    };
    let permuted = |axes: &[usize]| -> TractResult<Tensor> {
        let rest = (0..weights.rank()).filter(|at| !axes.contains(at));
        let order: Vec<usize> = rest.chain(axes.iter().copied()).collect();
        (*weights).clone().permute_axes(&order)
    };
    let Some(group) = group else {
        let inputs: usize = heard.iter().map(|heard| weights.shape()[heard.1]).product();
        let outputs = weights.len() / inputs;
        // In memory a row's numbers lie together, and rows in the same order on both sides.
        rows.sort_unstable();
        let apart = |rows: &(usize, usize)| {
            rows.0 > first.0 && inputs > 1 || said.is_some_and(|said| rows.1 > said.2)
        };
        let unknown = rows
            .iter()
            .filter(|rows| output_shape[rows.1].to_usize().is_err());
        if rows.iter().any(apart) || !rows.is_sorted_by_key(|rows| rows.1) || unknown.count() > 1 {
            return Ok(None);
        }
        let axes: TVec<usize> = (heard.iter().map(|heard| heard.1))
            .chain(said.map(|said| said.1))
            .collect();
        let weights = permuted(&axes)?;
        let rows = rows.iter().map(|rows| rows.1).collect();
        let linear = Linear::new(&weights, [inputs, outputs], output_shape, rows)?;
        return Ok(linear.map(|op| Box::new(op) as _));
    };
    let (Some(said), true) = (said, first == last) else {
        return Ok(None);
    };
    let output_shape: Option<TVec<usize>> =
        output_shape.iter().map(|dim| dim.to_usize().ok()).collect();
    let Some(output_shape) = output_shape.filter(|_| rows.is_empty()) else {
        return Ok(None);
    };
    // What is said is [group, number] in memory; what is heard may lie either way.
    if group.2 > said.2 {
        return Ok(None);
    }
    let shape = weights.shape();
    Ok(Some(Box::new(GroupedLinear {
        group: shape[group.1],
        inputs: shape[first.1],
        outputs: shape[said.1],
        across: group.0 > first.0,
        output_shape,
        weights: permuted(&[group.1, first.1, said.1])?.into_arc_tensor(),
    })))
}

impl GroupedLinear {
    #[inline(always)]
    fn run<S: pulp::Simd>(&self, input: &[f32], weights: &[f32], output: &mut [f32]) {
        // Where a group's numbers begin, and how far apart they are.
        let (begin, apart) = if self.across {
            (1, self.group)
        } else {
            (self.inputs, 1)
        };
        let groups = weights.chunks_exact(self.inputs * self.outputs);
        let groups = groups.zip(output.chunks_exact_mut(self.outputs));
        for (group, (weights, output)) in groups.enumerate() {
            let input = &input[group * begin..];
            let (blocks, rest) = output.as_chunks_mut::<LANES>();
            let known = blocks.len() * LANES;
            for (block, output) in blocks.iter_mut().enumerate() {
                // Two sums, for each product waits for the sum before it.
                let (mut even, mut odd) = ([0.0f32; LANES], [0.0f32; LANES]);
                for at in 0..self.inputs / 2 {
                    let first = &weights[2 * at * self.outputs + block * LANES..];
                    let second = first[self.outputs..].first_chunk::<LANES>();
                    let first = first.first_chunk::<LANES>();
                    let (Some(first), Some(second)) = (first, second) else {
                        break; // never: whole blocks come first
                    };
                    let (x, y) = (input[2 * at * apart], input[(2 * at + 1) * apart]);
                    for lane in 0..LANES {
                        even[lane] = add_product::<S>(even[lane], x, first[lane]);
                        odd[lane] = add_product::<S>(odd[lane], y, second[lane]);
                    }
                }
                for lane in 0..LANES {
                    output[lane] = even[lane] + odd[lane];
                }
                if self.inputs % 2 == 1 {
                    let last = self.inputs - 1;
                    let row = &weights[last * self.outputs + block * LANES..];
                    add_scaled::<S>(input[last * apart], row, output);
                }
            }
            for (at, row) in weights.chunks_exact(self.outputs).enumerate() {
                add_scaled::<S>(input[at * apart], &row[known..], rest);
            }
        }
    }
}

impl pulp::WithSimd for Wide<'_, GroupedLinear> {
    type Output = TractResult<()>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> TractResult<()> {
        self.op.run::<S>(self.input, self.weights, self.output);
        Ok(())
    }
}

impl Op for GroupedLinear {
    fn name(&self) -> StaticName {
        "GroupedLinear".into()
    }

    op_as_typed_op!();
}

impl EvalOp for GroupedLinear {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        run_wide(self, &self.output_shape, &inputs[0], &self.weights)
    }
}

impl TypedOp for GroupedLinear {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec![f32::fact(&self.output_shape)])
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    fn product(axes: &str, input: &[usize], weights: &[usize]) -> (f32, Vec<String>) {
        let mut seed = 3;
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact(input)).unwrap();
        let weights = model.add_const("w", noise(&mut seed, weights)).unwrap();
        let op = EinSum::new(axes.parse().unwrap(), f32::datum_type());
        let out = model.wire_node("product", op, &[x, weights]).unwrap();
        model.select_output_outlets(&out).unwrap();
        difference(model, noise(&mut seed, input))
    }

    #[test]
    fn layers_in_groups_equal_the_engines() {
        for (input, outputs) in [(16, 32), (7, 16), (33, 60), (5, 3)] {
            for (axes, shape) in [
                ("btgi,gih->btgh", [1, 1, 4, input]),
                ("btig,gih->btgh", [1, 1, input, 4]),
            ] {
                let (difference, names) = product(axes, &shape, &[4, input, outputs]);
                assert!(difference < 1e-5, "{axes} {input} {outputs}: {difference}");
                assert_eq!(names, ["GroupedLinear"], "{axes} {input} {outputs}");
            }
        }
    }

    #[test]
    fn large_layers_are_right_to_fourteen_bits() {
        for (axes, weights) in [
            ("mk,kn->mn", [300, 130]),
            ("mk,nk->mn", [130, 300]),
            ("mk,kn->n", [128, 192]),
        ] {
            let inputs = weights[usize::from(axes.contains("nk"))];
            let (difference, names) = product(axes, &[1, inputs], &weights);
            // Sums of hundreds of products of numbers up to one.
            assert!(difference < 1.5e-3, "{axes}: {difference}");
            assert_eq!(names, ["Linear"], "{axes}");
        }
        let (difference, names) = product("mk,kn->mn", &[1, 32], &[32, 32]);
        assert!(difference == 0.0 && names == ["EinSum"], "{names:?}");
        let (difference, names) = product("mk,kn->mn", &[37, 300], &[300, 130]);
        assert!(difference < 1.5e-3, "37 rows: {difference}");
        assert_eq!(names, ["Linear"]);
    }

    #[test]
    fn rows_and_numbers_heard_may_have_several_axes() {
        for (axes, input, weights) in [
            ("amk,kn->amn", &[3, 27, 48][..], &[48, 144][..]),
            ("mak,akn->mn", &[3, 27, 16], &[27, 16, 96]),
            ("mka,akn->mn", &[1, 16, 27], &[27, 16, 96]),
        ] {
            let (difference, names) = product(axes, input, weights);
            assert!(difference < 1.5e-3, "{axes}: {difference}");
            assert_eq!(names, ["Linear"], "{axes}");
        }
        let (difference, names) = product("amk,kn->man", &[3, 27, 48], &[48, 144]);
        assert!(difference < 1e-5, "{difference}");
        assert_ne!(names, ["Linear"], "rows in another order");
    }
}
