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
/// Vectors of a panel. With four rows their sums take 24 of the 32 registers.
const VECTORS: usize = 3;
/// Outputs whose weights are contiguous in memory.
const WIDTH: usize = VECTORS * LANES;

/// The weights of four inputs for each output of a vector.
type Quads = [[i8; 4]; LANES];
/// Four inputs of a row: their high bytes, then their low bytes.
type Inputs = [i32; 2];

/// Whether the processor has the instructions.
pub(super) fn is_available() -> bool {
    Vnni::try_new().is_some() && V4::try_new().is_some()
}

/// Groups of four inputs. The last one is padded with zeros.
fn quad_count(inputs: usize) -> usize {
    inputs.div_ceil(4)
}

/// Weights [panels, inputs, PANEL] of `outputs` outputs as [panels, quads, VECTORS, LANES, 4], with panels of
/// WIDTH outputs, and -2^15 times the sum of the weights of each output [panels, VECTORS, LANES].
pub(super) fn pack_quads(
    weights: &[[i8; PANEL]],
    [inputs, outputs]: [usize; 2],
) -> (Vec<i8>, Vec<[i32; LANES]>) {
    let quads = quad_count(inputs);
    let vectors = outputs.div_ceil(WIDTH) * VECTORS;
    let mut packed = vec![[[0i8; 4]; LANES]; vectors * quads];
    let mut offsets = vec![[0i32; LANES]; vectors];
    for vector in 0..outputs.div_ceil(LANES) {
        let (panel, part) = (vector / VECTORS, vector % VECTORS);
        let from = &weights[vector * LANES / PANEL * inputs..][..inputs];
        let offsets = &mut offsets[vector];
        for (input, weights) in from.iter().enumerate() {
            let weights = &weights[vector * LANES % PANEL..][..LANES];
            let quad = &mut packed[(panel * quads + input / 4) * VECTORS + part];
            for ((quad, offset), weight) in quad.iter_mut().zip(&mut *offsets).zip(weights) {
                quad[input % 4] = *weight;
                *offset = offset.wrapping_sub(i32::from(*weight) << 15);
            }
        }
    }
    let packed = packed.as_flattened().as_flattened().to_vec();
    (packed, offsets)
}

/// Runs `visitor` with a layer whose weights were packed by [`pack_quads`].
pub(super) fn visit(
    weights: &[i8],
    offsets: &[[i32; LANES]],
    epilogue: Epilogue<'_>,
    visitor: impl LayerVisitor,
) {
    let (Some(vnni), Some(simd)) = (Vnni::try_new(), V4::try_new()) else {
        unreachable!("weights are packed in quads only where the instructions are available");
    };
    let layer = VnniLinear {
        vnni,
        weights: weights.as_chunks().0.as_chunks().0.as_chunks().0,
        offsets: offsets.as_chunks().0,
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
    weights: &'a [[Quads; VECTORS]],
    /// [panels]
    offsets: &'a [[[i32; LANES]; VECTORS]],
    quantized_max: f32,
    epilogue: Epilogue<'a>,
}

/// Rows of inputs as integers.
#[derive(Clone, Copy)]
struct Rows<'a> {
    /// [rows, quads]
    inputs: &'a [Inputs],
    /// [rows] the value of the integer 1
    scales: &'a [f32],
}

impl Layer<V4> for VnniLinear<'_> {
    #[inline(always)]
    fn run(&self, simd: V4, input: &[f32], output: &mut [f32], scratch: &mut [i32]) {
        let [inputs, outputs] = self.epilogue.sizes;
        let quads = quad_count(inputs);
        let mut scales = [0.0f32; ROWS];
        let groups = input.chunks(ROWS * inputs);
        for (input, output) in groups.zip(output.chunks_mut(ROWS * outputs)) {
            let rows = input.chunks_exact(inputs);
            let integers = scratch.chunks_exact_mut(2 * quads);
            for ((row, integers), scale) in rows.zip(integers).zip(&mut scales) {
                *scale = quantize_bytes(simd, row, self.quantized_max, cast_slice_mut(integers));
            }
            let rows = Rows {
                inputs: scratch.as_chunks().0,
                scales: &scales[..output.len() / outputs],
            };
            self.add_panels(simd, rows, output);
        }
    }
}

