//! Binary elementwise operations, without tract's general iteration over axes.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

use super::kernel::{Kernel, impl_op_for_kernel};
use super::shape::dims_of;

#[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
enum Kind {
    Add,
    Sub,
    Mul,
    Max,
    Min,
}

/// One operand is [rows, columns]. The other one is [rows, columns] too, or is broadcast: [columns]
/// to every row, or one number to all elements.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct BinaryElementwise {
    kind: Kind,
    /// whether the first operand is the one that is broadcast
    swapped: bool,
    output_shape: TVec<TDim>,
}

/// The kernel for `op`, if its operands have these shapes.
pub(super) fn elementwise(
    model: &TypedModel,
    node: &TypedNode,
    op: &TypedBinOp,
) -> TractResult<Option<BinaryElementwise>> {
    let kind = match op.0.name() {
        "Add" => Kind::Add,
        "Sub" => Kind::Sub,
        "Mul" => Kind::Mul,
        "Max" => Kind::Max,
        "Min" => Kind::Min,
        _ => return Ok(None),
    };
    let (Some(a), Some(b), Some(output_shape)) = (
        dims_of(model, node.inputs[0])?,
        dims_of(model, node.inputs[1])?,
        dims_of(model, node.id.into())?,
    ) else {
        return Ok(None);
    };
    let swapped = a != output_shape;
    let (full, other) = if swapped { (&b, &a) } else { (&a, &b) };
    let known = |dims: &[TDim]| dims.iter().all(|dim| dim.to_usize().is_ok());
    // Leading axes of size 1 are broadcast to the rows.
    let columns: TVec<TDim> = other
        .iter()
        .skip_while(|dim| dim.is_one())
        .cloned()
        .collect();
    let is_broadcast = other == full || (known(other) && full.ends_with(&columns));
    if *full != output_shape || !is_broadcast {
        return Ok(None);
    }
    Ok(Some(BinaryElementwise {
        kind,
        swapped,
        output_shape,
    }))
}

struct Rows<'a> {
    op: &'a BinaryElementwise,
    to: &'a mut [f32],
    other: &'a [f32],
}

impl pulp::WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        match (self.op.kind, self.op.swapped) {
            (Kind::Add, _) => self.apply::<Sum>(),
            (Kind::Sub, false) => self.apply::<Difference>(),
            (Kind::Sub, true) => self.apply::<SwappedDifference>(),
            (Kind::Mul, _) => self.apply::<Product>(),
            (Kind::Max, _) => self.apply::<Larger>(),
            (Kind::Min, _) => self.apply::<Smaller>(),
        }
    }
}

/// A function of two numbers. A type, because closures are not compiled for the wider instruction
/// sets.
trait BinaryFunction {
    fn apply(a: f32, b: f32) -> f32;
}

macro_rules! binary_functions {
    ($($name:ident: $a:ident, $b:ident => $result:expr;)*) => {$(
        struct $name;

        impl BinaryFunction for $name {
            #[inline(always)]
            fn apply($a: f32, $b: f32) -> f32 {
                $result
            }
        }
    )*};
}

binary_functions! {
    Sum: a, b => a + b;
    Difference: a, b => a - b;
    SwappedDifference: a, b => b - a;
    Product: a, b => a * b;
    Larger: a, b => a.max(b);
    Smaller: a, b => a.min(b);
}

impl Rows<'_> {
    #[inline(always)]
    fn apply<B: BinaryFunction>(self) {
        if let [other] = *self.other {
            for to in self.to {
                *to = B::apply(*to, other);
            }
            return;
        }
        for row in self.to.chunks_exact_mut(self.other.len()) {
            let len = row.len().min(self.other.len());
            let (row, other) = (&mut row[..len], &self.other[..len]);
            for at in 0..len {
                row[at] = B::apply(row[at], other[at]);
            }
        }
    }
}

impl_op_for_kernel!(BinaryElementwise);

impl Kernel for BinaryElementwise {
    fn name(&self) -> &'static str {
        "BinaryElementwise"
    }

    fn run(&self, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let full = inputs.remove(usize::from(self.swapped));
        // In place if the tensor has no other owner.
        let mut output = full.into_tensor();
        {
            let other = inputs[0].try_as_plain_ram()?;
            pulp::Arch::new().dispatch(Rows {
                op: self,
                to: output.try_as_plain_ram_mut()?.as_slice_mut()?,
                other: other.as_slice()?,
            });
        }
        Ok(tvec![output.into_tvalue()])
    }

    fn output_facts(&self, _: &[&TypedFact]) -> TVec<TypedFact> {
        tvec![f32::fact(self.output_shape.as_slice())]
    }
}
