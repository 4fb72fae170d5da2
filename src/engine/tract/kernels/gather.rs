//! Columns of a matrix by constant indices, with zeros for indices past the end.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Gather, Pad, PadMode};

use super::kernel::{Kernel, impl_op_for_kernel};
use super::shape::dims_of;

/// [rows, columns] to [rows, indices].
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct GatherColumns {
    /// of the input
    columns: usize,
    indices: Vec<usize>,
}

/// The input and the kernel for `node`, if it gathers columns of a matrix by constant indices. A
/// `Pad` that only appends zero columns is part of the kernel.
pub(super) fn gather_columns(
    model: &TypedModel,
    node: &TypedNode,
    op: &Gather,
) -> TractResult<Option<(OutletId, GatherColumns)>> {
    let indices = model.outlet_fact(node.inputs[1])?.konst.clone();
    let Some(indices) = indices.filter(|indices| indices.rank() == 1) else {
        return Ok(None);
    };
    let width = |outlet: OutletId| -> TractResult<Option<usize>> {
        let dims = dims_of(model, outlet)?.filter(|dims| dims.len() == 2);
        Ok(dims.and_then(|dims| dims[1].to_usize().ok()))
    };
    let (1, Some(padded)) = (op.axis, width(node.inputs[0])?) else {
        return Ok(None);
    };
    let indices = indices.cast_to::<i64>()?;
    let indices = indices.try_as_plain_ram()?;
    let indices: Option<Vec<usize>> = indices
        .as_slice::<i64>()?
        .iter()
        .map(|at| usize::try_from(if *at < 0 { at + padded as i64 } else { *at }).ok())
        .collect();
    let Some(indices) = indices.filter(|indices| indices.iter().all(|at| *at < padded)) else {
        return Ok(None);
    };
    // Zeros that a `Pad` appends to each row equal the zeros for indices past the end.
    let producer = model.node(node.inputs[0].node);
    let appends_zeros = |pad: &Pad| {
        let zero = matches!(&pad.mode, PadMode::Constant(with) if with.cast_to_scalar::<f32>().ok() == Some(0.0));
        zero && pad.pads.len() == 2 && pad.pads[0] == (0, 0) && pad.pads[1].0 == 0
    };
    let input = match producer.op_as::<Pad>() {
        Some(pad) if appends_zeros(pad) => producer.inputs[0],
        _ => node.inputs[0],
    };
    Ok(width(input)?.map(|columns| (input, GatherColumns { columns, indices })))
}

impl_op_for_kernel!(GatherColumns);

impl Kernel for GatherColumns {
    fn name(&self) -> &'static str {
        "GatherColumns"
    }

    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = inputs[0].try_as_plain_ram()?;
        let rows = inputs[0].len() / self.columns;
        let mut output = Tensor::zero::<f32>(&[rows, self.indices.len()])?;
        {
            let mut output = output.try_as_plain_ram_mut()?;
            let to = output
                .as_slice_mut::<f32>()?
                .chunks_exact_mut(self.indices.len());
            for (row, to) in input.as_slice::<f32>()?.chunks_exact(self.columns).zip(to) {
                for (to, at) in to.iter_mut().zip(&self.indices) {
                    *to = row.get(*at).copied().unwrap_or(0.0);
                }
            }
        }
        Ok(tvec![output.into_tvalue()])
    }

    fn output_facts(&self, inputs: &[&TypedFact]) -> TVec<TypedFact> {
        let rows = inputs[0].shape[0].clone();
        tvec![f32::fact([rows, self.indices.len().to_dim()])]
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    fn graph(indices: &[i64], padding: Option<(usize, usize)>) -> TypedModel {
        let mut model = TypedModel::default();
        let mut from = model.add_source("from", f32::fact([3, 5])).unwrap();
        if let Some(padding) = padding {
            let zero = PadMode::Constant(tensor0(0f32).into());
            let pad = Pad::new(vec![(0, 0), padding], zero);
            from = model.wire_node("padded", pad, &[from]).unwrap()[0];
        }
        let indices = model.add_const("indices", tensor1(indices)).unwrap();
        let gathered = model
            .wire_node("gathered", Gather::new(1), &[from, indices])
            .unwrap();
        model.select_output_outlets(&gathered).unwrap();
        model
    }

    #[test]
    fn gathers_equal_those_of_tract() {
        let cases: [(&[i64], _, &[&str]); 3] = [
            (&[0, 4, 4, 1], None, &["GatherColumns"]),
            (&[5, 0, 6, 4, 5], Some((0, 2)), &["GatherColumns"]),
            (&[0, 1, 5], Some((1, 0)), &["Pad", "GatherColumns"]),
        ];
        for (indices, padding, expected) in cases {
            let input = noise(&mut 7, &[3, 5]);
            let (error, ops) = difference(graph(indices, padding), input);
            assert_eq!(
                (error, ops),
                (0.0, expected.iter().map(|s| s.to_string()).collect())
            );
        }
    }
}
