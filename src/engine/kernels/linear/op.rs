//! The operation of a linear layer, and the choice of the format of its weights.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::super::kernel::{Kernel, impl_op_for_kernel};
use super::super::shape::resolve;
use super::epilogue::Epilogue;
use super::float::{self, Weight, pack};
use super::int8;
use super::layer::{INT8_MAX, Layer, LayerVisitor, PANEL};

/// Weights of a layer from which on their reading takes most of its time.
const MIN_WEIGHTS: usize = 16_384;
/// Rows of one stream from which on it does not.
const MIN_SHARED_ROWS: usize = 4;
/// Largest deviation of an 8-bit weight from an integer times the scale of its output, in units of
/// the scale.
const INT8_TOLERANCE: f32 = 1e-3;

/// [rows, inputs] to [rows, outputs] with a bias. Large layers round their weights to 16 bits: to
/// 1/65534 of the range of each output.
///
/// The sums of a row have the same order for any number of rows, so the output of a stream has the
/// same bits alone and in a batch.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(in super::super) struct Linear {
    inputs: usize,
    outputs: usize,
    /// at most one of the row axes has a symbolic size
    output_shape: TVec<TDim>,
    /// [panels, inputs, PANEL] f32, i16 or i8; with `int8_pairs` the layout of [`int8::pack_pairs`]
    pub(super) weights: Arc<Tensor>,
    /// whether the products are of integers
    int8_pairs: bool,
    /// [panels, PANEL] f32
    scales: Arc<Tensor>,
    /// [panels, PANEL] f32
    biases: Arc<Tensor>,
    /// whether the sums are added to a second input, which has the output's shape
    residual: bool,
    /// whether negative results become zero
    relu: bool,
}

impl Linear {
    /// A layer with `weights` [inputs, outputs]. `row_axes`: the axes of the output's rows, outermost
    /// first. `None` for small layers of one row, which gain nothing, and for non-finite weights.
    pub(in super::super) fn new(
        weights: &Tensor,
        [inputs, outputs]: [usize; 2],
        output_shape: TVec<TDim>,
        row_axes: TVec<usize>,
    ) -> TractResult<Option<Self>> {
        if row_axes.is_empty() && inputs * outputs < MIN_WEIGHTS {
            return Ok(None);
        }
        let plain = weights.try_as_plain_ram()?;
        let weights = plain.as_slice::<f32>()?;
        let mut max_abs = vec![0.0f32; outputs];
        for row in weights.chunks_exact(outputs) {
            for (max_abs, weight) in max_abs.iter_mut().zip(row) {
                *max_abs = max_abs.max(weight.abs());
            }
        }
        // `max` skips NaN, which is rounded to 0 when the weights are packed.
        if max_abs.iter().any(|weight| !weight.is_finite()) {
            return Ok(None);
        }
        let is_int8 = weights.chunks_exact(outputs).all(|row| {
            row.iter().zip(&max_abs).all(|(weight, max_abs)| {
                let weight = weight / max_abs * INT8_MAX;
                *max_abs == 0.0 || (weight - weight.round()).abs() <= INT8_TOLERANCE
            })
        });
        let rows = row_axes
            .iter()
            .filter_map(|axis| output_shape[*axis].to_usize().ok());
        let shares_weights = rows.product::<usize>() >= MIN_SHARED_ROWS;
        let int8_pairs = is_int8 && int8::is_supported(inputs);
        let (weights, scales) = if int8_pairs {
            let (weights, scales) = pack::<i8>(weights, inputs, &max_abs)?;
            (int8::pack_pairs(&weights)?, scales)
        } else if shares_weights && weights.len() < MIN_WEIGHTS {
            pack::<f32>(weights, inputs, &max_abs)?
        } else if is_int8 {
            pack::<i8>(weights, inputs, &max_abs)?
        } else {
            pack::<i16>(weights, inputs, &max_abs)?
        };
        let panels = scales.shape()[0];
        let biases = Tensor::zero::<f32>(&[panels, PANEL])?;
        Ok(Some(Self {
            inputs,
            outputs,
            output_shape,
            weights: weights.into_arc_tensor(),
            int8_pairs,
            scales: scales.into_arc_tensor(),
            biases: biases.into_arc_tensor(),
            residual: false,
            relu: false,
        }))
    }

