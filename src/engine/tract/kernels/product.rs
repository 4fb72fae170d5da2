//! Chooses the kernel for a product with constant weights by its axes.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::einsum::EinSum;

use super::grouped::GroupedLinear;
use super::linear::Linear;
use super::pointwise::Pointwise;
use super::shape::dims_of;

/// The axes of a product by their positions; axes of size 1 are left out.
#[derive(Default)]
struct Axes {
    /// of input, weights and output
    group: Option<(usize, usize, usize)>,
    /// sums: of input and weights, in the order of the input
    inputs: TVec<(usize, usize)>,
    /// of weights and output
    outputs: Option<(usize, usize)>,
    /// of input and output
    rows: TVec<(usize, usize)>,
}

impl Axes {
    /// `None` for a product that is no linear layer.
    fn new(op: &EinSum, input: &[TDim], weights: &Tensor, output: &[TDim]) -> Option<Self> {
        let mut axes = Self::default();
        for axis in op.axes.iter_all_axes() {
            let mut all = axis.inputs.iter().chain(&axis.outputs);
            if all.any(|at| at.len() > 1) {
                return None;
            }
            let position = |at: &TVec<usize>| at.first().copied();
            let (a, b, c) = (
                position(&axis.inputs[0]),
                position(&axis.inputs[1]),
                position(&axis.outputs[0]),
            );
            let is_one = |at: Option<usize>, dims: &[TDim]| at.is_none_or(|at| dims[at].is_one());
            let weight = b.map_or(1, |at| weights.shape()[at]);
            if is_one(a, input) && is_one(c, output) && weight == 1 {
                continue;
            }
            let is_repeated = match (a, b, c) {
                (Some(a), Some(b), Some(c)) => axes.group.replace((a, b, c)).is_some(),
                (None, Some(b), Some(c)) => axes.outputs.replace((b, c)).is_some(),
                (Some(a), Some(b), None) => {
                    axes.inputs.push((a, b));
                    false
                }
                (Some(a), None, Some(c)) => {
                    axes.rows.push((a, c));
                    false
                }
                _ => return None,
            };
            if is_repeated {
                return None;
            }
        }
        axes.inputs.sort_unstable();
        // In memory, rows are in the same order on both sides.
        axes.rows.sort_unstable();
        Some(axes)
    }
}

/// The kernel for a product with constant weights: of any number of rows, of one row in groups, or of columns.
pub(super) fn product(
    model: &TypedModel,
    node: &TypedNode,
    op: &EinSum,
) -> TractResult<Option<Box<dyn TypedOp>>> {
    if node.inputs.len() != 2 || op.q_params.is_some() {
        return Ok(None);
    }
    let weights = model.outlet_fact(node.inputs[1])?.konst.clone();
    let weights = weights.filter(|t| t.datum_type() == f32::datum_type());
    let (Some(weights), Some(input), Some(output)) = (
        weights,
        dims_of(model, node.inputs[0])?,
        dims_of(model, node.id.into())?,
    ) else {
        return Ok(None);
    };
    let Some(axes) = Axes::new(op, &input, &weights, &output) else {
        return Ok(None);
    };
    if axes.group.is_some() {
        Ok(grouped(&axes, &weights, &output)?.map(|op| Box::new(op) as _))
    } else if let Some(op) = pointwise(&axes, &weights, &input, &output)? {
        Ok(Some(Box::new(op)))
    } else {
        Ok(linear(&axes, &weights, output)?.map(|op| Box::new(op) as _))
    }
}

