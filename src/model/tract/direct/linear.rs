//! Linear layers: their time is that of reading the weights, so these are held in 16 bits, and a
//! step of several streams reads them once.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::{add_product, is_fused};

/// Outputs whose sums stay in registers while all inputs pass.
const PANEL: usize = 64;
/// Rows whose sums stay in registers while a panel's inputs pass.
const TILE: usize = 8;
/// Rows that share one reading of the weights.
const ROWS: usize = 32;
/// Weights from which on reading them counts.
const LEAST_WEIGHTS: usize = 16_384;
/// Weights are whole numbers up to this, times a scale for each output.
const LARGEST: f32 = 32_767.0;

/// [rows, in] to [rows, out], each output's weights rounded to 1/65534 of their range.
///
/// A row's sums are made in the same order whatever other rows there are, so that a stream sounds
/// the same, to the bit, alone and in a batch.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct Linear16 {
    inputs: usize,
    outputs: usize,
    output_shape: TVec<TDim>,
    /// where the rows are among the output's axes
    rows_axis: Option<usize>,
    /// [panels, in, PANEL] i16
    weights: Arc<Tensor>,
    /// [out] f32
    scales: Arc<Tensor>,
}

impl Linear16 {
    /// Of `weights` [in, out]; for one row only if they are many.
    pub(super) fn new(
        weights: &Tensor,
        [inputs, outputs]: [usize; 2],
        output_shape: TVec<TDim>,
        rows_axis: Option<usize>,
    ) -> TractResult<Option<Self>> {
        if rows_axis.is_none() && inputs * outputs < LEAST_WEIGHTS {
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
            rows_axis,
            weights: Tensor::from_shape(&[panels, inputs, PANEL], &packed)?.into_arc_tensor(),
            scales: Tensor::from_shape(&[outputs], &scales)?.into_arc_tensor(),
        }))
    }

    fn shape(&self, rows: usize) -> TractResult<TVec<usize>> {
        let sizes = self.output_shape.iter().enumerate();
        let size = |(axis, dim): (usize, &TDim)| match self.rows_axis {
            Some(at) if at == axis => Ok(rows),
            _ => Ok(dim.to_usize()?),
        };
        sizes.map(size).collect()
    }
}

struct Run<'a> {
    op: &'a Linear16,
    /// [rows, in]
    input: &'a [f32],
    weights: &'a [i16],
    scales: &'a [f32],
    /// [rows, out]
    output: &'a mut [f32],
}

impl pulp::WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        if self.input.len() == self.op.inputs {
            self.one_row::<S>();
        } else {
            self.rows(simd);
        }
    }
}

impl Run<'_> {
    #[inline(always)]
    fn one_row<S: pulp::Simd>(self) {
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

    #[inline(always)]
    fn rows<S: pulp::Simd>(self, simd: S) {
        let (inputs, outputs) = (self.op.inputs, self.op.outputs);
        let tiles = ROWS.min(self.input.len() / inputs).div_ceil(TILE);
        let mut heard = vec![[0.0f32; TILE]; tiles * inputs];
        let groups = self.input.chunks(ROWS * inputs);
        for (input, output) in groups.zip(self.output.chunks_mut(ROWS * outputs)) {
            let rows = input.len() / inputs;
            side_by_side(input, inputs, &mut heard);
            for (at, panel) in self.weights.chunks_exact(inputs * PANEL).enumerate() {
                let mut sums = [[[0.0f32; PANEL]; TILE]; ROWS / TILE];
                let (numbers, _) = panel.as_chunks::<PANEL>();
                let tiles = heard.chunks_exact(inputs).zip(&mut sums).enumerate();
                for (tile, (heard, sums)) in tiles {
                    let rows = rows.saturating_sub(tile * TILE).min(TILE);
                    add_tile(simd, rows, heard, numbers, sums);
                }
                let begin = at * PANEL;
                let scales = &self.scales[begin..];
                let sums = sums.iter().flatten();
                for (row, sums) in output.chunks_exact_mut(outputs).zip(sums) {
                    for ((output, sum), scale) in row[begin..].iter_mut().zip(sums).zip(scales) {
                        *output = sum * scale;
                    }
                }
            }
        }
    }
}

/// [rows, in] to [tiles, in, TILE].
#[inline(always)]
fn side_by_side(input: &[f32], inputs: usize, heard: &mut [[f32; TILE]]) {
    for (row, numbers) in input.chunks_exact(inputs).enumerate() {
        let tile = &mut heard[row / TILE * inputs..][..inputs];
        for (to, from) in tile.iter_mut().zip(numbers) {
            to[row % TILE] = *from;
        }
    }
}

