//! The kernel of 8-bit weights: instructions multiply 16-bit integers and add the products two by
//! two, so twice as many weights pass as with floats, and the only conversion is that of weights to
//! 16 bits. The inputs of each row are quantized to 16 bits.

use pulp::bytemuck::{cast, cast_slice_mut};
use pulp::x86::{V3, V4};
use std::arch::x86_64::{__m256i, __m512i};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::bail;

use super::super::epilogue::Epilogue;
use super::super::layer::{INT8_MAX, Layer, LayerVisitor, PANEL, ROWS};
use crate::fast_math::ROUNDER;

/// The coarsest quantization of inputs: 1/8191 of the largest absolute value of the row.
const MIN_QUANTIZED_MAX: f32 = 8191.0;
/// Rows whose largest absolute value is below this are treated as zeros, so that the scale of all
/// other rows is finite.
const MIN_ROW_MAX: f32 = 1e-30;

/// The weights of two inputs for each output of a panel.
type WeightPairs = [[i8; 2]; PANEL];

/// Whether the processor has the instructions, and sums of `inputs` products fit into 32 bits.
pub(in super::super) fn is_supported(inputs: usize) -> bool {
    V3::try_new().is_some() && quantized_max(inputs) >= MIN_QUANTIZED_MAX
}

/// The integer of the largest absolute input of a row, so that no sum of products exceeds 32 bits.
fn quantized_max(inputs: usize) -> f32 {
    let max = f64::from(i32::MAX) / (inputs as f64 * f64::from(INT8_MAX));
    max.min(f64::from(i16::MAX)).floor() as f32
}

/// Pairs of inputs. The last pair is padded with zero.
fn pair_count(inputs: usize) -> usize {
    inputs.div_ceil(2)
}

/// Weights [panels, inputs, PANEL] as [panels, pairs, PANEL, 2].
pub(in super::super) fn pack_pairs(weights: &Tensor) -> TractResult<Tensor> {
    let [panels, inputs, _] = weights.shape() else {
        bail!(
            "expected weights [panels, inputs, {PANEL}], found {:?}",
            weights.shape()
        );
    };
    let plain = weights.try_as_plain_ram()?;
    let pairs = pair_count(*inputs);
    let mut packed = vec![[[0i8; 2]; PANEL]; panels * pairs];
    let unpacked = plain.as_slice::<i8>()?.chunks_exact(inputs * PANEL);
    for (from, to) in unpacked.zip(packed.chunks_exact_mut(pairs)) {
        for (input, weights) in from.chunks_exact(PANEL).enumerate() {
            for (pair, weight) in to[input / 2].iter_mut().zip(weights) {
                pair[input % 2] = *weight;
            }
        }
    }
    Tensor::from_shape(
        &[*panels, pairs, PANEL, 2],
        packed.as_flattened().as_flattened(),
    )
}

/// Runs `visitor` with a layer whose weights were packed by [`pack_pairs`].
pub(in super::super) fn visit(
    weights: &[i8],
    epilogue: Epilogue<'_>,
    visitor: impl LayerVisitor,
) -> TractResult<()> {
    let layer = Int8Linear {
        weights: weights.as_chunks().0.as_chunks().0,
        quantized_max: quantized_max(epilogue.sizes[0]),
        epilogue,
    };
    if let Some(simd) = V4::try_new() {
        simd.vectorize(Visit {
            simd,
            layer,
            visitor,
        });
    } else if let Some(simd) = V3::try_new() {
        simd.vectorize(Visit {
            simd,
            layer,
            visitor,
        });
    } else {
        bail!("this processor has no kernel for 8-bit weights");
    }
    Ok(())
}

struct Visit<'a, S, T> {
    simd: S,
    layer: Int8Linear<'a>,
    visitor: T,
}

impl<S: IntSimd, T: LayerVisitor> pulp::NullaryFnOnce for Visit<'_, S, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.visitor.visit(self.simd, &self.layer);
    }
}

/// Integer vectors.
trait IntSimd: pulp::Simd {
    /// 32-bit integers, or pairs of 16-bit integers
    type Ints: Copy;

    fn zeros(self) -> Self::Ints;

    /// A vector of copies of one pair.
    fn splat(self, pair: i32) -> Self::Ints;

    /// Vector `vector` of the pairs of weights, as 16-bit integers.
    fn widen(self, weights: &WeightPairs, vector: usize) -> Self::Ints;

