//! Changes of shape with constant work, instead of tract's symbolic shape arithmetic in every step.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::change_axes::AxisOp;

use super::kernel::{Kernel, impl_op_for_kernel};
use super::shape::{dims_of, resolve};

/// The elements of the input, in their order, in another shape.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct Reshape {
    /// at most one size is symbolic
    shape: TVec<TDim>,
}

/// The kernel for `op`, if it changes the shape and keeps the order of the elements.
pub(super) fn reshape(
    model: &TypedModel,
    node: &TypedNode,
    op: &AxisOp,
) -> TractResult<Option<Reshape>> {
    let (AxisOp::Reshape(..) | AxisOp::Add(_) | AxisOp::Rm(_)) = op else {
        return Ok(None);
    };
    let shape = dims_of(model, node.id.into())?;
    let is_resolvable =
        |shape: &TVec<TDim>| shape.iter().filter(|dim| dim.to_usize().is_err()).count() <= 1;
    Ok(shape.filter(is_resolvable).map(|shape| Reshape { shape }))
}

impl_op_for_kernel!(Reshape);

impl Kernel for Reshape {
    fn name(&self) -> &'static str {
        "Reshape"
    }

    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut tensor = args_1!(inputs).into_tensor();
        let shape = resolve(&self.shape, tensor.len());
        tensor.set_shape(&shape)?;
        Ok(tvec![tensor.into_tvalue()])
    }

    fn output_facts(&self, _: &[&TypedFact]) -> TVec<TypedFact> {
        tvec![f32::fact(self.shape.as_slice())]
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    #[test]
    fn reshapes_equal_those_of_tract() {
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
        assert_eq!(ops, ["Reshape"; 4]);
    }
}
