//! AVX-512 with VNNI: one instruction multiplies four 8-bit integers without sign with four that have
//! one and adds the products to a 32-bit sum. A 16-bit input is two integers of 8 bits:
//!
//! ```text
//! input + 2^15 = 2^8 high + low
//! sum(weight * input) = 2^8 sum(weight * high) + sum(weight * low) - 2^15 sum(weight)
//! ```
//!
//! The last term is known when the weights are packed. All arithmetic is modulo 2^32 and the result
//! fits, so the sums are those of the other kernels.

use std::arch::x86_64::{__m512i, _mm512_dpbusd_epi32};

use pulp::Simd as _;
use pulp::bytemuck::{cast, cast_slice_mut};
use pulp::x86::V4;

use super::super::epilogue::Epilogue;
use super::super::layer::{Layer, LayerVisitor, PANEL, ROWS};
use super::quantize::{Range, quantized_max};

pulp::simd_type! {
    /// AVX-512 with VNNI.
    struct Vnni {
        sse: "sse",
        sse2: "sse2",
        fxsr: "fxsr",
        sse3: "sse3",
        ssse3: "ssse3",
        sse4_1: "sse4.1",
        sse4_2: "sse4.2",
        popcnt: "popcnt",
        avx: "avx",
        avx2: "avx2",
        bmi1: "bmi1",
        bmi2: "bmi2",
        fma: "fma",
        lzcnt: "lzcnt",
        avx512f: "avx512f",
        avx512bw: "avx512bw",
        avx512cd: "avx512cd",
        avx512dq: "avx512dq",
        avx512vl: "avx512vl",
        avx512vnni: "avx512vnni",
    }
}

impl Vnni {
    /// `sums` plus the four products of each 32-bit lane: of `inputs` without sign and `weights` with one.
    #[inline(always)]
    #[expect(unsafe_code, reason = "pulp has no safe function for this instruction")]
    fn add_products(self, sums: __m512i, inputs: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: the instruction needs AVX-512 VNNI and AVX-512F. `self` exists only where the processor
        // has both: `try_new` is the only safe function that makes one, and it asks for each feature.
        unsafe { _mm512_dpbusd_epi32(sums, inputs, weights) }
    }
}

/// Outputs of a vector.
const LANES: usize = 16;

/// The weights of four inputs for each output of a panel.
type Quads = [[i8; 4]; PANEL];

/// Whether the processor has the instructions.
pub(super) fn is_available() -> bool {
    Vnni::try_new().is_some() && V4::try_new().is_some()
}

/// Groups of four inputs. The last one is padded with zeros.
fn quad_count(inputs: usize) -> usize {
    inputs.div_ceil(4)
}

/// Weights [panels, inputs, PANEL] as [panels, quads, PANEL, 4], and -2^15 times the sum of the weights of
/// each output [panels, PANEL].
pub(super) fn pack_quads(weights: &[[i8; PANEL]], inputs: usize) -> (Vec<i8>, Vec<[i32; PANEL]>) {
    let quads = quad_count(inputs);
    let panels = weights.chunks_exact(inputs);
    let mut packed = vec![0; panels.len() * quads * size_of::<Quads>()];
    let mut offsets = vec![[0i32; PANEL]; panels.len()];
    let (to, _) = packed.as_chunks_mut().0.as_chunks_mut::<PANEL>();
    let to = to.chunks_exact_mut(quads).zip(&mut offsets);
    for (from, (to, offsets)) in panels.zip(to) {
        for (input, weights) in from.iter().enumerate() {
            let quad: &mut Quads = &mut to[input / 4];
            for ((quad, offset), weight) in quad.iter_mut().zip(&mut *offsets).zip(weights) {
                quad[input % 4] = *weight;
                *offset = offset.wrapping_sub(i32::from(*weight) << 15);
            }
        }
    }
    (packed, offsets)
}

