//! Kernels as operations of tract.

use tract_onnx::prelude::*;

/// An operation without state.
pub(super) trait Kernel {
    /// The name that profiles show.
    fn name(&self) -> &'static str;

    /// The outputs for `inputs`.
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>>;

    /// Types and shapes of the outputs.
    fn output_facts(&self, inputs: &[&TypedFact]) -> TVec<TypedFact>;
}

/// Implements tract's traits of an operation (`Op`, `EvalOp`, `TypedOp`) for a [`Kernel`]. The
/// module of the kernel imports `tract_core::internal::*`.
macro_rules! impl_op_for_kernel {
    ($kernel:ty) => {
        impl Op for $kernel {
            fn name(&self) -> StaticName {
                Kernel::name(self).into()
            }

            op_as_typed_op!();
        }

        impl EvalOp for $kernel {
            op_out_of_plan!();

            fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
                Kernel::run(self, inputs)
            }
        }

        impl TypedOp for $kernel {
            fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
                Ok(Kernel::output_facts(self, inputs))
            }

            as_op!();
        }
    };
}

pub(super) use impl_op_for_kernel;