fn linear(axes: &Axes, weights: &Tensor, output: TVec<TDim>) -> TractResult<Option<Linear>> {
    let Axes {
        inputs,
        outputs,
        rows,
        ..
    } = axes;
    let Some(&(first_input, _)) = inputs.first() else {
        return Ok(None);
    };
    let input_len: usize = inputs
        .iter()
        .map(|input| weights.shape()[input.1])
        .product();
    let output_len = weights.len() / input_len;
    // In memory, the numbers of a row are contiguous, or all rows come after an only input.
    let is_transposed =
        inputs.len() == 1 && input_len > 1 && rows.iter().any(|(a, _)| *a > first_input);
    let is_split = |(a, c): &(usize, usize)| {
        (*a > first_input) != is_transposed && input_len > 1
            || outputs.is_some_and(|outputs| *c > outputs.1)
    };
    let unknown = rows.iter().filter(|(_, c)| output[*c].to_usize().is_err());
    if rows.iter().any(is_split) || !rows.is_sorted_by_key(|(_, c)| c) || unknown.count() > 1 {
        return Ok(None);
    }
    let order: TVec<usize> = (inputs.iter().map(|(_, b)| *b))
        .chain(outputs.map(|(b, _)| b))
        .collect();
    let weights = with_last_axes(weights, &order)?;
    let sizes = [input_len, output_len];
    let linear = Linear::new(&weights, sizes, output, !rows.is_empty())?;
    Ok(match linear {
        Some(linear) if is_transposed => Some(linear.with_transposed_input()),
        linear => linear,
    })
}

fn grouped(axes: &Axes, weights: &Tensor, output: &[TDim]) -> TractResult<Option<GroupedLinear>> {
    let (Some(group), [input], Some(outputs), []) =
        (axes.group, &axes.inputs[..], axes.outputs, &axes.rows[..])
    else {
        return Ok(None);
    };
    let output_shape: Option<TVec<usize>> = output.iter().map(|dim| dim.to_usize().ok()).collect();
    // In memory the output is [group, output]. The input may have either order.
    let (Some(output_shape), true) = (output_shape, group.2 < outputs.1) else {
        return Ok(None);
    };
    let shape = weights.shape();
    Ok(Some(GroupedLinear {
        groups: shape[group.1],
        inputs: shape[input.1],
        outputs: shape[outputs.0],
        is_input_transposed: group.0 > input.0,
        output_shape,
        weights: with_last_axes(weights, &[group.1, input.1, outputs.0])?.into_arc_tensor(),
    }))
}

fn pointwise(
    axes: &Axes,
    weights: &Tensor,
    input: &[TDim],
    output: &[TDim],
) -> TractResult<Option<Pointwise>> {
    let ([(input_at, inputs)], Some((outputs, output_at))) = (&axes.inputs[..], axes.outputs)
    else {
        return Ok(None);
    };
    let sizes = |dims: &[TDim]| -> Option<TVec<usize>> {
        dims.iter().map(|dim| dim.to_usize().ok()).collect()
    };
    let (Some(input), Some(output_shape)) = (sizes(input), sizes(output)) else {
        return Ok(None);
    };
    // In memory, the columns come after the channels, on both sides and in the same order.
    let is_last = |(a, c): &(usize, usize)| a > input_at && *c > output_at;
    if axes.rows.is_empty()
        || !axes.rows.iter().all(is_last)
        || !axes.rows.is_sorted_by_key(|(_, c)| c)
    {
        return Ok(None);
    }
    let columns: usize = axes.rows.iter().map(|(a, _)| input[*a]).product();
    let shape = weights.shape();
    let sizes = [1, shape[*inputs], shape[outputs], columns];
    if sizes.contains(&0) || weights.len() != sizes[1] * sizes[2] {
        return Ok(None);
    }
    let weights = with_last_axes(weights, &[*inputs, outputs])?;
    let weights = weights.try_as_plain_ram()?;
    Pointwise::new(weights.as_slice()?, &[], sizes, output_shape, output_at).map(Some)
}

