//! Linear layers: their time is that of reading the weights, so these are held in 16 bits, or in the
//! 8 that they were exported in, and a step of several streams reads them once.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

use super::is_fused;

/// Outputs whose sums stay in registers while all inputs pass.
const PANEL: usize = 64;
/// Outputs that are computed at least: what is past a layer's last ones is computed for nobody.
const NARROW: usize = 16;
/// Rows whose sums stay in registers while a panel's inputs pass.
pub(super) const TILE: usize = 8;
/// Inputs that are gone through without a look at how many are left.
const BLOCK: usize = 8;
/// Rows that share one reading of the weights.
const ROWS: usize = 32;
/// Weights from which on reading them counts.
const LEAST_WEIGHTS: usize = 16_384;
/// Weights are whole numbers, times a scale for each output; those that are whole numbers of 8 bits
/// times a scale are within this of them.
const WHOLE: f32 = 1e-3;

/// What a weight is held as.
pub(super) trait Weight: Datum + Copy + Into<f32> {
    const LARGEST: f32;
    /// The nearest one; 0 of no number.
    fn nearest(number: f32) -> Self;
}

impl Weight for i16 {
    const LARGEST: f32 = 32_767.0;

    fn nearest(number: f32) -> Self {
        number.round() as Self
    }
}

impl Weight for i8 {
    const LARGEST: f32 = 127.0;

    fn nearest(number: f32) -> Self {
        number.round() as Self
    }
}

/// [rows, in] to [rows, out] and a bias, each output's weights rounded to 1/65534 of their range.
///
/// A row's sums are made in the same order whatever other rows there are, so that a stream sounds
/// the same, to the bit, alone and in a batch.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct Linear {
    inputs: usize,
    outputs: usize,
    output_shape: TVec<TDim>,
    /// where the rows are among the output's axes, outermost first
    row_axes: TVec<usize>,
    /// [panels, in, PANEL] i16 or i8
    weights: Arc<Tensor>,
    /// [panels, PANEL] f32
    scales: Arc<Tensor>,
    /// [panels, PANEL] f32, added in the end
    biases: Arc<Tensor>,
    /// whether what is below zero is made zero in the end
    rectified: bool,
}

impl Linear {
    /// Of `weights` [in, out]; for one row only if they are many.
    pub(super) fn new(
        weights: &Tensor,
        [inputs, outputs]: [usize; 2],
        output_shape: TVec<TDim>,
        row_axes: TVec<usize>,
    ) -> TractResult<Option<Self>> {
        if row_axes.is_empty() && inputs * outputs < LEAST_WEIGHTS {
            return Ok(None);
        }
        let plain = weights.try_as_plain_ram()?;
        let numbers = plain.as_slice::<f32>()?;
        let mut largest = vec![0.0f32; outputs];
        for row in numbers.chunks_exact(outputs) {
            for (largest, number) in largest.iter_mut().zip(row) {
                *largest = largest.max(number.abs());
            }
        }
        if largest.iter().any(|number| !number.is_finite()) {
            return Ok(None);
        }
        let in_eight_bits = numbers.chunks_exact(outputs).all(|row| {
            row.iter().zip(&largest).all(|(number, largest)| {
                let number = number / largest * i8::LARGEST;
                *largest == 0.0 || (number - number.round()).abs() <= WHOLE
            })
        });
        let (weights, scales) = if in_eight_bits {
            packed::<i8>(numbers, inputs, largest)?
        } else {
            packed::<i16>(numbers, inputs, largest)?
        };
        let panels = scales.shape()[0];
        let nothing = Tensor::zero::<f32>(&[panels, PANEL])?;
        Ok(Some(Self {
            inputs,
            outputs,
            output_shape,
            row_axes,
            weights: weights.into_arc_tensor(),
            scales: scales.into_arc_tensor(),
            biases: nothing.into_arc_tensor(),
            rectified: false,
        }))
    }