/// Runs `visitor` with a layer whose weights were packed by [`pack_quads`].
pub(super) fn visit(
    weights: &[i8],
    offsets: &[[i32; PANEL]],
    epilogue: Epilogue<'_>,
    visitor: impl LayerVisitor,
) {
    let (Some(vnni), Some(simd)) = (Vnni::try_new(), V4::try_new()) else {
        unreachable!("weights are packed in quads only where the instructions are available");
    };
    let layer = VnniLinear {
        vnni,
        weights: weights.as_chunks().0.as_chunks().0,
        offsets,
        quantized_max: quantized_max(epilogue.sizes[0]),
        epilogue,
    };
    vnni.vectorize(Visit {
        simd,
        layer,
        visitor,
    });
}

struct Visit<'a, T> {
    simd: V4,
    layer: VnniLinear<'a>,
    visitor: T,
}

impl<T: LayerVisitor> pulp::NullaryFnOnce for Visit<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.visitor.visit(self.simd, &self.layer);
    }
}

/// A layer in 8-bit weights.
struct VnniLinear<'a> {
    vnni: Vnni,
    /// [panels, quads]
    weights: &'a [Quads],
    /// [panels]
    offsets: &'a [[i32; PANEL]],
    quantized_max: f32,
    epilogue: Epilogue<'a>,
}

impl Layer<V4> for VnniLinear<'_> {
    #[inline(always)]
    fn run(&self, simd: V4, input: &[f32], output: &mut [f32], scratch: &mut [i32]) {
        let [inputs, outputs] = self.epilogue.sizes;
        let quads = quad_count(inputs);
        let mut row_scales = [0.0f32; ROWS];
        let groups = input.chunks(ROWS * inputs);
        for (input, output) in groups.zip(output.chunks_mut(ROWS * outputs)) {
            // Of each row the high bytes, then the low bytes.
            let rows = input.chunks_exact(inputs);
            let quantized = scratch.chunks_exact_mut(2 * quads);
            for ((row, quantized), row_scale) in rows.zip(quantized).zip(&mut row_scales) {
                *row_scale =
                    quantize_bytes(simd, row, self.quantized_max, cast_slice_mut(quantized));
            }
            for panel in 0..self.offsets.len() {
                self.add_panel((simd, panel), (scratch, &row_scales), output);
            }
        }
    }
}

