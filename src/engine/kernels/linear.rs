//! Linear layers: their time is that of reading the weights, so these are held in 16 bits, or in the
//! 8 that they were exported in, and a step of several streams reads them once. Small layers whose
//! weights serve many rows of a stream are held as they are.

mod float;
#[cfg_attr(not(target_arch = "x86_64"), path = "linear/no_int8.rs")]
mod int8;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

use super::reshape::View;
use float::{Floats, Weight, packed};

/// Outputs whose weights lie together.
const PANEL: usize = 64;
/// Rows whose sums stay in registers while a panel's inputs pass.
pub(super) const TILE: usize = 8;
/// Rows that share one reading of the weights.
const ROWS: usize = 32;
/// Weights from which on reading them counts.
const MIN_WEIGHTS: usize = 16_384;
/// Rows of one stream from which on it does not.
const SEVERAL_ROWS: usize = 4;
/// Weights are whole numbers, times a scale for each output; those that are whole numbers of 8 bits
/// times a scale are within this of them.
const WHOLE: f32 = 1e-3;
/// The largest whole number of 8 bits that is a weight.
const LARGEST_OF_EIGHT_BITS: f32 = 127.0;

/// [rows, in] to [rows, out] and a bias, each output's weights rounded to 1/65534 of their range if
/// they are many.
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
    /// [panels, in, PANEL] f32, i16 or i8, or i8 in the order of [`pairs`]
    weights: Arc<Tensor>,
    /// whether they are in that order
    is_paired: bool,
    /// [panels, PANEL] f32
    scales: Arc<Tensor>,
    /// [panels, PANEL] f32, added in the end
    biases: Arc<Tensor>,
    /// whether the sums are added to a second input, which has the output's shape
    added: bool,
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
        if row_axes.is_empty() && inputs * outputs < MIN_WEIGHTS {
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
                let number = number / largest * LARGEST_OF_EIGHT_BITS;
                *largest == 0.0 || (number - number.round()).abs() <= WHOLE
            })
        });
        let rows = row_axes
            .iter()
            .filter_map(|axis| output_shape[*axis].to_usize().ok());
        let several_rows = rows.product::<usize>() >= SEVERAL_ROWS;
        let is_paired = in_eight_bits && int8::can_pair(inputs);
        let (weights, scales) = if is_paired {
            let (weights, scales) = packed::<i8>(numbers, inputs, &largest)?;
            (int8::paired(&weights)?, scales)
        } else if several_rows && numbers.len() < MIN_WEIGHTS {
            packed::<f32>(numbers, inputs, &largest)?
        } else if in_eight_bits {
            packed::<i8>(numbers, inputs, &largest)?
        } else {
            packed::<i16>(numbers, inputs, &largest)?
        };
        let panels = scales.shape()[0];
        let nothing = Tensor::zero::<f32>(&[panels, PANEL])?;
        Ok(Some(Self {
            inputs,
            outputs,
            output_shape,
            row_axes,
            weights: weights.into_arc_tensor(),
            is_paired,
            scales: scales.into_arc_tensor(),
            biases: nothing.into_arc_tensor(),
            added: false,
            rectified: false,
        }))
    }

    /// The same with a bias for each output, which goes on from this one's sums.
    pub(super) fn with_bias(&self, bias: &Tensor) -> TractResult<Option<Self>> {
        let plain = bias.try_as_plain_ram()?;
        let numbers = plain.as_slice::<f32>()?;
        let biases = self.biases.try_as_plain_ram()?;
        let mut biases = biases.as_slice::<f32>()?.to_vec();
        let has_more = self.added || self.rectified || biases.iter().any(|bias| *bias != 0.0);
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

    /// The same whose sums are added to a second input, of the shape that the output then has.
    fn added(&self, output_shape: TVec<TDim>) -> Option<Self> {
        (!self.added && !self.rectified).then(|| Self {
            added: true,
            output_shape,
            ..self.clone()
        })
    }

    /// The same, with what is below zero made zero in the end.
    fn rectified(&self) -> Self {
        Self {
            rectified: true,
            ..self.clone()
        }
    }

    /// Does something with the layer, its numbers at hand.
    pub(super) fn with_layer(&self, work: impl WithLayer) -> TractResult<()> {
        if self.is_paired {
            int8::with_layer(self, work)
        } else if self.weights.datum_type() == f32::datum_type() {
            self.with_floats::<f32>(work)
        } else if self.weights.datum_type() == i8::datum_type() {
            self.with_floats::<i8>(work)
        } else {
            self.with_floats::<i16>(work)
        }
    }

    fn with_floats<W: Weight>(&self, work: impl WithLayer) -> TractResult<()> {
        let weights = self.weights.try_as_plain_ram()?;
        let layer = Floats::<W> {
            weights: weights.as_slice()?,
            ends: self.ends()?,
        };
        pulp::Arch::new().dispatch(Run { layer, work });
        Ok(())
    }

    fn ends(&self) -> TractResult<Ends<'_>> {
        let (scales, biases) = (
            self.scales.try_as_plain_ram()?,
            self.biases.try_as_plain_ram()?,
        );
        Ok(Ends {
            sizes: self.sizes(),
            scales: scales.as_slice()?.as_chunks().0,
            biases: biases.as_slice()?.as_chunks().0,
            added: self.added,
            rectified: self.rectified,
        })
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

/// If `node` adds a bias or a second input to a linear layer that nobody else hears, or rectifies
/// it: what both hear, and both in one.
pub(super) fn extended(
    model: &TypedModel,
    node: &TypedNode,
) -> TractResult<Option<(TVec<OutletId>, Linear)>> {
    let ([a, b], Some(op)) = (&node.inputs[..], node.op_as::<TypedBinOp>()) else {
        return Ok(None);
    };
    let shape = &model.outlet_fact(node.id.into())?.shape;
    for (sums, other) in [(a, b), (b, a)] {
        let Some((layer, linear)) = alone(model, *sums) else {
            continue;
        };
        let fact = model.outlet_fact(*other)?;
        if model.outlet_fact(*sums)?.shape != *shape || fact.datum_type != f32::datum_type() {
            continue;
        }
        let mut heard: TVec<OutletId> = layer.inputs.iter().copied().collect();
        let is_direct = sums.node == layer.id;
        let both = match (op.0.name(), &fact.konst) {
            // A bias for each output, whatever the row.
            ("Add", Some(bias)) if is_direct && bias.shape().last() == Some(&linear.outputs) => {
                linear.with_bias(bias)?
            }
            ("Add", None) if fact.shape == *shape => {
                heard.push(*other);
                linear.added(shape.dims().into())
            }
            ("Max", Some(least)) if is_direct && least.as_uniform() == Some(tensor0(0f32)) => {
                (least.len() == 1).then(|| linear.rectified())
            }
            _ => None,
        };
        if let Some(both) = both {
            return Ok(Some((heard, both)));
        }
    }
    Ok(None)
}

/// The layer that makes `outlet`, directly or in another shape, if nobody else hears it.
fn alone(model: &TypedModel, outlet: OutletId) -> Option<(&TypedNode, &Linear)> {
    let node = model.node(outlet.node);
    if model.outlet_successors(outlet).len() != 1 || model.outputs.contains(&outlet) {
        return None;
    }
    match node.op_as::<Linear>() {
        Some(linear) => Some((node, linear)),
        None if node.op_is::<View>() => alone(model, node.inputs[0]),
        None => None,
    }
}

/// A layer whose numbers are at hand, for registers of `S`.
pub(super) trait Layer<S> {
    /// [rows, in] to [rows, out].
    fn run(&self, simd: S, input: &[f32], output: &mut [f32]);
}

/// Something to do with a layer, in code for the widest registers.
pub(super) trait WithLayer {
    fn with_layer<S: pulp::Simd>(self, simd: S, layer: &impl Layer<S>);
}

struct Run<L, T> {
    layer: L,
    work: T,
}

impl<W: Weight, T: WithLayer> pulp::WithSimd for Run<Floats<'_, W>, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        self.work.with_layer(simd, &self.layer);
    }
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
    fn with_layer<S: pulp::Simd>(self, simd: S, layer: &impl Layer<S>) {
        layer.run(simd, self.input, self.output);
    }
}

