use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::super::tests::{difference, noise};
use super::Linear;

fn run(op: &Linear, input: &Tensor) -> Vec<f32> {
    let inputs = tvec![input.clone().into_tvalue()];
    let output = op.eval(&EvalContext::out_of_plan(), inputs).unwrap();
    plain(&output[0])
}

/// Weights rounded to 8-bit integers times a scale for each output.
fn eight_bits(weights: &Tensor, outputs: usize) -> Tensor {
    let plain = weights.try_as_plain_ram().unwrap();
    let mut numbers = plain.as_slice::<f32>().unwrap().to_vec();
    for output in 0..outputs {
        let column = || (output..weights.len()).step_by(outputs);
        let max_abs = column().map(|at| numbers[at].abs()).fold(0.0, f32::max);
        let scale = max_abs / 127.0;
        for at in column() {
            numbers[at] = (numbers[at] / scale).round() * scale;
        }
    }
    Tensor::from_shape(weights.shape(), &numbers).unwrap()
}

/// A layer with a bias for [N, inputs], or for [N, 7, inputs] if it `has_seven_rows` per stream.
fn biased(weights: &Tensor, bias: &Tensor, has_seven_rows: bool) -> Linear {
    let [inputs, outputs] = *weights.shape() else {
        unreachable!("weights have two axes")
    };
    let rows = SymbolScope::default().sym("N").to_dim();
    let shape = if has_seven_rows {
        tvec![rows, 7.to_dim(), outputs.to_dim()]
    } else {
        tvec![rows, outputs.to_dim()]
    };
    let op = Linear::new(weights, [inputs, outputs], shape, true);
    op.unwrap().unwrap().with_bias(bias).unwrap().unwrap()
}

#[test]
fn a_row_is_the_same_alone_and_among_others() {
    for (inputs, outputs, rows) in [
        (75, 1),
        (75, 31),
        (75, 130),
        (1301, 31),
        (1301, 96),
        (1301, 130),
    ]
    .into_iter()
    .flat_map(|(inputs, outputs)| {
        [1, 2, 3, 5, 7, 8, 13, 16, 33, 70].map(|rows| (inputs, outputs, rows))
    }) {
        let mut seed = 5;
        let sixteen = noise(&mut seed, &[inputs, outputs]);
        let eight = eight_bits(&sixteen, outputs);
        let bias = noise(&mut seed, &[outputs]);
        let input = noise(&mut seed, &[rows, inputs]);
        let large = if inputs * outputs < 16_384 {
            "f32"
        } else {
            "i16"
        };
        for (weights, format, tolerance) in [(sixteen, large, 1e-4), (eight, "i8", 2e-4)] {
            let op = biased(&weights, &bias, false);
            assert_eq!(op.layer.format(), format);
            let tolerance = tolerance * (inputs as f32 / 10.0).sqrt();
            let together = run(&op, &input);
            for row in 0..rows {
                let one = input.slice(0, row, row + 1).unwrap();
                let alone = run(&op, &one);
                assert!(
                    together[row * outputs..][..outputs] == alone,
                    "{row} of {rows}, {outputs} outputs"
                );
                for (expected, found) in products(&one, &weights, &bias).zip(&alone) {
                    assert!((expected - found).abs() < tolerance, "{expected} {found}");
                }
            }
        }
    }
}

#[test]
fn a_small_layer_is_exact() {
    let mut seed = 8;
    let weights = noise(&mut seed, &[48, 146]);
    let bias = noise(&mut seed, &[146]);
    let op = biased(&weights, &bias, true);
    assert_eq!(op.layer.format(), "f32");
    let input = noise(&mut seed, &[3 * 7, 48]);
    for (row, found) in run(&op, &input).chunks(146).enumerate() {
        let one = input.slice(0, row, row + 1).unwrap();
        for (expected, found) in products(&one, &weights, &bias).zip(found) {
            assert!((expected - found).abs() < 1e-5, "{expected} {found}");
        }
    }
}

#[test]
fn rows_of_any_level_are_accurate_and_non_finite_inputs_propagate() {
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
    let zeros = Tensor::zero::<f32>(&[1, 200]).unwrap();
    assert!(run(&op, &zeros).iter().all(|output| *output == 0.0));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut input = vec![1.0; 400];
        input[17] = bad;
        let output = run(&op, &Tensor::from_shape(&[2, 200], &input).unwrap());
        assert!(output[..100].iter().all(|x| !x.is_finite()), "{bad}");
        assert!(output[100..].iter().all(|x| x.is_finite()), "{bad}");
    }
}

