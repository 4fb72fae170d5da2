//! A layer with its weights, and the choice of their format.

use std::sync::Arc;

use super::epilogue::Epilogue;
use super::float::{self, pack, to_panels};
use super::int8::{self, Int8Weights};
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
use super::int16::{self, Int16Weights};
use super::layer::{INT8_MAX, LayerVisitor, PANEL};
use crate::fast_math::ROUNDER;

/// Weights of a layer from which on their reading takes most of its time.
const MIN_WEIGHTS: usize = 16_384;
/// Largest deviation of an 8-bit weight from an integer times the scale of its output, in units of
/// the scale.
const INT8_TOLERANCE: f32 = 1e-3;

/// [rows, inputs] to [rows, outputs] with a bias. Large layers round their weights to 16 bits: to
/// 1/65278 of the range of each output. Where they are products of integers, the inputs of a row are rounded to
/// 1/65534 of their range, too.
///
/// The sums of a row have the same order for any number of rows, so the output of a stream has the
/// same bits alone and in a batch.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) struct PackedLinear {
    /// inputs and outputs
    sizes: [usize; 2],
    weights: Arc<Weights>,
    /// [panels, PANEL]
    scales: Arc<[[f32; PANEL]]>,
    /// [panels, PANEL]
    biases: Arc<[[f32; PANEL]]>,
    has_bias: bool,
}

/// [panels, inputs, PANEL]
#[derive(Debug, PartialEq)]
enum Weights {
    F32(Vec<f32>),
    I16(Vec<i16>),
    I8(Vec<i8>),
    /// for products of integers
    Int8(Int8Weights),
    /// for products of integers
    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    Int16(Int16Weights),
}

/// The operations after the bias.
#[derive(Debug, Clone, Copy, Default, Hash, PartialEq, Eq)]
pub(in crate::engine) struct Additions {
    /// whether the sums are added to the present values of the output
    pub(in crate::engine) residual: bool,
    /// whether negative results become zero
    pub(in crate::engine) relu: bool,
}

impl PackedLinear {
    /// A layer with `weights` [inputs, outputs] and no bias. `None` for non-finite weights.
    pub(in crate::engine) fn new(weights: &[f32], [inputs, outputs]: [usize; 2]) -> Option<Self> {
        // Without a branch, so that the compiler vectorizes the loop.
        let is_finite = |all: bool, weight: &f32| all & weight.is_finite();
        if !weights.iter().fold(true, is_finite) {
            return None;
        }
        let mut max_abs = vec![0.0f32; outputs];
        for row in weights.chunks_exact(outputs) {
            for (max_abs, weight) in max_abs.iter_mut().zip(row) {
                *max_abs = max_abs.max(weight.abs());
            }
        }
        let is_int8 = is_int8(weights, &max_abs);
        let (weights, scales) = if is_int8 && int8::is_supported(inputs) {
            let (weights, scales) = pack::<i8>(weights, inputs, &max_abs);
            (
                Weights::Int8(Int8Weights::new(&weights, [inputs, outputs])),
                scales,
            )
        } else if weights.len() < MIN_WEIGHTS {
            let (weights, scales) = pack(weights, inputs, &max_abs);
            (Weights::F32(weights), scales)
        } else if is_int8 {
            let (weights, scales) = pack(weights, inputs, &max_abs);
            (Weights::I8(weights), scales)
        } else {
            pack_16(weights, inputs, &max_abs)
        };
        Some(Self::without_bias([inputs, outputs], weights, scales))
    }

    /// A layer with the weights `integers` (8 bits, signed) [inputs, outputs] times `scales` [outputs], and
    /// no bias. `None` if the kernel for 8-bit weights cannot have them: [`PackedLinear::new`] may then.
    pub(in crate::engine) fn from_int8(
        integers: &[u8],
        [inputs, outputs]: [usize; 2],
        scales: &[f32],
    ) -> Option<Self> {
        let is_in_range = |all: bool, integer: &u8| all & (*integer as i8 != i8::MIN);
        let is_finite = scales.iter().all(|scale| (scale * INT8_MAX).is_finite());
        // A constant may have another shape than when it was multiplied by its scales.
        let is_fit = scales.len() == outputs && int8::is_supported(inputs);
        if !is_fit || !is_finite || !integers.iter().fold(true, is_in_range) {
            return None;
        }
        let packed = to_panels(integers, [inputs, outputs], 0, |_, row, to| {
            for (to, integer) in to.iter_mut().zip(row) {
                *to = *integer as i8;
            }
        });
        let mut padded = vec![[0.0; PANEL]; outputs.div_ceil(PANEL)];
        padded.as_flattened_mut()[..outputs].copy_from_slice(scales);
        let weights = Weights::Int8(Int8Weights::new(&packed, [inputs, outputs]));
        Some(Self::without_bias([inputs, outputs], weights, padded))
    }

    fn without_bias(sizes: [usize; 2], weights: Weights, scales: Vec<[f32; PANEL]>) -> Self {
        Self {
            sizes,
            weights: Arc::new(weights),
            biases: vec![[0.0; PANEL]; scales.len()].into(),
            scales: scales.into(),
            has_bias: false,
        }
    }

    /// The layer with `bias` [outputs].
    pub(in crate::engine) fn with_bias(&self, bias: &[f32]) -> Self {
        let mut biases = self.biases.to_vec();
        biases.as_flattened_mut()[..bias.len()].copy_from_slice(bias);
        Self {
            biases: biases.into(),
            has_bias: true,
            ..self.clone()
        }
    }

