//! Sums, differences and products of tensors number by number, without the engine's general walk
//! over axes.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

use super::dims_of;

#[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
enum Kind {
    Add,
    Sub,
    Mul,
    Max,
    Min,
}

/// Of [rows, numbers] and [rows, numbers], or [numbers] for every row, or one number for all.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct Pairwise {
    kind: Kind,
    /// whether the second operand is the larger one
    swapped: bool,
    output_shape: TVec<TDim>,
}

/// The same as `op`, if its operands are of these shapes.
pub(super) fn pairwise(
    model: &TypedModel,
    node: &TypedNode,
    op: &TypedBinOp,
) -> TractResult<Option<Pairwise>> {
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
    let (whole, other) = if swapped { (&b, &a) } else { (&a, &b) };
    let known = |dims: &[TDim]| dims.iter().all(|dim| dim.to_usize().is_ok());
    // Axes of one that lie before the others repeat the others for every row.
    let inner: TVec<TDim> = other
        .iter()
        .skip_while(|dim| dim.is_one())
        .cloned()
        .collect();
    let repeats = other == whole || (known(other) && whole.ends_with(&inner));
    if *whole != output_shape || !repeats {
        return Ok(None);
    }
    Ok(Some(Pairwise {
        kind,
        swapped,
        output_shape,
    }))
}

struct Run<'a> {
    op: &'a Pairwise,
    to: &'a mut [f32],
    other: &'a [f32],
}

impl pulp::WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        match (self.op.kind, self.op.swapped) {
            (Kind::Add, _) => self.each::<Sum>(),
            (Kind::Sub, false) => self.each::<Difference>(),
            (Kind::Sub, true) => self.each::<Swapped>(),
            (Kind::Mul, _) => self.each::<Product>(),
            (Kind::Max, _) => self.each::<Larger>(),
            (Kind::Min, _) => self.each::<Smaller>(),
        }
    }
}

/// What becomes of two numbers. A closure would be compiled for the narrowest registers.
trait Join {
    fn join(a: f32, b: f32) -> f32;
}

macro_rules! joins {
    ($($name:ident: $a:ident, $b:ident => $joined:expr;)*) => {$(
        struct $name;

        impl Join for $name {
            #[inline(always)]
            fn join($a: f32, $b: f32) -> f32 {
                $joined
            }
        }
    )*};
}

joins! {
    Sum: a, b => a + b;
    Difference: a, b => a - b;
    Swapped: a, b => b - a;
    Product: a, b => a * b;
    Larger: a, b => a.max(b);
    Smaller: a, b => a.min(b);
}

impl Run<'_> {
    #[inline(always)]
    fn each<J: Join>(self) {
        if let [other] = *self.other {
            for to in self.to {
                *to = J::join(*to, other);
            }
            return;
        }
        for row in self.to.chunks_exact_mut(self.other.len()) {
            let len = row.len().min(self.other.len());
            let (row, other) = (&mut row[..len], &self.other[..len]);
            for at in 0..len {
                row[at] = J::join(row[at], other[at]);
            }
        }
    }
}

impl Op for Pairwise {
    fn name(&self) -> StaticName {
        "Pairwise".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Pairwise {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let whole = inputs.remove(usize::from(self.swapped));
        // Written in place when nobody else holds it.
        let mut output = whole.into_tensor();
        {
            let other = inputs[0].try_as_plain_ram()?;
            pulp::Arch::new().dispatch(Run {
                op: self,
                to: output.try_as_plain_ram_mut()?.as_slice_mut()?,
                other: other.as_slice()?,
            });
        }
        Ok(tvec![output.into_tvalue()])
    }
}

impl TypedOp for Pairwise {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec![f32::fact(self.output_shape.as_slice())])
    }

    as_op!();
}