    /// The same with a bias for each output, which goes on from this one's sums.
    pub(super) fn with_bias(&self, bias: &Tensor) -> TractResult<Option<Self>> {
        let plain = bias.try_as_plain_ram()?;
        let numbers = plain.as_slice::<f32>()?;
        let biases = self.biases.try_as_plain_ram()?;
        let mut biases = biases.as_slice::<f32>()?.to_vec();
        let has_more = self.rectified || biases.iter().any(|bias| *bias != 0.0);
        if numbers.len() != self.outputs || has_more {
            return Ok(None);
        }
        biases[..numbers.len()].copy_from_slice(numbers);
        let biases = Tensor::from_shape(self.biases.shape(), &biases)?;
        Ok(Some(Self {
            biases: biases.into_arc_tensor(),
            ..self.clone()
        }))
    }

    /// The same, with what is below zero made zero in the end.
    fn rectified(&self) -> Self {
        Self {
            rectified: true,
            ..self.clone()
        }
    }

    /// Does something with the layer's numbers at hand.
    pub(super) fn with_layer(&self, work: impl WithLayer) -> TractResult<()> {
        if self.weights.datum_type() == i8::datum_type() {
            self.with_layer_of::<i8>(work)
        } else {
            self.with_layer_of::<i16>(work)
        }
    }

    fn with_layer_of<W: Weight>(&self, work: impl WithLayer) -> TractResult<()> {
        let weights = self.weights.try_as_plain_ram()?;
        let scales = self.scales.try_as_plain_ram()?;
        let biases = self.biases.try_as_plain_ram()?;
        let layer = Layer::<W> {
            op: self,
            weights: weights.as_slice()?,
            scales: scales.as_slice()?,
            biases: biases.as_slice()?,
        };
        pulp::Arch::new().dispatch(Run { layer, work });
        Ok(())
    }

    /// How many numbers it hears and makes.
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.inputs, self.outputs]
    }

    /// Of the output; one of the row axes at most has a size that only the input tells.
    fn shape(&self, rows: usize) -> TVec<usize> {
        let known = |axis: usize| match &self.output_shape[axis] {
            TDim::Val(size) => Some(*size as usize),
            _ => None,
        };
        let others: usize = self
            .row_axes
            .iter()
            .filter_map(|axis| known(*axis))
            .product();
        let axes = 0..self.output_shape.len();
        axes.map(|axis| known(axis).unwrap_or(rows / others))
            .collect()
    }
}

/// Weights [in, out], whose largest for each output are given, in panels, and the scales of those.
fn packed<W: Weight>(
    numbers: &[f32],
    inputs: usize,
    largest: Vec<f32>,
) -> TractResult<(Tensor, Tensor)> {
    let outputs = largest.len();
    let panels = outputs.div_ceil(PANEL);
    let mut scales = largest;
    for scale in &mut scales {
        *scale /= W::LARGEST;
    }
    let mut packed = vec![W::nearest(0.0); panels * inputs * PANEL];
    for (input, row) in numbers.chunks_exact(outputs).enumerate() {
        for (output, number) in row.iter().enumerate() {
            let at = (output / PANEL * inputs + input) * PANEL + output % PANEL;
            packed[at] = W::nearest(number / scales[output]);
        }
    }
    scales.resize(panels * PANEL, 0.0);
    let weights = Tensor::from_shape(&[panels, inputs, PANEL], &packed)?;
    Ok((weights, Tensor::from_shape(&[panels, PANEL], &scales)?))
}