    pub(in crate::engine) fn has_bias(&self) -> bool {
        self.has_bias
    }

    /// Numbers of inputs and of outputs.
    pub(in crate::engine) fn sizes(&self) -> [usize; 2] {
        self.sizes
    }

    /// The format of the weights.
    #[cfg(all(test, feature = "onnx"))]
    pub(in crate::engine) fn format(&self) -> &'static str {
        match &*self.weights {
            Weights::F32(_) => "f32",
            Weights::I16(_) => "i16",
            #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
            Weights::Int16(_) => "i16",
            Weights::I8(_) | Weights::Int8(_) => "i8",
        }
    }

    /// Runs `visitor` with the layer in its numeric format, for the widest instruction set of the
    /// processor.
    pub(in crate::engine) fn visit(&self, additions: Additions, visitor: impl LayerVisitor) {
        let epilogue = Epilogue {
            sizes: self.sizes,
            scales: &self.scales,
            biases: &self.biases,
            residual: additions.residual,
            relu: additions.relu,
        };
        match &*self.weights {
            Weights::F32(weights) => float::visit(weights, epilogue, visitor),
            Weights::I16(weights) => float::visit(weights, epilogue, visitor),
            Weights::I8(weights) => float::visit(weights, epilogue, visitor),
            Weights::Int8(weights) => weights.visit(epilogue, visitor),
            #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
            Weights::Int16(weights) => weights.visit(epilogue, visitor),
        }
    }
}

/// Weights [inputs, outputs] in 16 bits, and their scales.
fn pack_16(weights: &[f32], inputs: usize, max_abs: &[f32]) -> (Weights, Vec<[f32; PANEL]>) {
    let (weights, scales) = pack(weights, inputs, max_abs);
    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    if let Some(kernel) = int16::kernel(inputs) {
        let sizes = [inputs, max_abs.len()];
        return (
            Weights::Int16(Int16Weights::new(&weights, sizes, kernel)),
            scales,
        );
    }
    (Weights::I16(weights), scales)
}

/// Whether all weights [inputs, outputs] are 8-bit integers times the scale of their output.
fn is_int8(weights: &[f32], max_abs: &[f32]) -> bool {
    // Multiplied by the inverse: a division for each weight takes most of the time to load a layer.
    // Its rounding is far below the tolerance.
    let inverse = |max_abs: &f32| {
        if *max_abs == 0.0 {
            0.0
        } else {
            INT8_MAX / max_abs
        }
    };
    let inverse: Vec<f32> = max_abs.iter().map(inverse).collect();
    weights.chunks_exact(max_abs.len()).all(|row| {
        let deviations = row.iter().zip(&inverse).map(|(weight, inverse)| {
            let weight = weight * inverse;
            (weight - (weight + ROUNDER - ROUNDER)).abs()
        });
        deviations.fold(true, |fits, deviation| fits & (deviation <= INT8_TOLERANCE))
    })
}

#[cfg(test)]
mod tests {
    use super::super::layer::{LinearRows, scratch_len};
    use super::*;

    const SIZES: [usize; 2] = [70, 90];

    fn output(layer: &PackedLinear) -> Vec<f32> {
        let [inputs, outputs] = SIZES;
        let input: Vec<f32> = (0..inputs).map(|n| (n as f32).sin()).collect();
        let mut output = vec![0.0; outputs];
        let rows = LinearRows {
            input: &input,
            output: &mut output,
            scratch: &mut vec![0; scratch_len(inputs, 1)],
        };
        layer.visit(Additions::default(), rows);
        output
    }

    #[test]
    fn integers_with_scales_are_the_same_layer_as_their_products() {
        let [inputs, outputs] = SIZES;
        let mut integers: Vec<u8> = (0..inputs * outputs)
            .map(|n| (n * 37 % 255) as u8)
            .map(|n| if n as i8 == i8::MIN { 0 } else { n })
            .collect();
        // The largest weight of an output is any integer, 0 among them.
        for (at, integer) in integers.iter_mut().enumerate() {
            if at % outputs < 2 {
                *integer = (at % outputs) as u8;
            }
        }
        let scales: Vec<f32> = (0..outputs).map(|n| 0.01 + n as f32 * 1e-3).collect();
        let products: Vec<f32> = integers
            .iter()
            .enumerate()
            .map(|(at, n)| f32::from(*n as i8) * scales[at % outputs])
            .collect();
        let from_int8 = PackedLinear::from_int8(&integers, SIZES, &scales).unwrap();
        let expected = output(&PackedLinear::new(&products, SIZES).unwrap());
        let largest = expected.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        for (found, expected) in output(&from_int8).iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-4 * largest);
        }
    }

    #[test]
    fn integers_that_the_kernel_cannot_have_are_refused() {
        let [inputs, outputs] = SIZES;
        let scales = vec![0.01; outputs];
        let mut integers = vec![1; inputs * outputs];
        assert!(PackedLinear::from_int8(&integers, SIZES, &scales).is_some());
        for scale in [f32::NAN, f32::INFINITY, 1e38] {
            let scales = vec![scale; outputs];
            assert!(PackedLinear::from_int8(&integers, SIZES, &scales).is_none());
        }
        assert!(PackedLinear::from_int8(&integers, [outputs, inputs], &scales).is_none());
        integers[7] = i8::MIN as u8;
        assert!(PackedLinear::from_int8(&integers, SIZES, &scales).is_none());
    }
}
