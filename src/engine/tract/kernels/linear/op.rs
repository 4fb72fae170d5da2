//! The operation of a linear layer.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::super::kernel::{Kernel, impl_op_for_kernel};
use super::super::shape::resolve;
use crate::engine::linear::{Additions, LayerVisitor, LinearRows, PackedLinear, scratch_len};

/// Weights from which on a layer of one row gains.
const MIN_WEIGHTS: usize = 512;

/// [rows, inputs] to [rows, outputs].
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Linear {
    pub(super) layer: PackedLinear,
    /// whether the input is [inputs, rows]
    is_input_transposed: bool,
    /// at most one of the row axes has a symbolic size
    output_shape: TVec<TDim>,
    /// with `residual`: a second input, which has the output's shape
    additions: Additions,
}

// No number of a layer is NaN.
impl Eq for Linear {}

impl std::hash::Hash for Linear {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.layer.sizes(), self.is_input_transposed).hash(state);
        (&self.output_shape, self.additions).hash(state);
    }
}

impl Linear {
    /// A layer with `weights` [inputs, outputs]. `has_rows`: whether there may be several. `None` for small layers
    /// of one row, which gain nothing, and for non-finite weights.
    pub(in super::super) fn new(
        weights: &Tensor,
        [inputs, outputs]: [usize; 2],
        output_shape: TVec<TDim>,
        has_rows: bool,
    ) -> TractResult<Option<Self>> {
        if !has_rows && inputs * outputs < MIN_WEIGHTS {
            return Ok(None);
        }
        let plain = weights.try_as_plain_ram()?;
        let layer = PackedLinear::new(plain.as_slice()?, [inputs, outputs]);
        Ok(layer.map(|layer| Self {
            layer,
            is_input_transposed: false,
            output_shape,
            additions: Additions::default(),
        }))
    }

    /// The layer for an input of [inputs, rows].
    pub(in super::super) fn with_transposed_input(self) -> Self {
        Self {
            is_input_transposed: true,
            ..self
        }
    }

    /// The layer with `bias` [outputs] as its first epilogue step. `None` if it has one already.
    pub(super) fn with_bias(&self, bias: &Tensor) -> TractResult<Option<Self>> {
        let plain = bias.try_as_plain_ram()?;
        let bias = plain.as_slice::<f32>()?;
        let has_epilogue = self.additions != Additions::default() || self.layer.has_bias();
        let fits = bias.len() == self.layer.sizes()[1] && bias.iter().all(|bias| !bias.is_nan());
        Ok((fits && !has_epilogue).then(|| Self {
            layer: self.layer.with_bias(bias),
            ..self.clone()
        }))
    }

    /// The layer with a second input of `output_shape`, to which the sums are added.
    pub(super) fn with_residual(&self, output_shape: TVec<TDim>) -> Option<Self> {
        (self.additions == Additions::default()).then(|| Self {
            additions: Additions {
                residual: true,
                relu: false,
            },
            output_shape,
            ..self.clone()
        })
    }

    /// The layer with a ReLU at the end.
    pub(super) fn with_relu(&self) -> Self {
        let mut with_relu = self.clone();
        with_relu.additions.relu = true;
        with_relu
    }

    /// Whether the input is [rows, inputs], as [`Self::visit`] expects it.
    pub(in super::super) fn has_row_input(&self) -> bool {
        !self.is_input_transposed
    }

    /// Runs `visitor` with the layer in its numeric format, for the widest instruction set of the
    /// processor.
    pub(in super::super) fn visit(&self, visitor: impl LayerVisitor) {
        self.layer.visit(self.additions, visitor);
    }

    /// Numbers of inputs and of outputs.
    pub(in super::super) fn sizes(&self) -> [usize; 2] {
        self.layer.sizes()
    }
}

/// [inputs, rows] to [rows, inputs].
fn transpose(columns: &[f32], inputs: usize) -> Vec<f32> {
    let rows = columns.len() / inputs;
    let mut transposed = vec![0.0; columns.len()];
    for (input, column) in columns.chunks_exact(rows).enumerate() {
        for (row, number) in transposed.chunks_exact_mut(inputs).zip(column) {
            row[input] = *number;
        }
    }
    transposed
}

impl_op_for_kernel!(Linear);

impl Kernel for Linear {
    fn name(&self) -> &'static str {
        "Linear"
    }

    fn run(&self, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut output = if self.additions.residual {
            // In place if the tensor has no other owner.
            inputs.remove(1).into_tensor()
        } else {
            let rows = inputs[0].len() / self.sizes()[0];
            Tensor::zero::<f32>(&resolve(&self.output_shape, rows * self.sizes()[1]))?
        };
        {
            let input = inputs[0].try_as_plain_ram()?;
            let (input, mut output) = (input.as_slice()?, output.try_as_plain_ram_mut()?);
            let output = output.as_slice_mut()?;
            let inputs = self.sizes()[0];
            let transposed;
            let input = if self.is_input_transposed {
                transposed = transpose(input, inputs);
                &transposed
            } else {
                input
            };
            let scratch = &mut vec![0; scratch_len(inputs, input.len() / inputs)];
            self.visit(LinearRows {
                input,
                output,
                scratch,
            });
        }
        Ok(tvec![output.into_tvalue()])
    }

    fn output_facts(&self, _: &[&TypedFact]) -> TVec<TypedFact> {
        tvec![f32::fact(self.output_shape.as_slice())]
    }
}