impl VnniLinear<'_> {
    /// Computes the outputs of a panel for all rows, as many rows at a time as registers hold.
    #[inline(always)]
    fn add_panel(
        &self,
        panel: (V4, usize),
        (mut quantized, mut row_scales): (&[i32], &[f32]),
        mut output: &mut [f32],
    ) {
        let [inputs, outputs] = self.epilogue.sizes;
        let left = self.epilogue.outputs_from(panel.1);
        while !output.is_empty() {
            let out = &mut *output;
            // The sums take (2 x rows x vectors of a part) registers.
            let rows = match out.len() / outputs {
                3.. if left <= 16 => self.add_rows::<3, 1, 16>(panel, quantized, row_scales, out),
                3.. if left <= 32 => self.add_rows::<3, 2, 32>(panel, quantized, row_scales, out),
                3.. => self.add_rows::<3, 4, 64>(panel, quantized, row_scales, out),
                _ if left <= 16 => self.add_rows::<1, 1, 16>(panel, quantized, row_scales, out),
                _ if left <= 32 => self.add_rows::<1, 2, 32>(panel, quantized, row_scales, out),
                2.. => self.add_rows::<2, 4, 64>(panel, quantized, row_scales, out),
                _ => self.add_rows::<1, 4, 64>(panel, quantized, row_scales, out),
            };
            quantized = &quantized[rows * 2 * quad_count(inputs)..];
            (row_scales, output) = (&row_scales[rows..], &mut output[rows * outputs..]);
        }
    }

    /// Computes the outputs of a panel for the first `R` rows, in parts of `P` outputs, which are `V`
    /// vectors. Returns `R`.
    #[inline(always)]
    fn add_rows<const R: usize, const V: usize, const P: usize>(
        &self,
        (simd, panel): (V4, usize),
        quantized: &[i32],
        row_scales: &[f32],
        output: &mut [f32],
    ) -> usize {
        let [inputs, outputs] = self.epilogue.sizes;
        let quads = quad_count(inputs);
        let weights = &self.weights[panel * quads..][..quads];
        let rows: [(&[i32], &[i32]); R] = std::array::from_fn(|at| {
            let (high, low) = quantized[at * 2 * quads..][..2 * quads].split_at(quads);
            (high, low)
        });
        let offsets: &[[i32; LANES]] = self.offsets[panel].as_chunks().0;
        for part in 0..PANEL.min(self.epilogue.outputs_from(panel)).div_ceil(P) {
            let zero = simd.avx512f._mm512_setzero_si512();
            let mut high = [[zero; V]; R];
            let mut low = [[zero; V]; R];
            for (quad, weights) in weights.iter().enumerate() {
                let (vectors, _) = weights.as_chunks::<LANES>();
                let mut vector = [zero; V];
                for (at, vector) in vector.iter_mut().enumerate() {
                    let bytes: &[[i8; 4]; LANES] = &vectors[part * V + at];
                    *vector = cast(*bytes);
                }
                for at in 0..R {
                    let (from_high, from_low) = rows[at];
                    let inputs = simd.avx512f._mm512_set1_epi32(from_high[quad]);
                    for v in 0..V {
                        high[at][v] = self.vnni.add_products(high[at][v], inputs, vector[v]);
                    }
                    let inputs = simd.avx512f._mm512_set1_epi32(from_low[quad]);
                    for v in 0..V {
                        low[at][v] = self.vnni.add_products(low[at][v], inputs, vector[v]);
                    }
                }
            }
            // By index: an iterator over the sums would move them through memory.
            for at in 0..R {
                let row = &mut output[at * outputs..][..outputs];
                let mut floats = [simd.splat_f32s(0.0); V];
                for v in 0..V {
                    let offset: __m512i = cast(offsets[part * V + v]);
                    let sum = simd.avx512f._mm512_slli_epi32::<8>(high[at][v]);
                    let sum = simd.avx512f._mm512_add_epi32(sum, low[at][v]);
                    let sum = simd.avx512f._mm512_add_epi32(sum, offset);
                    floats[v] = cast(simd.avx512f._mm512_cvtepi32_ps(sum));
                }
                self.epilogue.store::<V4, V, P>(
                    (simd, panel, part),
                    (floats, Some(row_scales[at])),
                    row,
                );
            }
        }
        R
    }
}

/// Quantizes a row: its integers plus 2^15, first all high bytes, then all low bytes. Returns their
/// scale. `bytes`: [2, a multiple of 4].
#[inline(always)]
fn quantize_bytes(simd: V4, row: &[f32], quantized_max: f32, bytes: &mut [u8]) -> f32 {
    let range = Range::new(row, quantized_max);
    // The weights of padding are zero, whatever is there.
    let (high, low) = bytes.split_at_mut(bytes.len() / 2);
    let (high, high_rest) = high[..row.len()].as_chunks_mut::<LANES>();
    let (low, low_rest) = low[..row.len()].as_chunks_mut::<LANES>();
    let (row, row_rest) = row.as_chunks::<LANES>();
    for (row, (high, low)) in row.iter().zip(high.iter_mut().zip(low)) {
        let integers = range.integers(simd, cast(*row));
        let offset = simd.avx512f._mm512_set1_epi32(0x8000);
        let integers = simd.avx512f._mm512_xor_si512(cast(integers), offset);
        *low = cast(simd.avx512f._mm512_cvtepi32_epi8(integers));
        let integers = simd.avx512f._mm512_srli_epi32::<8>(integers);
        *high = cast(simd.avx512f._mm512_cvtepi32_epi8(integers));
    }
    for ((number, high), low) in row_rest.iter().zip(high_rest).zip(low_rest) {
        let integer = range.integer(*number) as u16 ^ 0x8000;
        (*high, *low) = ((integer >> 8) as u8, integer as u8);
    }
    range.row_scale
}