impl VnniLinear<'_> {
    /// Computes all outputs of `rows`.
    #[inline(always)]
    fn add_panels(&self, simd: V4, rows: Rows<'_>, output: &mut [f32]) {
        let outputs = self.epilogue.sizes[1];
        let mut panel = 0;
        if rows.scales.len() == 1 {
            // The sums of a panel are too few: each waits for the sum before it.
            while (panel + 2) * WIDTH <= outputs {
                self.add_rows::<1, 2, 3, 48>((simd, panel), rows, output);
                panel += 2;
            }
        }
        while panel * WIDTH < outputs {
            match outputs - panel * WIDTH {
                ..=16 => self.add_panel::<1, 16>((simd, panel), rows, output),
                17..=32 => self.add_panel::<2, 32>((simd, panel), rows, output),
                _ => self.add_panel::<3, 48>((simd, panel), rows, output),
            }
            panel += 1;
        }
    }

    /// Computes the outputs of a panel, `P` outputs in `V` vectors, for all rows.
    #[inline(always)]
    fn add_panel<const V: usize, const P: usize>(
        &self,
        panel: (V4, usize),
        mut rows: Rows<'_>,
        mut output: &mut [f32],
    ) {
        let [inputs, outputs] = self.epilogue.sizes;
        while !output.is_empty() {
            let out = &mut *output;
            let count = match rows.scales.len() {
                4.. => self.add_rows::<4, 1, V, P>(panel, rows, out),
                3 => self.add_rows::<3, 1, V, P>(panel, rows, out),
                2 => self.add_rows::<2, 1, V, P>(panel, rows, out),
                _ => self.add_rows::<1, 1, V, P>(panel, rows, out),
            };
            rows.inputs = &rows.inputs[count * quad_count(inputs)..];
            rows.scales = &rows.scales[count..];
            output = &mut output[count * outputs..];
        }
    }

    /// Computes the outputs of `N` panels from `panel` on for the first `R` rows. Each panel has `P` outputs
    /// in `V` vectors. Returns `R`.
    #[inline(always)]
    fn add_rows<const R: usize, const N: usize, const V: usize, const P: usize>(
        &self,
        (simd, panel): (V4, usize),
        rows: Rows<'_>,
        output: &mut [f32],
    ) -> usize {
        let [inputs, outputs] = self.epilogue.sizes;
        let quads = quad_count(inputs);
        // Slices of one length, so that the loop over the quads has no bounds checks.
        let weights: [&[[Quads; VECTORS]]; N] =
            std::array::from_fn(|n| &self.weights[(panel + n) * quads..][..quads]);
        let inputs: [&[Inputs]; R] = std::array::from_fn(|at| &rows.inputs[at * quads..][..quads]);
        let zero = simd.avx512f._mm512_setzero_si512();
        let mut high = [[[zero; V]; N]; R];
        let mut low = [[[zero; V]; N]; R];
        for quad in 0..quads {
            let mut vectors = [[zero; V]; N];
            for n in 0..N {
                for v in 0..V {
                    vectors[n][v] = cast(weights[n][quad][v]);
                }
            }
            for at in 0..R {
                let [from_high, from_low] = inputs[at][quad];
                let from_high = simd.avx512f._mm512_set1_epi32(from_high);
                let from_low = simd.avx512f._mm512_set1_epi32(from_low);
                for n in 0..N {
                    for v in 0..V {
                        let (high, low) = (&mut high[at][n][v], &mut low[at][n][v]);
                        *high = self.vnni.add_products(*high, from_high, vectors[n][v]);
                        *low = self.vnni.add_products(*low, from_low, vectors[n][v]);
                    }
                }
            }
        }
        let mut sums = [[[simd.splat_f32s(0.0); V]; N]; R];
        // By index: an iterator over the sums would move them through memory.
        for n in 0..N {
            for v in 0..V {
                let offset = cast(self.offsets[panel + n][v]);
                for at in 0..R {
                    let sum = simd.avx512f._mm512_slli_epi32::<8>(high[at][n][v]);
                    let sum = simd.avx512f._mm512_add_epi32(sum, low[at][n][v]);
                    let sum = simd.avx512f._mm512_add_epi32(sum, offset);
                    sums[at][n][v] = cast(simd.avx512f._mm512_cvtepi32_ps(sum));
                }
            }
        }
        for at in 0..R {
            let row = &mut output[at * outputs..][..outputs];
            for n in 0..N {
                let begin = (panel + n) * WIDTH;
                let sums = (sums[at][n], Some(rows.scales[at]));
                self.epilogue.store::<V4, V, P>((simd, begin), sums, row);
            }
        }
        R
    }
}

/// The order of bytes in each half of a vector of 16-bit integers: of each four the high bytes, then the low
/// bytes.
const ORDER: [u64; 4] = {
    let half = u128::from_le_bytes([1, 3, 5, 7, 0, 2, 4, 6, 9, 11, 13, 15, 8, 10, 12, 14]);
    let (first, last) = (half as u64, (half >> 64) as u64);
    [first, last, first, last]
};

/// Quantizes a row: its integers plus 2^15, of each four first the high bytes, then the low bytes. Returns
/// their scale. `bytes`: [quads, 2, 4].
#[inline(always)]
fn quantize_bytes(simd: V4, row: &[f32], quantized_max: f32, bytes: &mut [u8]) -> f32 {
    let range = Range::new(row, quantized_max);
    // The weights of padding are zero, whatever is there.
    let (vectors, rest) = row.as_chunks::<LANES>();
    let (to, to_rest) = bytes.split_at_mut(vectors.len() * 2 * LANES);
    let (to, _) = to.as_chunks_mut::<{ 2 * LANES }>();
    for (vector, to) in vectors.iter().zip(to) {
        let integers = cast(range.integers(simd, cast(*vector)));
        let integers = simd.avx512f._mm512_cvtepi32_epi16(integers);
        let integers = simd
            .avx2
            ._mm256_xor_si256(integers, cast([0x8000u16; LANES]));
        *to = cast(simd.avx2._mm256_shuffle_epi8(integers, cast(ORDER)));
    }
    for (at, number) in rest.iter().enumerate() {
        let integer = range.integer(*number) as u16 ^ 0x8000;
        let at = at / 4 * 8 + at % 4;
        (to_rest[at], to_rest[at + 4]) = ((integer >> 8) as u8, integer as u8);
    }
    range.row_scale
}
