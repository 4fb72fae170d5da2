//! AVX2, AVX-512 and the SIMD of WebAssembly: instructions multiply 16-bit integers and add the products
//! two by two, so twice as many weights pass as with floats, and the only conversion is that of weights to
//! 16 bits.

#[cfg(target_arch = "wasm32")]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use pulp::bytemuck::cast_slice_mut;

use super::super::epilogue::Epilogue;
use super::super::layer::{Layer, LayerVisitor, PANEL, ROWS};
use super::super::quantize::quantize_row;
use super::quantized_max;

/// The weights of two inputs for each output of a panel.
type WeightPairs = [[i8; 2]; PANEL];

#[cfg(target_arch = "wasm32")]
pub(super) use wasm::is_available;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::is_available;

/// Pairs of inputs. The last pair is padded with zero.
fn pair_count(inputs: usize) -> usize {
    inputs.div_ceil(2)
}

/// Weights [panels, inputs, PANEL] as [panels, pairs, PANEL, 2].
pub(super) fn pack_pairs(weights: &[[i8; PANEL]], inputs: usize) -> Vec<i8> {
    let pairs = pair_count(inputs);
    let mut packed = vec![0i8; weights.len() / inputs * pairs * size_of::<WeightPairs>()];
    let (to, _) = packed.as_chunks_mut::<2>().0.as_chunks_mut::<PANEL>();
    let panels = weights.chunks_exact(inputs);
    for (from, to) in panels.zip(to.chunks_exact_mut(pairs)) {
        for (input, weights) in from.iter().enumerate() {
            for (pair, weight) in to[input / 2].iter_mut().zip(weights) {
                pair[input % 2] = *weight;
            }
        }
    }
    packed
}

/// Runs `visitor` with a layer whose weights were packed by [`pack_pairs`].
pub(super) fn visit(weights: &[i8], epilogue: Epilogue<'_>, visitor: impl LayerVisitor) {
    let layer = Int8Linear {
        weights: weights.as_chunks().0.as_chunks().0,
        quantized_max: quantized_max(epilogue.sizes[0]),
        epilogue,
    };
    #[cfg(target_arch = "wasm32")]
    let is_available = wasm::visit(layer, visitor);
    #[cfg(target_arch = "x86_64")]
    let is_available = x86_64::visit(layer, visitor);
    assert!(
        is_available,
        "weights are packed in pairs only where the instructions are available"
    );
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

/// A layer in 8-bit weights.
struct Int8Linear<'a> {
    /// [panels, pairs]
    weights: &'a [WeightPairs],
    quantized_max: f32,
    epilogue: Epilogue<'a>,
}

impl<S: IntSimd> Layer<S> for Int8Linear<'_> {
    #[inline(always)]
    fn run(&self, simd: S, input: &[f32], output: &mut [f32], scratch: &mut [i32]) {
        let [inputs, outputs] = self.epilogue.sizes;
        let pairs = pair_count(inputs);
        let quantized = &mut scratch[..ROWS.min(output.len() / outputs) * pairs];
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
                self.add_panel((simd, panel, weights), (quantized, &row_scales), output);
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
                (4, 2..) => self.add_rows::<S, 2, 4, 16>(panel, quantized, row_scales, out),
                (4, _) => self.add_rows::<S, 1, 4, 16>(panel, quantized, row_scales, out),
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
        // Without closures: whether those are compiled into this function depends on the code around it.
        let mut rows: [&[i32]; R] = [&[]; R];
        for at in 0..R {
            rows[at] = &quantized[at * pairs..][..pairs];
        }
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
            let outputs = self.epilogue.sizes[1];
            // By index: an iterator over the sums would move them through memory.
            for at in 0..R {
                let row = &mut output[at * outputs..][..outputs];
                let mut floats = [simd.splat_f32s(0.0); V];
                for vector in 0..V {
                    floats[vector] = simd.to_f32s(sums[at][vector]);
                }
                self.epilogue.store::<S, V, P>(
                    (simd, panel * PANEL + part * P),
                    (floats, Some(row_scales[at])),
                    row,
                );
            }
        }
        R
    }
}