/// If `node` adds a bias to a linear layer that nobody else hears, or rectifies it: what that hears,
/// and both in one.
pub(super) fn extended(
    model: &TypedModel,
    node: &TypedNode,
) -> TractResult<Option<(OutletId, Linear)>> {
    let ([a, b], Some(op)) = (&node.inputs[..], node.op_as::<TypedBinOp>()) else {
        return Ok(None);
    };
    for (sums, constant) in [(a, b), (b, a)] {
        let layer = model.node(sums.node);
        let alone = model.outlet_successors(*sums).len() == 1;
        let alone = alone && !model.outputs.contains(sums);
        let constant = model.outlet_fact(*constant)?.konst.clone();
        let constant = constant.filter(|number| number.datum_type() == f32::datum_type());
        let same = model.outlet_fact(*sums)?.shape == model.outlet_fact(node.id.into())?.shape;
        let (Some(linear), Some(constant), true) =
            (layer.op_as::<Linear>(), constant, alone && same)
        else {
            continue;
        };
        let both = match op.0.name() {
            // A bias for each output, whatever the row.
            "Add" if constant.shape().last() == Some(&linear.outputs) => {
                linear.with_bias(&constant)?
            }
            "Max" if constant.len() == 1 && constant.as_uniform() == Some(tensor0(0f32)) => {
                Some(linear.rectified())
            }
            _ => None,
        };
        if let Some(both) = both {
            return Ok(Some((layer.inputs[0], both)));
        }
    }
    Ok(None)
}

/// Something to do with a layer's numbers, in code for the widest registers.
pub(super) trait WithLayer {
    fn with_layer<S: pulp::Simd, W: Weight>(self, simd: S, layer: Layer<'_, W>);
}

struct Run<'a, W, T> {
    layer: Layer<'a, W>,
    work: T,
}

impl<W: Weight, T: WithLayer> pulp::WithSimd for Run<'_, W, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        self.work.with_layer(simd, self.layer);
    }
}

/// A layer with its numbers at hand.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a, W> {
    op: &'a Linear,
    weights: &'a [W],
    scales: &'a [f32],
    biases: &'a [f32],
}

/// What a layer hears and says.
struct Rows<'a> {
    /// [rows, in]
    input: &'a [f32],
    /// [rows, out]
    output: &'a mut [f32],
}

impl WithLayer for Rows<'_> {
    #[inline(always)]
    fn with_layer<S: pulp::Simd, W: Weight>(self, simd: S, layer: Layer<'_, W>) {
        let Layer { op, .. } = layer;
        let groups = self.input.chunks(ROWS * op.inputs);
        for (input, output) in groups.zip(self.output.chunks_mut(ROWS * op.outputs)) {
            for panel in layer.panels() {
                let tiles = input.chunks(TILE * op.inputs);
                for (heard, output) in tiles.zip(output.chunks_mut(TILE * op.outputs)) {
                    panel.add_tile(simd, heard, output);
                }
            }
        }
    }
}

impl<'a, W: Weight> Layer<'a, W> {
    /// [in, PANEL] weights of each panel, with its scales and biases and its first output.
    #[inline(always)]
    fn panels(&self) -> impl Iterator<Item = Panel<'a, W>> + Clone + use<'a, W> {
        let weights = self.weights.chunks_exact(self.op.inputs * PANEL);
        let (scales, _) = self.scales.as_chunks::<PANEL>();
        let (biases, _) = self.biases.as_chunks::<PANEL>();
        let (outputs, rectified) = (self.op.outputs, self.op.rectified);
        let panels = weights.zip(scales.iter().zip(biases)).enumerate();
        panels.map(move |(at, (weights, (scales, biases)))| Panel {
            weights: weights.as_chunks::<PANEL>().0,
            scales,
            biases,
            begin: at * PANEL,
            outputs,
            rectified,
        })
    }

    /// [rows, in] to [rows, out], of [`TILE`] rows at most.
    #[inline(always)]
    pub(super) fn tile<S: pulp::Simd>(self, simd: S, heard: &[f32], output: &mut [f32]) {
        for panel in self.panels() {
            panel.add_tile(simd, heard, output);
        }
    }
}

/// Some of a layer's outputs.
struct Panel<'a, W> {
    weights: &'a [[W; PANEL]],
    scales: &'a [f32; PANEL],
    biases: &'a [f32; PANEL],
    /// of the layer's outputs
    begin: usize,
    outputs: usize,
    rectified: bool,
}

