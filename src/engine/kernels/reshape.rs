//! Other shapes of the same numbers, without the engine's algebra of shapes in every step.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::change_axes::AxisOp;

use super::dims_of;

/// The same numbers in a shape of which one size at most follows from how many there are.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct View {
    shape: TVec<TDim>,
}

/// The same as `op`, if it is a shape and nothing else.
pub(super) fn view(model: &TypedModel, node: &TypedNode, op: &AxisOp) -> TractResult<Option<View>> {
    let (AxisOp::Reshape(..) | AxisOp::Add(_) | AxisOp::Rm(_)) = op else {
        return Ok(None);
    };
    let shape = dims_of(model, node.id.into())?;
    let is_known =
        |shape: &TVec<TDim>| shape.iter().filter(|dim| dim.to_usize().is_err()).count() <= 1;
    Ok(shape.filter(is_known).map(|shape| View { shape }))
}

impl Op for View {
    fn name(&self) -> StaticName {
        "View".into()
    }

    op_as_typed_op!();
}

impl EvalOp for View {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut numbers = args_1!(inputs).into_tensor();
        let known = |dim: &TDim| match dim {
            TDim::Val(size) => Some(*size as usize),
            _ => None,
        };
        let others: usize = self.shape.iter().filter_map(known).product();
        let rest = numbers.len() / others.max(1);
        let shape: TVec<usize> = self
            .shape
            .iter()
            .map(|dim| known(dim).unwrap_or(rest))
            .collect();
        numbers.set_shape(&shape)?;
        Ok(tvec![numbers.into_tvalue()])
    }
}

impl TypedOp for View {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec![f32::fact(self.shape.as_slice())])
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    #[test]
    fn a_view_equals_the_engines_shape() {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact([6, 4])).unwrap();
        let axes = [
            AxisOp::Reshape(
                0,
                tvec![6.to_dim(), 4.to_dim()],
                tvec![3.to_dim(), 8.to_dim()],
            ),
            AxisOp::Add(1),
            AxisOp::Reshape(2, tvec![8.to_dim()], tvec![2.to_dim(), 4.to_dim()]),
            AxisOp::Rm(1),
        ];
        let x = axes.into_iter().enumerate().fold(x, |x, (at, op)| {
            model.wire_node(format!("shape{at}"), op, &[x]).unwrap()[0]
        });
        model.select_output_outlets(&[x]).unwrap();
        let (error, ops) = difference(model, noise(&mut 3, &[6, 4]));
        assert_eq!(error, 0.0);
        assert_eq!(ops, ["View"; 4]);
    }
}