    /// `sums` plus both products of each pair.
    fn add_products(self, sums: Self::Ints, weights: Self::Ints, inputs: Self::Ints) -> Self::Ints;

    /// The sums as f32.
    fn to_f32s(self, sums: Self::Ints) -> Self::f32s;
}

impl IntSimd for V3 {
    type Ints = __m256i;

    #[inline(always)]
    fn zeros(self) -> __m256i {
        self.avx._mm256_setzero_si256()
    }

    #[inline(always)]
    fn splat(self, pair: i32) -> __m256i {
        self.avx._mm256_set1_epi32(pair)
    }

    #[inline(always)]
    fn widen(self, weights: &WeightPairs, vector: usize) -> __m256i {
        let (vectors, _) = weights.as_flattened().as_chunks::<16>();
        self.avx2._mm256_cvtepi8_epi16(cast(vectors[vector]))
    }

    #[inline(always)]
    fn add_products(self, sums: __m256i, weights: __m256i, inputs: __m256i) -> __m256i {
        let products = self.avx2._mm256_madd_epi16(weights, inputs);
        self.avx2._mm256_add_epi32(sums, products)
    }

    #[inline(always)]
    fn to_f32s(self, sums: __m256i) -> Self::f32s {
        cast(self.avx._mm256_cvtepi32_ps(sums))
    }
}

impl IntSimd for V4 {
    type Ints = __m512i;

    #[inline(always)]
    fn zeros(self) -> __m512i {
        self.avx512f._mm512_setzero_si512()
    }

    #[inline(always)]
    fn splat(self, pair: i32) -> __m512i {
        self.avx512f._mm512_set1_epi32(pair)
    }

    #[inline(always)]
    fn widen(self, weights: &WeightPairs, vector: usize) -> __m512i {
        let (vectors, _) = weights.as_flattened().as_chunks::<32>();
        self.avx512bw._mm512_cvtepi8_epi16(cast(vectors[vector]))
    }

    #[inline(always)]
    fn add_products(self, sums: __m512i, weights: __m512i, inputs: __m512i) -> __m512i {
        let products = self.avx512bw._mm512_madd_epi16(weights, inputs);
        self.avx512f._mm512_add_epi32(sums, products)
    }

    #[inline(always)]
    fn to_f32s(self, sums: __m512i) -> Self::f32s {
        cast(self.avx512f._mm512_cvtepi32_ps(sums))
    }
}

/// A layer in 8-bit weights.
struct Int8Linear<'a> {
    /// [panels, pairs]
    weights: &'a [WeightPairs],
    quantized_max: f32,
    epilogue: Epilogue<'a>,
}

impl<S: IntSimd> Layer<S> for Int8Linear<'_> {
    #[inline(always)]
    fn run(&self, simd: S, input: &[f32], output: &mut [f32]) {
        let [inputs, outputs] = self.epilogue.sizes;
        let pairs = pair_count(inputs);
        let mut quantized = vec![0i32; ROWS.min(output.len() / outputs) * pairs];
        let mut row_scales = [0.0f32; ROWS];
        let groups = input.chunks(ROWS * inputs);
        for (input, output) in groups.zip(output.chunks_mut(ROWS * outputs)) {
            let rows = input
                .chunks_exact(inputs)
                .zip(quantized.chunks_exact_mut(pairs));
            for ((row, quantized), row_scale) in rows.zip(&mut row_scales) {
                *row_scale = quantize_row(row, self.quantized_max, cast_slice_mut(quantized));
            }
            for (panel, weights) in self.weights.chunks_exact(pairs).enumerate() {
                self.add_panel((simd, panel, weights), (&quantized, &row_scales), output);
            }
        }
    }
}