impl<W: Weight> Panel<'_, W> {
    /// Outputs from this panel's first on.
    fn left(&self) -> usize {
        self.outputs - self.begin
    }

    /// A tile's rows, as many at a time as registers hold.
    #[inline(always)]
    fn add_tile<S: pulp::Simd>(&self, simd: S, heard: &[f32], output: &mut [f32]) {
        let rows = output.len() / self.outputs;
        let is_narrow = self.left() <= NARROW;
        let mut row = 0;
        while row < rows {
            let args = (simd, row, heard);
            // Vectors of a part times rows are the registers that hold sums.
            row += match (S::F32_LANES, rows - row) {
                (16, 8..) => self.add_rows::<S, 8, 2, 32>(args, output),
                (16, 4..) => self.add_rows::<S, 4, 2, 32>(args, output),
                (16, 3) => self.add_rows::<S, 3, 4, 64>(args, output),
                (16, 2) => self.add_rows::<S, 2, 4, 64>(args, output),
                (16, _) if is_narrow => self.add_rows::<S, 1, 1, 16>(args, output),
                (16, _) => self.add_rows::<S, 1, 4, 64>(args, output),
                (8, 4..) if is_narrow => self.add_rows::<S, 4, 2, 16>(args, output),
                (8, 2..) => self.add_rows::<S, 2, 4, 32>(args, output),
                (8, _) if is_narrow => self.add_rows::<S, 1, 2, 16>(args, output),
                (8, _) => self.add_rows::<S, 1, 4, 32>(args, output),
                (4, 2..) if is_narrow => self.add_rows::<S, 2, 4, 16>(args, output),
                (4, 2..) => self.add_rows::<S, 2, 8, 32>(args, output),
                (4, _) if is_narrow => self.add_rows::<S, 1, 4, 16>(args, output),
                (4, _) => self.add_rows::<S, 1, 8, 32>(args, output),
                _ => self.add_rows::<S, 1, 8, 8>(args, output),
            };
        }
    }

    /// The same for `R` rows from `row` on, whose sums are `V` vectors, `P` numbers wide; gives
    /// `R`. Weights become f32 in registers, which goes on beside the sums.
    #[inline(always)]
    fn add_rows<S: pulp::Simd, const R: usize, const V: usize, const P: usize>(
        &self,
        (simd, row, heard): (S, usize, &[f32]),
        output: &mut [f32],
    ) -> usize {
        let inputs = self.weights.len();
        let (blocks, others) = self.weights.as_chunks::<BLOCK>();
        let rows: [(&[[f32; BLOCK]], &[f32]); R] =
            std::array::from_fn(|at| heard[(row + at) * inputs..][..inputs].as_chunks::<BLOCK>());
        for part in 0..PANEL / P {
            let begin = self.begin + part * P;
            let end = (begin + P).min(self.outputs);
            if begin >= end {
                break;
            }
            let mut sums = [[simd.splat_f32s(0.0); V]; R];
            // Inputs by blocks whose length is known, so that nothing is checked in between.
            for (block, weights) in blocks.iter().enumerate() {
                let heard: [&[f32; BLOCK]; R] = std::array::from_fn(|at| &rows[at].0[block]);
                for (input, weights) in weights.iter().enumerate() {
                    let heard: [f32; R] = std::array::from_fn(|at| heard[at][input]);
                    add_input::<S, W, R, V, P>(simd, &mut sums, heard, weights, part);
                }
            }
            for (input, weights) in others.iter().enumerate() {
                let heard: [f32; R] = std::array::from_fn(|at| rows[at].1[input]);
                add_input::<S, W, R, V, P>(simd, &mut sums, heard, weights, part);
            }
            let (scales, _) = S::as_simd_f32s(&self.scales[part * P..][..P]);
            let (biases, _) = S::as_simd_f32s(&self.biases[part * P..][..P]);
            let zero = simd.splat_f32s(0.0);
            for at in 0..R {
                let mut said = [0.0f32; P];
                let (vectors, _) = S::as_mut_simd_f32s(&mut said);
                for vector in 0..V {
                    let scaled = simd.mul_f32s(sums[at][vector], scales[vector]);
                    let mut sum = simd.add_f32s(scaled, biases[vector]);
                    if self.rectified {
                        sum = simd.select_f32s(simd.greater_than_f32s(sum, zero), sum, zero);
                    }
                    vectors[vector] = sum;
                }
                let output = &mut output[(row + at) * self.outputs..][begin..end];
                // A length that is known is a few moves; any other, a call.
                if let Ok(output) = <&mut [f32; P]>::try_from(&mut *output) {
                    *output = said;
                } else {
                    output.copy_from_slice(&said[..end - begin]);
                }
            }
        }
        R
    }
}