/// `weights` with `axes` moved to the end, in this order.
fn with_last_axes(weights: &Tensor, axes: &[usize]) -> TractResult<Tensor> {
    let others = (0..weights.rank()).filter(|at| !axes.contains(at));
    let order: Vec<usize> = others.chain(axes.iter().copied()).collect();
    weights.clone().permute_axes(&order)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    fn run_product(axes: &str, input: &[usize], weights: &[usize]) -> (f32, Vec<String>) {
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
    fn layers_in_groups_equal_those_of_tract() {
        for (input, outputs) in [(16, 32), (7, 16), (33, 60), (5, 3)] {
            for (axes, shape) in [
                ("btgi,gih->btgh", [1, 1, 4, input]),
                ("btig,gih->btgh", [1, 1, input, 4]),
            ] {
                let (difference, names) = run_product(axes, &shape, &[4, input, outputs]);
                assert!(difference < 1e-5, "{axes} {input} {outputs}: {difference}");
                assert_eq!(names, ["GroupedLinear"], "{axes} {input} {outputs}");
            }
        }
    }

    #[test]
    fn convolutions_of_one_column_equal_those_of_tract() {
        for (axes, input, weights) in [
            ("bihw,oi->bohw", [1, 64, 1, 96], [64, 64]),
            ("bihw,oi->bohw", [1, 7, 1, 8], [3, 7]),
            ("bihw,oi->bohw", [1, 16, 3, 11], [10, 16]),
            ("bihw,io->bohw", [1, 5, 1, 25], [5, 17]),
        ] {
            let (difference, names) = run_product(axes, &input, &weights);
            assert!(difference < 2e-5, "{axes} {input:?}: {difference}");
            assert_eq!(names, ["Pointwise"], "{axes} {input:?}");
        }
        let (difference, names) = run_product("bihw,oi->bowh", &[1, 8, 3, 16], &[4, 8]);
        assert!(difference < 1e-5, "{difference}");
        assert_ne!(names, ["Pointwise"], "columns in another order");
    }

    #[test]
    fn large_layers_are_accurate_to_fourteen_bits() {
        for (axes, weights) in [
            ("mk,kn->mn", [300, 130]),
            ("mk,nk->mn", [130, 300]),
            ("mk,kn->n", [128, 192]),
        ] {
            let inputs = weights[usize::from(axes.contains("nk"))];
            let (difference, names) = run_product(axes, &[1, inputs], &weights);
            // Sums of hundreds of products of numbers up to 1.
            assert!(difference < 1.5e-3, "{axes}: {difference}");
            assert_eq!(names, ["Linear"], "{axes}");
        }
        let (difference, names) = run_product("mk,kn->mn", &[1, 16], &[16, 16]);
        assert!(difference == 0.0 && names == ["EinSum"], "{names:?}");
        let (difference, names) = run_product("mk,kn->mn", &[37, 300], &[300, 130]);
        assert!(difference < 1.5e-3, "37 rows: {difference}");
        assert_eq!(names, ["Linear"]);
    }

    #[test]
    fn the_rows_of_an_input_may_be_its_columns() {
        for (axes, input, weights) in [
            ("bihw,oi->bhwo", &[1, 64, 1, 48][..], &[64, 64][..]),
            ("bihw,oi->bhwo", &[1, 10, 1, 96], &[10, 10]),
            ("bihw,io->hwbo", &[1, 7, 3, 11], &[7, 5]),
        ] {
            let (difference, names) = run_product(axes, input, weights);
            assert!(difference < 1e-5, "{axes} {input:?}: {difference}");
            assert_eq!(names, ["Linear"], "{axes} {input:?}");
        }
    }

    #[test]
    fn rows_and_inputs_may_have_several_axes() {
        for (axes, input, weights) in [
            ("amk,kn->amn", &[3, 27, 48][..], &[48, 144][..]),
            ("mak,akn->mn", &[3, 27, 16], &[27, 16, 96]),
            ("mka,akn->mn", &[1, 16, 27], &[27, 16, 96]),
        ] {
            let (difference, names) = run_product(axes, input, weights);
            assert!(difference < 1.5e-3, "{axes}: {difference}");
            assert_eq!(names, ["Linear"], "{axes}");
        }
        let (difference, names) = run_product("amk,kn->man", &[3, 27, 48], &[48, 144]);
        assert!(difference < 1e-5, "{difference}");
        assert_ne!(names, ["Linear"], "rows in another order");
    }
}
