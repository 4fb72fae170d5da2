//! A pass that replaces operations of tract by kernels of this library.
//!
//! With one hop a step, most matrix products are small or have one row. Tract packs operands and
//! dispatches for each of them, which often takes longer than the arithmetic. Kernels of two kinds:
//!
//! - for the embedded models: [`linear`], [`min_gru`], [`elementwise`], [`reshape`];
//! - for models of other projects (DeepFilterNet 3, GTCRN): [`conv`], [`pointwise`], [`grouped`],
//!   [`gru`], [`gather`].

mod dispatch;
mod kernel;
mod product;
mod shape;

mod elementwise;
mod linear;
mod min_gru;
mod reshape;

mod conv;
mod gather;
mod grouped;
mod gru;
mod pointwise;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::Gather;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::gru_cell::GruEpilogue;
use tract_onnx::tract_core::ops::gru_seq::GruSeq;

/// Replaces the operations for which there is a kernel. The sizes of all axes but the batch axis must
/// be known.
pub(super) fn rewrite(mut model: TypedModel) -> TractResult<TypedModel> {
    min_gru::fuse_recurrences(&mut model)?;
    for id in model.eval_order()? {
        if let Some((inputs, kernel)) = kernel_for(&model, model.node(id))? {
            let node = model.node(id);
            TypedModelPatch::replace_single_op(&model, node, &inputs, kernel)?.apply(&mut model)?;
        }
    }
    Ok(model)
}

/// The inputs of a kernel and the kernel. Weights are inside the kernel.
type KernelWithInputs = (TVec<OutletId>, Box<dyn TypedOp>);

/// The kernel for `node`, if there is one.
fn kernel_for(model: &TypedModel, node: &TypedNode) -> TractResult<Option<KernelWithInputs>> {
    let first: TVec<OutletId> = node.inputs.first().copied().into_iter().collect();
    let first_and_last = || first.iter().chain(node.inputs.last()).copied().collect();
    Ok(if let Some(op) = node.op_as::<Conv>() {
        match conv::column(model, node, op)? {
            Some(op) => Some((first, Box::new(op) as _)),
            None => conv::convolution(model, node, op)?.map(|op| (first, Box::new(op) as _)),
        }
    } else if let Some(op) = node.op_as::<Deconv>() {
        conv::deconvolution(model, node, op)?.map(|op| (first, Box::new(op) as _))
    } else if let Some(op) = node.op_as::<EinSum>() {
        product::product(model, node, op)?.map(|op| (first, op))
    } else if let Some(op) = node.op_as::<GruSeq>() {
        gru::small_gru(model, node, op)?.map(|op| (first_and_last(), Box::new(op) as _))
    } else if let Some(op) = node.op_as::<GruEpilogue>() {
        let inputs = node.inputs.iter().copied().collect();
        gru::gru_cell(model, node, op)?.map(|op| (inputs, Box::new(op) as _))
    } else if let Some(op) = node.op_as::<Gather>() {
        gather::gather_columns(model, node, op)?
            .map(|(input, op)| (tvec![input], Box::new(op) as _))
    } else if let Some((inputs, op)) = min_gru::fuse_gates(model, node)? {
        Some((inputs.into_iter().collect(), Box::new(op) as _))
    } else if let Some((inputs, op)) = linear::fuse_epilogue(model, node)? {
        Some((inputs, Box::new(op) as _))
    } else if let Some((input, op)) = pointwise::fuse_epilogue(model, node)? {
        Some((tvec![input], Box::new(op)))
    } else if let Some(op) = node.op_as::<AxisOp>() {
        reshape::reshape(model, node, op)?.map(|op| (first, Box::new(op) as _))
    } else if let Some(op) = node.op_as::<TypedBinOp>() {
        elementwise::elementwise(model, node, op)?.map(|op| (first_and_last(), Box::new(op) as _))
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from -1 to 1.
    pub(super) fn noise(seed: &mut u32, shape: &[usize]) -> Tensor {
        let len = shape.iter().product();
        let values: Vec<f32> = (0..len)
            .map(|_| {
                *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        Tensor::from_shape(shape, &values).unwrap()
    }

    /// The largest difference between the outputs of `model` before and after [`rewrite`], and the
    /// names of the operations after it.
    pub(super) fn difference(model: TypedModel, input: Tensor) -> (f32, Vec<String>) {
        let reference = model.clone().into_optimized().unwrap();
        let rewritten = rewrite(model).unwrap();
        let order = rewritten.eval_order().unwrap();
        let names = order
            .iter()
            .map(|id| rewritten.node(*id).op.name().to_string());
        let names = names.filter(|name| name != "Const" && name != "Source");
        let names = names.collect();
        let run = |model: TypedModel| {
            let inputs = tvec![input.clone().into_tvalue()];
            let output = model.into_runnable().unwrap().run(inputs).unwrap();
            output[0].clone().into_tensor()
        };
        let (expected, found) = (run(reference), run(rewritten));
        assert_eq!(expected.shape(), found.shape());
        let expected = expected.to_plain_array_view::<f32>().unwrap().to_owned();
        let found = found.to_plain_array_view::<f32>().unwrap().to_owned();
        let pairs = expected.iter().zip(&found);
        (pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max), names)
    }
}