/// What one input adds to the sums of `R` rows, of `V` vectors each: the part `part` of a panel.
#[inline(always)]
fn add_input<S: pulp::Simd, W: Weight, const R: usize, const V: usize, const P: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; R],
    heard: [f32; R],
    weights: &[W; PANEL],
    part: usize,
) {
    let (parts, _) = weights.as_chunks::<P>();
    let mut wide = [0.0f32; P];
    for lane in 0..P {
        wide[lane] = parts[part][lane].into();
    }
    let (vectors, _) = S::as_simd_f32s(&wide);
    for at in 0..R {
        let x = simd.splat_f32s(heard[at]);
        for vector in 0..V {
            sums[at][vector] = add_products(simd, sums[at][vector], x, vectors[vector]);
        }
    }
}

/// `super::add_product` of vectors: fused where that one is.
#[inline(always)]
fn add_products<S: pulp::Simd>(simd: S, sum: S::f32s, a: S::f32s, b: S::f32s) -> S::f32s {
    if is_fused::<S>() {
        simd.mul_add_f32s(a, b, sum)
    } else {
        simd.add_f32s(sum, simd.mul_f32s(a, b))
    }
}

impl Op for Linear {
    fn name(&self) -> StaticName {
        "Linear".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Linear {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let rows = inputs[0].len() / self.inputs;
        let mut output = Tensor::zero::<f32>(&self.shape(rows))?;
        {
            let input = inputs[0].try_as_plain_ram()?;
            let (input, mut output) = (input.as_slice()?, output.try_as_plain_ram_mut()?);
            let output = output.as_slice_mut()?;
            self.with_layer(Rows { input, output })?;
        }
        Ok(tvec![output.into_tvalue()])
    }
}

impl TypedOp for Linear {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec![f32::fact(self.output_shape.as_slice())])
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    fn run(op: &Linear, input: &Tensor) -> Vec<f32> {
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

    /// Rounded to whole numbers of 8 bits times a scale for each output.
    fn eight_bits(weights: &Tensor, outputs: usize) -> Tensor {
        let plain = weights.try_as_plain_ram().unwrap();
        let mut numbers = plain.as_slice::<f32>().unwrap().to_vec();
        for output in 0..outputs {
            let places = || (output..weights.len()).step_by(outputs);
            let largest = places().map(|at| numbers[at].abs()).fold(0.0, f32::max);
            let scale = largest / 127.0;
            for at in places() {
                numbers[at] = (numbers[at] / scale).round() * scale;
            }
        }
        Tensor::from_shape(weights.shape(), &numbers).unwrap()
    }

    #[test]
    fn a_row_is_the_same_alone_and_among_others() {
        let rows_dim = SymbolScope::default().sym("N").to_dim();
        for (outputs, rows) in [1, 31, 130, 256]
            .into_iter()
            .flat_map(|outputs| [1, 2, 3, 5, 7, 8, 13, 16, 33, 70].map(|rows| (outputs, rows)))
        {
            let (inputs, mut seed) = (75, 5);
            let sixteen = noise(&mut seed, &[inputs, outputs]);
            let eight = eight_bits(&sixteen, outputs);
            let bias = noise(&mut seed, &[outputs]);
            let input = noise(&mut seed, &[rows, inputs]);
            for (weights, held, most) in [
                (sixteen, i16::datum_type(), 2e-3),
                (eight, i8::datum_type(), 1e-4),
            ] {
                let shape = tvec![rows_dim.clone(), outputs.to_dim()];
                let op = Linear::new(&weights, [inputs, outputs], shape, tvec![0]);
                let op = op.unwrap().unwrap().with_bias(&bias).unwrap().unwrap();
                assert_eq!(op.weights.datum_type(), held);
                let together = run(&op, &input);
                for row in 0..rows {
                    let alone = run(&op, &input.slice(0, row, row + 1).unwrap());
                    assert!(
                        together[row * outputs..][..outputs] == alone,
                        "{row} of {rows}, {outputs} outputs"
                    );
                    for (output, found) in alone.iter().enumerate() {
                        let expected: f32 = (0..inputs)
                            .map(|at| {
                                number(&input, row * inputs + at)
                                    * number(&weights, at * outputs + output)
                            })
                            .sum();
                        let expected = expected + number(&bias, output);
                        assert!((expected - found).abs() < most, "{expected} {found}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_output_without_weights_is_its_bias() {
        let weights = Tensor::zero::<f32>(&[150, 130]).unwrap();
        let bias = noise(&mut 3, &[130]);
        let op = Linear::new(
            &weights,
            [150, 130],
            tvec![1.to_dim(), 130.to_dim()],
            tvec![],
        );
        let op = op.unwrap().unwrap().with_bias(&bias).unwrap().unwrap();
        let said = run(&op, &noise(&mut 4, &[1, 150]));
        assert!((0..130).all(|at| said[at] == number(&bias, at)));
    }

    /// A layer of 40 to 30 numbers, a bias of `shape`, and what is below `least` made that.
    fn layer(rows: usize, shape: &[usize], least: f32) -> (f32, Vec<String>) {
        let mut seed = 9;
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact([rows, 40])).unwrap();
        let mut constant = |name: &str, tensor: Tensor| model.add_const(name, tensor).unwrap();
        let weights = constant("weights", noise(&mut seed, &[40, 30]));
        let bias = constant("bias", noise(&mut seed, shape));
        let least = constant("least", tensor2(&[[least]]));
        let product = "mk,kn->mn".parse().unwrap();
        let product = tract_onnx::tract_core::ops::einsum::EinSum::new(product, f32::datum_type());
        let x = model.wire_node("product", product, &[x, weights]).unwrap()[0];
        use tract_onnx::tract_core::ops::math;
        let x = model.wire_node("sum", math::add(), &[x, bias]).unwrap()[0];
        let x = model.wire_node("out", math::max(), &[x, least]).unwrap();
        model.select_output_outlets(&x).unwrap();
        difference(model, noise(&mut seed, &[rows, 40]))
    }

    #[test]
    fn biases_and_rectifiers_join_their_layer() {
        for rows in [2, 9] {
            let (error, ops) = layer(rows, &[1, 30], 0.0);
            assert!(error < 2e-4, "{error}");
            assert_eq!(ops, ["Linear"]);
        }
        let (error, ops) = layer(9, &[1, 30], -0.5);
        assert!(error < 2e-4, "{error}");
        assert_eq!(ops, ["Linear", "Pairwise"], "not a rectifier");
        let (error, ops) = layer(9, &[9, 30], 0.0);
        assert!(error < 2e-4, "{error}");
        assert_eq!(
            ops,
            ["Linear", "Pairwise", "Pairwise"],
            "a bias for each row"
        );
    }

    fn number(tensor: &Tensor, at: usize) -> f32 {
        tensor
            .to_plain_array_view::<f32>()
            .unwrap()
            .as_slice()
            .unwrap()[at]
    }
}