/// Adds to the sums of a tile's rows what they heard, as many rows at a time as registers hold.
#[inline(always)]
fn add_tile<S: pulp::Simd>(
    simd: S,
    rows: usize,
    heard: &[[f32; TILE]],
    numbers: &[[i16; PANEL]],
    sums: &mut [[f32; PANEL]; TILE],
) {
    let mut row = 0;
    while row < rows {
        let args = (simd, row, heard, numbers);
        // Vectors of a part times rows are the registers that hold sums.
        row += match (S::F32_LANES, rows - row) {
            (16, 8..) => add_rows::<S, 8, 2, 32>(args, sums),
            (16, 4..) => add_rows::<S, 4, 4, 64>(args, sums),
            (16, 3) => add_rows::<S, 3, 4, 64>(args, sums),
            (16, 2) => add_rows::<S, 2, 4, 64>(args, sums),
            (16, _) => add_rows::<S, 1, 4, 64>(args, sums),
            (8, 2..) => add_rows::<S, 2, 4, 32>(args, sums),
            (8, _) => add_rows::<S, 1, 4, 32>(args, sums),
            (4, 2..) => add_rows::<S, 2, 8, 32>(args, sums),
            (4, _) => add_rows::<S, 1, 8, 32>(args, sums),
            _ => add_rows::<S, 1, 8, 8>(args, sums),
        };
    }
}

/// The same for `R` rows from `row` on, whose sums are `V` vectors, `P` numbers wide; gives `R`.
/// Weights become f32 in registers, which goes on beside the sums.
#[inline(always)]
fn add_rows<S: pulp::Simd, const R: usize, const V: usize, const P: usize>(
    (simd, row, heard, numbers): (S, usize, &[[f32; TILE]], &[[i16; PANEL]]),
    sums: &mut [[f32; PANEL]; TILE],
) -> usize {
    for part in 0..PANEL / P {
        let mut now = [[simd.splat_f32s(0.0); V]; R];
        for (x, weights) in heard.iter().zip(numbers) {
            let (parts, _) = weights.as_chunks::<P>();
            let mut wide = [0.0f32; P];
            for lane in 0..P {
                wide[lane] = f32::from(parts[part][lane]);
            }
            let (vectors, _) = S::as_simd_f32s(&wide);
            for at in 0..R {
                let x = simd.splat_f32s(x[row + at]);
                for vector in 0..V {
                    now[at][vector] = add_products(simd, now[at][vector], x, vectors[vector]);
                }
            }
        }
        for at in 0..R {
            let (vectors, _) = S::as_mut_simd_f32s(&mut sums[row + at]);
            for vector in 0..V {
                vectors[part * V + vector] = now[at][vector];
            }
        }
    }
    R
}

/// [`add_product`] of vectors: fused where that one is.
#[inline(always)]
fn add_products<S: pulp::Simd>(simd: S, sum: S::f32s, a: S::f32s, b: S::f32s) -> S::f32s {
    if is_fused::<S>() {
        simd.mul_add_f32s(a, b, sum)
    } else {
        simd.add_f32s(sum, simd.mul_f32s(a, b))
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
        let rows = inputs[0].len() / self.inputs;
        let mut output = Tensor::zero::<f32>(&self.shape(rows)?)?;
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
        Ok(tvec![f32::fact(self.output_shape.as_slice())])
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    fn run(op: &Linear16, input: &Tensor) -> Vec<f32> {
        let inputs = tvec![input.clone().into_tvalue()];
        let context = EvalContext::out_of_plan();
        let output = op.eval(&context, inputs).unwrap();
        output[0]
            .to_plain_array_view::<f32>()
            .unwrap()
            .iter()
            .copied()
            .collect()
    }

    #[test]
    fn a_row_is_the_same_alone_and_among_others() {
        let (inputs, outputs, mut seed) = (75, 130, 5);
        let weights = noise(&mut seed, &[inputs, outputs]);
        let shape = tvec![TDim::Val(-1), outputs.to_dim()];
        let op = Linear16::new(&weights, [inputs, outputs], shape, Some(0));
        let op = op.unwrap().unwrap();
        for rows in [1, 2, 3, 5, 7, 8, 13, 16, 33, 70] {
            let input = noise(&mut seed, &[rows, inputs]);
            let together = run(&op, &input);
            for row in 0..rows {
                let alone = run(&op, &input.slice(0, row, row + 1).unwrap());
                assert!(
                    together[row * outputs..][..outputs] == alone,
                    "{row} of {rows}"
                );
            }
        }
    }
}
