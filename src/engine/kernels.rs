//! Operations that the engine's matrix products fit badly, computed directly.
//!
//! With one hop a step, convolutions with few channels a group and linear layers in groups are
//! many tiny products; packing and dispatching each costs more than the arithmetic.

mod conv;
mod elementwise;
mod gather;
mod grouped;
mod gru;
mod linear;
mod min_gru;
mod reshape;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::Gather;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::gru_seq::GruSeq;

/// Replaces what is faster computed directly. Shapes must be known.
pub(super) fn replace(mut model: TypedModel) -> TractResult<TypedModel> {
    min_gru::join(&mut model)?;
    for id in model.eval_order()? {
        let node = model.node(id);
        // The weights are in the operation then: it keeps what it hears, and a state.
        let heard = node.inputs.first().copied();
        let mut kept: TVec<OutletId> = heard.into_iter().collect();
        let direct: Option<Box<dyn TypedOp>> = if let Some(op) = node.op_as::<Conv>() {
            conv::convolution(&model, node, op)?.map(|op| Box::new(op) as _)
        } else if let Some(op) = node.op_as::<Deconv>() {
            conv::deconvolution(&model, node, op)?.map(|op| Box::new(op) as _)
        } else if let Some(op) = node.op_as::<EinSum>() {
            grouped::linear(&model, node, op)?
        } else if let Some(op) = node.op_as::<GruSeq>() {
            kept.extend(node.inputs.last().copied());
            gru::small(&model, node, op)?.map(|op| Box::new(op) as _)
        } else if let Some(op) = node.op_as::<Gather>() {
            let picked = gather::pick(&model, node, op)?;
            kept = picked.iter().map(|(heard, _)| *heard).collect();
            picked.map(|(_, op)| Box::new(op) as _)
        } else if let Some((heard, op)) = min_gru::with_gates(&model, node)? {
            kept = heard.into_iter().collect();
            Some(Box::new(op))
        } else if let Some((heard, op)) = linear::extended(&model, node)? {
            kept = heard;
            Some(Box::new(op))
        } else if let Some(op) = node.op_as::<AxisOp>() {
            reshape::view(&model, node, op)?.map(|op| Box::new(op) as _)
        } else if let Some(op) = node.op_as::<TypedBinOp>() {
            kept.extend(node.inputs.last().copied());
            elementwise::pairwise(&model, node, op)?.map(|op| Box::new(op) as _)
        } else {
            None
        };
        if let Some(op) = direct {
            TypedModelPatch::replace_single_op(&model, node, &kept, op)?.apply(&mut model)?;
        }
    }
    Ok(model)
}

fn dims_of(model: &TypedModel, outlet: OutletId) -> TractResult<Option<TVec<TDim>>> {
    let fact = model.outlet_fact(outlet)?;
    let known = (fact.datum_type == f32::datum_type()).then(|| fact.shape.dims().into());
    Ok(known)
}

fn shape_of(model: &TypedModel, outlet: OutletId) -> TractResult<Option<TVec<usize>>> {
    let fact = model.outlet_fact(outlet)?;
    let known = fact.shape.as_concrete().map(TVec::from_slice);
    Ok(known.filter(|_| fact.datum_type == f32::datum_type()))
}

/// Something to run in code for the widest registers of the computer: `pulp` compiles what is
/// inlined here for each kind.
struct Wide<'a, T> {
    op: &'a T,
    input: &'a [f32],
    weights: &'a [f32],
    output: &'a mut [f32],
}

/// Makes an output of `shape` by `op`.
fn run_wide<T>(
    op: &T,
    shape: &[usize],
    input: &TValue,
    weights: &Tensor,
) -> TractResult<TVec<TValue>>
where
    for<'a> Wide<'a, T>: pulp::WithSimd<Output = TractResult<()>>,
{
    let mut output = Tensor::zero::<f32>(shape)?;
    let (input, weights) = (input.try_as_plain_ram()?, weights.try_as_plain_ram()?);
    pulp::Arch::new().dispatch(Wide {
        op,
        input: input.as_slice()?,
        weights: weights.as_slice()?,
        output: output.try_as_plain_ram_mut()?.as_slice_mut()?,
    })?;
    Ok(tvec![output.into_tvalue()])
}

/// Whether products and sums are one instruction in registers of `S`; elsewhere a fused product is
/// a call into the C library.
#[inline(always)]
fn is_fused<S: pulp::Simd>() -> bool {
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && !S::IS_SCALAR
}

/// `sum + a * b`, in one instruction where the registers of `S` have it.
#[inline(always)]
fn add_product<S: pulp::Simd>(sum: f32, a: f32, b: f32) -> f32 {
    if is_fused::<S>() {
        a.mul_add(b, sum)
    } else {
        sum + a * b
    }
}

/// Adds `scale` times `from` to `to`, as far as both go.
#[inline(always)]
fn add_scaled<S: pulp::Simd>(scale: f32, from: &[f32], to: &mut [f32]) {
    let len = from.len().min(to.len());
    let (from, to) = (&from[..len], &mut to[..len]);
    for at in 0..len {
        to[at] = add_product::<S>(to[at], scale, from[at]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn noise(seed: &mut u32, shape: &[usize]) -> Tensor {
        let len = shape.iter().product();
        let numbers: Vec<f32> = (0..len)
            .map(|_| {
                *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        Tensor::from_shape(shape, &numbers).unwrap()
    }

    /// Largest difference that the replacement makes, and the operations it left.
    pub(super) fn difference(model: TypedModel, input: Tensor) -> (f32, Vec<String>) {
        let engine = model.clone().into_optimized().unwrap();
        let direct = replace(model).unwrap();
        let order = direct.eval_order().unwrap();
        let names = order
            .iter()
            .map(|id| direct.node(*id).op.name().to_string());
        let names = names.filter(|name| name != "Const" && name != "Source");
        let names = names.collect();
        let run = |model: TypedModel| {
            let inputs = tvec![input.clone().into_tvalue()];
            let output = model.into_runnable().unwrap().run(inputs).unwrap();
            output[0].clone().into_tensor()
        };
        let (expected, found) = (run(engine), run(direct));
        assert_eq!(expected.shape(), found.shape());
        let expected = expected.to_plain_array_view::<f32>().unwrap().to_owned();
        let found = found.to_plain_array_view::<f32>().unwrap().to_owned();
        let pairs = expected.iter().zip(&found);
        (pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max), names)
    }
}