    /// The layer with `bias` [outputs] as its first epilogue step. `None` if it has one already.
    pub(super) fn with_bias(&self, bias: &Tensor) -> TractResult<Option<Self>> {
        let plain = bias.try_as_plain_ram()?;
        let bias = plain.as_slice::<f32>()?;
        let biases = self.biases.try_as_plain_ram()?;
        let mut biases = biases.as_slice::<f32>()?.to_vec();
        let has_epilogue = self.residual || self.relu || biases.iter().any(|bias| *bias != 0.0);
        if bias.len() != self.outputs || has_epilogue {
            return Ok(None);
        }
        biases[..bias.len()].copy_from_slice(bias);
        let biases = Tensor::from_shape(self.biases.shape(), &biases)?;
        Ok(Some(Self {
            biases: biases.into_arc_tensor(),
            ..self.clone()
        }))
    }

    /// The layer with a second input of `output_shape`, to which the sums are added.
    pub(super) fn with_residual(&self, output_shape: TVec<TDim>) -> Option<Self> {
        (!self.residual && !self.relu).then(|| Self {
            residual: true,
            output_shape,
            ..self.clone()
        })
    }

    /// The layer with a ReLU at the end.
    pub(super) fn with_relu(&self) -> Self {
        Self {
            relu: true,
            ..self.clone()
        }
    }

    /// Runs `visitor` with the layer in its numeric format, for the widest instruction set of the
    /// processor.
    pub(in super::super) fn visit(&self, visitor: impl LayerVisitor) -> TractResult<()> {
        if self.int8_pairs {
            let weights = self.weights.try_as_plain_ram()?;
            int8::visit(weights.as_slice()?, self.epilogue()?, visitor)
        } else if self.weights.datum_type() == f32::datum_type() {
            self.visit_float::<f32>(visitor)
        } else if self.weights.datum_type() == i8::datum_type() {
            self.visit_float::<i8>(visitor)
        } else {
            self.visit_float::<i16>(visitor)
        }
    }

    fn visit_float<W: Weight>(&self, visitor: impl LayerVisitor) -> TractResult<()> {
        let weights = self.weights.try_as_plain_ram()?;
        float::visit::<W>(weights.as_slice()?, self.epilogue()?, visitor);
        Ok(())
    }

    fn epilogue(&self) -> TractResult<Epilogue<'_>> {
        let (scales, biases) = (
            self.scales.try_as_plain_ram()?,
            self.biases.try_as_plain_ram()?,
        );
        Ok(Epilogue {
            sizes: self.sizes(),
            scales: scales.as_slice()?.as_chunks().0,
            biases: biases.as_slice()?.as_chunks().0,
            residual: self.residual,
            relu: self.relu,
        })
    }

    /// Numbers of inputs and of outputs.
    pub(in super::super) fn sizes(&self) -> [usize; 2] {
        [self.inputs, self.outputs]
    }
}

/// The input and the output of a layer.
struct Rows<'a> {
    /// [rows, inputs]
    input: &'a [f32],
    /// [rows, outputs]
    output: &'a mut [f32],
}

impl LayerVisitor for Rows<'_> {
    #[inline(always)]
    fn visit<S: pulp::Simd>(self, simd: S, layer: &impl Layer<S>) {
        layer.run(simd, self.input, self.output);
    }
}

impl_op_for_kernel!(Linear);

impl Kernel for Linear {
    fn name(&self) -> &'static str {
        "Linear"
    }

    fn run(&self, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut output = if self.residual {
            // In place if the tensor has no other owner.
            inputs.remove(1).into_tensor()
        } else {
            let rows = inputs[0].len() / self.inputs;
            Tensor::zero::<f32>(&resolve(&self.output_shape, rows * self.outputs))?
        };
        {
            let input = inputs[0].try_as_plain_ram()?;
            let (input, mut output) = (input.as_slice()?, output.try_as_plain_ram_mut()?);
            let output = output.as_slice_mut()?;
            self.visit(Rows { input, output })?;
        }
        Ok(tvec![output.into_tvalue()])
    }

    fn output_facts(&self, _: &[&TypedFact]) -> TVec<TypedFact> {
        tvec![f32::fact(self.output_shape.as_slice())]
    }
}