impl Int8Linear<'_> {
    /// Computes the outputs of a panel for all rows, as many rows at a time as registers hold.
    #[inline(always)]
    fn add_panel<S: IntSimd>(
        &self,
        panel: (S, usize, &[WeightPairs]),
        (mut quantized, mut row_scales): (&[i32], &[f32]),
        mut output: &mut [f32],
    ) {
        let outputs = self.epilogue.sizes[1];
        let left = self.epilogue.outputs_from(panel.1);
        while !output.is_empty() {
            let out = &mut *output;
            // The sums take (rows x vectors of a part) registers.
            let rows = match (S::F32_LANES, out.len() / outputs) {
                (16, 4..) if left <= 16 => {
                    self.add_rows::<S, 4, 1, 16>(panel, quantized, row_scales, out)
                }
                (16, 4..) if left <= 32 => {
                    self.add_rows::<S, 4, 2, 32>(panel, quantized, row_scales, out)
                }
                (16, 4..) => self.add_rows::<S, 4, 4, 64>(panel, quantized, row_scales, out),
                (16, 2..) => self.add_rows::<S, 2, 4, 64>(panel, quantized, row_scales, out),
                (16, _) if left <= 16 => {
                    self.add_rows::<S, 1, 1, 16>(panel, quantized, row_scales, out)
                }
                (16, _) if left <= 32 => {
                    self.add_rows::<S, 1, 2, 32>(panel, quantized, row_scales, out)
                }
                (16, _) => self.add_rows::<S, 1, 4, 64>(panel, quantized, row_scales, out),
                (_, 4..) => self.add_rows::<S, 4, 2, 16>(panel, quantized, row_scales, out),
                (_, 2..) => self.add_rows::<S, 2, 4, 32>(panel, quantized, row_scales, out),
                _ if left <= 16 => self.add_rows::<S, 1, 2, 16>(panel, quantized, row_scales, out),
                _ if left <= 32 => self.add_rows::<S, 1, 4, 32>(panel, quantized, row_scales, out),
                _ => self.add_rows::<S, 1, 8, 64>(panel, quantized, row_scales, out),
            };
            quantized = &quantized[rows * panel.2.len()..];
            (row_scales, output) = (&row_scales[rows..], &mut output[rows * outputs..]);
        }
    }

    /// Computes the outputs of a panel for the first `R` rows, in parts of `P` outputs, which are `V`
    /// vectors. Returns `R`.
    #[inline(always)]
    fn add_rows<S: IntSimd, const R: usize, const V: usize, const P: usize>(
        &self,
        (simd, panel, weights): (S, usize, &[WeightPairs]),
        quantized: &[i32],
        row_scales: &[f32],
        output: &mut [f32],
    ) -> usize {
        let pairs = weights.len();
        let rows: [&[i32]; R] = std::array::from_fn(|at| &quantized[at * pairs..][..pairs]);
        for part in 0..PANEL.min(self.epilogue.outputs_from(panel)).div_ceil(P) {
            let mut sums = [[simd.zeros(); V]; R];
            // One pair at a time. With several, the compiler adds their products first, for which
            // there are too few registers.
            for pair in 0..pairs {
                let mut wide = [simd.zeros(); V];
                for (vector, wide) in wide.iter_mut().enumerate() {
                    *wide = simd.widen(&weights[pair], part * V + vector);
                }
                for at in 0..R {
                    let inputs = simd.splat(rows[at][pair]);
                    for vector in 0..V {
                        let sum = sums[at][vector];
                        sums[at][vector] = simd.add_products(sum, wide[vector], inputs);
                    }
                }
            }
            let rows = output.chunks_mut(self.epilogue.sizes[1]).zip(row_scales);
            for (sums, (row, row_scale)) in sums.into_iter().zip(rows) {
                let mut floats = [simd.splat_f32s(0.0); V];
                for (float, sum) in floats.iter_mut().zip(sums) {
                    *float = simd.to_f32s(sum);
                }
                self.epilogue.store::<S, V, P>(
                    (simd, panel, part),
                    (floats, Some(*row_scale)),
                    row,
                );
            }
        }
        R
    }
}

/// Quantizes a row to integers of at most `quantized_max` and returns their scale. A non-finite
/// input makes the scale NaN, and with it all outputs of the row.
#[inline(always)]
fn quantize_row(row: &[f32], quantized_max: f32, quantized: &mut [i16]) -> f32 {
    // The bits of absolute values have the order of the values, with infinity and NaN at the top.
    let mut max_bits = 0;
    for number in row {
        max_bits = max_bits.max(number.to_bits() & !(1 << 31));
    }
    let max_abs = f32::from_bits(max_bits);
    if !max_abs.is_finite() {
        return f32::NAN;
    }
    if max_abs < MIN_ROW_MAX {
        quantized.fill(0);
        return 0.0;
    }
    let scale = quantized_max / max_abs;
    for (integer, number) in quantized.iter_mut().zip(row) {
        *integer = (number * scale + ROUNDER).to_bits() as i16;
    }
    max_abs / quantized_max
}
