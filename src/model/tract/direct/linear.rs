//! Large linear layers of one hop: their time is that of reading the weights, so these are held
//! in 16 bits.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::add_product;

/// Outputs whose sums stay in registers while all inputs pass.
const PANEL: usize = 64;
/// Weights from which on reading them counts.
const LEAST_WEIGHTS: usize = 16_384;
/// Weights are whole numbers up to this, times a scale for each output.
const LARGEST: f32 = 32_767.0;

/// [in] to [out], each output's weights rounded to 1/65534 of their range.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct Linear16 {
    inputs: usize,
    outputs: usize,
    output_shape: TVec<usize>,
    /// [panels, in, PANEL] i16
    weights: Arc<Tensor>,
    /// [out] f32
    scales: Arc<Tensor>,
}

impl Linear16 {
    /// Of `weights` [in, out], if they are many.
    pub(super) fn new(
        weights: &Tensor,
        [inputs, outputs]: [usize; 2],
        output_shape: TVec<usize>,
    ) -> TractResult<Option<Self>> {
        if inputs * outputs < LEAST_WEIGHTS {
            return Ok(None);
        }
        let plain = weights.try_as_plain_ram()?;
        let numbers = plain.as_slice::<f32>()?;
        let mut scales = vec![0.0f32; outputs];
        for row in numbers.chunks_exact(outputs) {
            for (scale, number) in scales.iter_mut().zip(row) {
                *scale = scale.max(number.abs() / LARGEST);
            }
        }
        if scales.iter().any(|scale| !scale.is_finite()) {
            return Ok(None);
        }
        let panels = outputs.div_ceil(PANEL);
        let mut packed = vec![0i16; panels * inputs * PANEL];
        for (input, row) in numbers.chunks_exact(outputs).enumerate() {
            for (output, number) in row.iter().enumerate() {
                let at = (output / PANEL * inputs + input) * PANEL + output % PANEL;
                // A scale of 0 divides zeros: NaN, which a cast makes 0.
                packed[at] = (number / scales[output]).round() as i16;
            }
        }
        Ok(Some(Self {
            inputs,
            outputs,
            output_shape,
            weights: Tensor::from_shape(&[panels, inputs, PANEL], &packed)?.into_arc_tensor(),
            scales: Tensor::from_shape(&[outputs], &scales)?.into_arc_tensor(),
        }))
    }
}

struct Run<'a> {
    op: &'a Linear16,
    input: &'a [f32],
    weights: &'a [i16],
    scales: &'a [f32],
    output: &'a mut [f32],
}

impl pulp::WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let panels = self.weights.chunks_exact(self.op.inputs * PANEL);
        let outputs = self.output.chunks_mut(PANEL).zip(self.scales.chunks(PANEL));
        for (panel, (output, scales)) in panels.zip(outputs) {
            let mut sums = [0.0f32; PANEL];
            let (rows, _) = panel.as_chunks::<PANEL>();
            for (x, row) in self.input.iter().zip(rows) {
                for at in 0..PANEL {
                    sums[at] = add_product::<S>(sums[at], *x, f32::from(row[at]));
                }
            }
            for ((output, sum), scale) in output.iter_mut().zip(&sums).zip(scales) {
                *output = sum * scale;
            }
        }
    }
}

impl Op for Linear16 {
    fn name(&self) -> StaticName {
        "Linear16".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Linear16 {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut output = Tensor::zero::<f32>(&self.output_shape)?;
        {
            let input = inputs[0].try_as_plain_ram()?;
            let (weights, scales) = (
                self.weights.try_as_plain_ram()?,
                self.scales.try_as_plain_ram()?,
            );
            pulp::Arch::new().dispatch(Run {
                op: self,
                input: input.as_slice()?,
                weights: weights.as_slice()?,
                scales: scales.as_slice()?,
                output: output.try_as_plain_ram_mut()?.as_slice_mut()?,
            });
        }
        Ok(tvec![output.into_tvalue()])
    }
}

impl TypedOp for Linear16 {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(self.output_shape.iter().product::<usize>() == self.outputs);
        Ok(tvec![f32::fact(&self.output_shape)])
    }

    as_op!();
}