#[test]
fn an_output_without_weights_is_its_bias() {
    let weights = Tensor::zero::<f32>(&[150, 130]).unwrap();
    let bias = noise(&mut 3, &[130]);
    let op = Linear::new(&weights, [150, 130], tvec![1.to_dim(), 130.to_dim()], false);
    let op = op.unwrap().unwrap().with_bias(&bias).unwrap().unwrap();
    let output = run(&op, &noise(&mut 4, &[1, 150]));
    assert_eq!(output, plain(&bias));
}

/// A layer of 40 inputs and 30 outputs with a bias of `shape` and a lower limit of `min`.
fn layer(rows: usize, shape: &[usize], min: f32) -> (f32, Vec<String>) {
    let mut seed = 9;
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact([rows, 40])).unwrap();
    let mut constant = |name: &str, tensor: Tensor| model.add_const(name, tensor).unwrap();
    let weights = constant("weights", noise(&mut seed, &[40, 30]));
    let bias = constant("bias", noise(&mut seed, shape));
    let min = constant("min", tensor2(&[[min]]));
    let product = "mk,kn->mn".parse().unwrap();
    let product = tract_onnx::tract_core::ops::einsum::EinSum::new(product, f32::datum_type());
    let x = model.wire_node("product", product, &[x, weights]).unwrap()[0];
    use tract_onnx::tract_core::ops::math;
    let x = model.wire_node("sum", math::add(), &[x, bias]).unwrap()[0];
    let x = model.wire_node("out", math::max(), &[x, min]).unwrap();
    model.select_output_outlets(&x).unwrap();
    difference(model, noise(&mut seed, &[rows, 40]))
}

#[test]
fn biases_and_relus_are_fused() {
    for rows in [2, 9] {
        let (error, ops) = layer(rows, &[1, 30], 0.0);
        assert!(error < 2e-4, "{error}");
        assert_eq!(ops, ["Linear"]);
    }
    let (error, ops) = layer(9, &[1, 30], -0.5);
    assert!(error < 2e-4, "{error}");
    assert_eq!(ops, ["Linear", "BinaryElementwise"], "no ReLU");
    let (error, ops) = layer(9, &[9, 30], 0.0);
    assert!(error < 2e-4, "{error}");
    assert_eq!(
        ops,
        ["Linear", "BinaryElementwise", "BinaryElementwise"],
        "a bias for each row"
    );
}

#[test]
fn residuals_are_fused() {
    let mut seed = 9;
    for (rows, width) in [(1, 150), (9, 40)] {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact([rows, width])).unwrap();
        let mut constant =
            |name: &str, shape: &[usize]| model.add_const(name, noise(&mut seed, shape)).unwrap();
        let weights = constant("weights", &[width, width]);
        let bias = constant("bias", &[1, width]);
        let zero = model.add_const("zero", tensor3(&[[[0f32]]])).unwrap();
        let product = "mk,kn->mn".parse().unwrap();
        let product = tract_onnx::tract_core::ops::einsum::EinSum::new(product, f32::datum_type());
        let mut one = |name: &str, op: Box<dyn TypedOp>, inputs: &[OutletId]| {
            model.wire_node(name, op, inputs).unwrap()[0]
        };
        use tract_onnx::tract_core::ops::{change_axes::AxisOp, math};
        let reshape = || {
            let parts = tvec![(width / 5).to_dim(), 5.to_dim()];
            Box::new(AxisOp::Reshape(1, tvec![width.to_dim()], parts))
        };
        let layer = one("product", Box::new(product), &[x, weights]);
        let layer = one("sum", Box::new(math::add()), &[layer, bias]);
        let layer = one("layer", reshape(), &[layer]);
        let x = one("residual", reshape(), &[x]);
        let sum = one("with_residual", Box::new(math::add()), &[x, layer]);
        let relu = one("out", Box::new(math::max()), &[sum, zero]);
        model.select_output_outlets(&[relu]).unwrap();
        let (error, ops) = difference(model, noise(&mut seed, &[rows, width]));
        assert!(error < 2e-3, "{error}");
        assert_eq!(ops, ["Reshape", "Linear"]);
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

/// The outputs of a layer for one row, computed in f64.
fn products(row: &Tensor, weights: &Tensor, bias: &Tensor) -> impl Iterator<Item = f32> + use<> {
    let mut sums: Vec<f64> = plain(bias).into_iter().map(f64::from).collect();
    let outputs = sums.len();
    for (input, weights) in plain(row).iter().zip(plain(weights).chunks(outputs)) {
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += f64::from(*input) * f64::from(*weight);
        }
    }
    sums.into_iter().map(|sum| sum as f32)
}