/// What becomes of a layer's sums.
struct Ends<'a> {
    sizes: [usize; 2],
    /// of each panel
    scales: &'a [[f32; PANEL]],
    biases: &'a [[f32; PANEL]],
    added: bool,
    rectified: bool,
}

impl Ends<'_> {
    /// Outputs from a panel's first on.
    #[inline(always)]
    fn left(&self, panel: usize) -> usize {
        self.sizes[1] - panel * PANEL
    }

    /// Writes the sums of a row's outputs: of the `part`th `P` of a panel, in `V` vectors. They are
    /// multiplied by their scales, and those by `step`.
    #[inline(always)]
    fn say<S: pulp::Simd, const V: usize, const P: usize>(
        &self,
        (simd, panel, part): (S, usize, usize),
        (sums, step): ([S::f32s; V], Option<f32>),
        row: &mut [f32],
    ) {
        let begin = panel * PANEL + part * P;
        let end = (begin + P).min(self.sizes[1]);
        let output = &mut row[begin..end];
        // A length that is known is a few moves; any other, a call.
        if let Ok(output) = <&mut [f32; P]>::try_from(&mut *output) {
            self.finish::<S, V, P>((simd, panel, part), (sums, step), output);
        } else {
            let mut said = [0.0f32; P];
            if self.added {
                said[..end - begin].copy_from_slice(output);
            }
            self.finish::<S, V, P>((simd, panel, part), (sums, step), &mut said);
            output.copy_from_slice(&said[..end - begin]);
        }
    }

    /// The same for all of them.
    #[inline(always)]
    fn finish<S: pulp::Simd, const V: usize, const P: usize>(
        &self,
        (simd, panel, part): (S, usize, usize),
        (sums, step): ([S::f32s; V], Option<f32>),
        output: &mut [f32; P],
    ) {
        let (scales, _) = S::as_simd_f32s(&self.scales[panel][part * P..][..P]);
        let (biases, _) = S::as_simd_f32s(&self.biases[panel][part * P..][..P]);
        let (output, _) = S::as_mut_simd_f32s(output);
        let zero = simd.splat_f32s(0.0);
        for vector in 0..V {
            let scale = match step {
                Some(step) => simd.mul_f32s(scales[vector], simd.splat_f32s(step)),
                None => scales[vector],
            };
            let scaled = simd.mul_f32s(sums[vector], scale);
            let mut sum = simd.add_f32s(scaled, biases[vector]);
            if self.added {
                sum = simd.add_f32s(sum, output[vector]);
            }
            if self.rectified {
                sum = simd.select_f32s(simd.greater_than_f32s(sum, zero), sum, zero);
            }
            output[vector] = sum;
        }
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

    fn eval(&self, _: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut output = if self.added {
            // Written in place when nobody else holds it.
            inputs.remove(1).into_tensor()
        } else {
            Tensor::zero::<f32>(&self.shape(inputs[0].len() / self.inputs))?
        };
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
        let output = op.eval(&EvalContext::out_of_plan(), inputs).unwrap();
        plain(&output[0])
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

    /// A layer with a bias, rows as many as there are or known to be seven.
    fn biased(weights: &Tensor, bias: &Tensor, known: bool) -> Linear {
        let [inputs, outputs] = *weights.shape() else {
            unreachable!("weights have two axes")
        };
        let rows = SymbolScope::default().sym("N").to_dim();
        let shape = if known {
            tvec![rows, 7.to_dim(), outputs.to_dim()]
        } else {
            tvec![rows, outputs.to_dim()]
        };
        let axes = (0..shape.len() - 1).collect();
        let op = Linear::new(weights, [inputs, outputs], shape, axes);
        op.unwrap().unwrap().with_bias(bias).unwrap().unwrap()
    }

    #[test]
    fn a_row_is_the_same_alone_and_among_others() {
        for (inputs, outputs, rows) in [(75, 1), (75, 31), (75, 130), (1301, 96)]
            .into_iter()
            .flat_map(|(inputs, outputs)| {
                [1, 2, 3, 5, 7, 8, 13, 16, 33, 70].map(|rows| (inputs, outputs, rows))
            })
        {
            let mut seed = 5;
            let sixteen = noise(&mut seed, &[inputs, outputs]);
            let eight = eight_bits(&sixteen, outputs);
            let bias = noise(&mut seed, &[outputs]);
            let input = noise(&mut seed, &[rows, inputs]);
            for (weights, held, most) in [
                (sixteen, i16::datum_type(), 1e-4),
                (eight, i8::datum_type(), 2e-4),
            ] {
                let op = biased(&weights, &bias, false);
                assert_eq!(op.weights.datum_type(), held);
                let most = most * (inputs as f32 / 10.0).sqrt();
                let together = run(&op, &input);
                for row in 0..rows {
                    let one = input.slice(0, row, row + 1).unwrap();
                    let alone = run(&op, &one);
                    assert!(
                        together[row * outputs..][..outputs] == alone,
                        "{row} of {rows}, {outputs} outputs"
                    );
                    for (expected, found) in products(&one, &weights, &bias).zip(&alone) {
                        assert!((expected - found).abs() < most, "{expected} {found}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_small_layer_of_many_rows_is_exact() {
        let mut seed = 8;
        let weights = noise(&mut seed, &[48, 146]);
        let bias = noise(&mut seed, &[146]);
        let op = biased(&weights, &bias, true);
        assert_eq!(op.weights.datum_type(), f32::datum_type());
        let input = noise(&mut seed, &[3 * 7, 48]);
        for (row, found) in run(&op, &input).chunks(146).enumerate() {
            let one = input.slice(0, row, row + 1).unwrap();
            for (expected, found) in products(&one, &weights, &bias).zip(found) {
                assert!((expected - found).abs() < 1e-5, "{expected} {found}");
            }
        }
    }

    #[test]
    fn rows_of_any_size_are_heard_and_what_is_no_number_is_not_hidden() {
        let weights = eight_bits(&noise(&mut 5, &[200, 100]), 100);
        let bias = Tensor::zero::<f32>(&[100]).unwrap();
        let op = biased(&weights, &bias, false);
        for size in [1e-20, 1.0, 1e20] {
            let input: Vec<f32> = plain(&noise(&mut 7, &[1, 200]));
            let input: Vec<f32> = input.iter().map(|number| number * size).collect();
            let input = Tensor::from_shape(&[1, 200], &input).unwrap();
            for (expected, found) in products(&input, &weights, &bias).zip(run(&op, &input)) {
                assert!((expected - found).abs() < 2e-3 * size, "{expected} {found}");
            }
        }
        let nothing = Tensor::zero::<f32>(&[1, 200]).unwrap();
        assert!(run(&op, &nothing).iter().all(|said| *said == 0.0));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut input = vec![1.0; 400];
            input[17] = bad;
            let said = run(&op, &Tensor::from_shape(&[2, 200], &input).unwrap());
            assert!(said[..100].iter().all(|said| !said.is_finite()), "{bad}");
            assert!(said[100..].iter().all(|said| said.is_finite()), "{bad}");
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
        assert_eq!(said, plain(&bias));
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

    #[test]
    fn what_a_layer_is_added_to_joins_it() {
        let mut seed = 9;
        for (rows, width) in [(1, 150), (9, 40)] {
            let mut model = TypedModel::default();
            let x = model.add_source("x", f32::fact([rows, width])).unwrap();
            let mut constant = |name: &str, shape: &[usize]| {
                model.add_const(name, noise(&mut seed, shape)).unwrap()
            };
            let weights = constant("weights", &[width, width]);
            let bias = constant("bias", &[1, width]);
            let zero = model.add_const("zero", tensor3(&[[[0f32]]])).unwrap();
            let product = "mk,kn->mn".parse().unwrap();
            let product =
                tract_onnx::tract_core::ops::einsum::EinSum::new(product, f32::datum_type());
            let mut one = |name: &str, op: Box<dyn TypedOp>, heard: &[OutletId]| {
                model.wire_node(name, op, heard).unwrap()[0]
            };
            use tract_onnx::tract_core::ops::{change_axes::AxisOp, math};
            let form = || {
                let parts = tvec![(width / 5).to_dim(), 5.to_dim()];
                Box::new(AxisOp::Reshape(1, tvec![width.to_dim()], parts))
            };
            let said = one("product", Box::new(product), &[x, weights]);
            let said = one("sum", Box::new(math::add()), &[said, bias]);
            let said = one("form", form(), &[said]);
            let x = one("heard", form(), &[x]);
            let both = one("both", Box::new(math::add()), &[x, said]);
            let both = one("out", Box::new(math::max()), &[both, zero]);
            model.select_output_outlets(&[both]).unwrap();
            let (error, ops) = difference(model, noise(&mut seed, &[rows, width]));
            assert!(error < 2e-3, "{error}");
            assert_eq!(ops, ["View", "Linear"]);
        }
    }

    fn plain(tensor: &Tensor) -> Vec<f32> {
        tensor
            .try_as_plain_ram()
            .unwrap()
            .as_slice()
            .unwrap()
            .to_vec()
    }

    /// What a layer is to say to one row.
    fn products(
        row: &Tensor,
        weights: &Tensor,
        bias: &Tensor,
    ) -> impl Iterator<Item = f32> + use<> {
        let mut sums: Vec<f64> = plain(bias).into_iter().map(f64::from).collect();
        let outputs = sums.len();
        for (heard, weights) in plain(row).iter().zip(plain(weights).chunks(outputs)) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += f64::from(*heard) * f64::from(*weight);
            }
        }
        sums.into_iter().map(|sum| sum as f32)
    }
}
