//! VNNI of AVX-512 or of AVX, and the dot product of NEON: one instruction multiplies four 8-bit integers with
//! four others and adds the products to a 32-bit sum. A 16-bit input is two integers of 8 bits, and a constant
//! because their signs are those that the instruction expects:
//!
//! ```text
//! input = 2^8 high + low + constant
//! sum(weight * input) = 2^8 sum(weight * high) + sum(weight * low) + constant sum(weight)
//! ```
//!
//! The last term is known when the weights are packed. All arithmetic is modulo 2^32 and the result
//! fits, so the sums are those of the other kernels.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use pulp::Simd;
use pulp::bytemuck::cast_slice_mut;

use super::super::epilogue::Epilogue;
use super::super::layer::{Layer, LayerVisitor, PANEL, ROWS};
use super::quantize::{Range, quantized_max};

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::Neon;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{Avx, Avx512};

/// Outputs of a vector.
const LANES: usize = 16;
/// Vectors of a panel. With AVX-512 and four rows, or NEON and one, their sums take 24 of the 32 registers.
const VECTORS: usize = 3;
/// Outputs whose weights are contiguous in memory.
const WIDTH: usize = VECTORS * LANES;

/// The weights of four inputs for each output of a vector.
type Quads = [[i8; 4]; LANES];
/// Four inputs of a row: their high bytes, then their low bytes.
type Inputs = [i32; 2];

/// The instructions of one extension.
pub(super) trait DotProduct: Copy {
    /// f32 vectors of the same width
    type Simd: Simd;
    /// LANES 32-bit integers
    type Ints: Copy;
    /// registers that a vector takes: 1 of 32, 2 of 16, or 4 of 32
    const REGISTERS: usize;
    /// The bit of an input that is flipped, so that both of its bytes have the signs that the instruction
    /// expects. The constant of the module's formula is its value in a 16-bit integer: -2^15 or 2^7.
    const FLIPPED: u16;

    /// `None` where the processor has not the instructions.
    fn new() -> Option<Self>;

    /// Runs `function` compiled for the instructions.
    fn vectorize<F: pulp::NullaryFnOnce>(self, function: F) -> F::Output;

    fn simd(self) -> Self::Simd;

    /// A vector of copies of one quad.
    fn splat(self, quad: i32) -> Self::Ints;

    fn load(self, quads: &Quads) -> Self::Ints;

    /// `sums` plus the four products of each 32-bit lane.
    fn add_products(self, sums: Self::Ints, inputs: Self::Ints, weights: Self::Ints) -> Self::Ints;

    /// 2^8 times the first of `bytes` plus the second plus `offsets`, as vector `at` of f32.
    fn store_sums<const F: usize>(
        self,
        bytes: [Self::Ints; 2],
        offsets: &[i32; LANES],
        floats: &mut [<Self::Simd as Simd>::f32s; F],
        at: usize,
    );

    /// The bytes of LANES inputs: of each four the high bytes, then the low bytes of their integers with
    /// [`Self::FLIPPED`] flipped.
    fn quantize(self, range: &Range, numbers: &[f32; LANES]) -> [u8; 2 * LANES];
}

/// The order of bytes of eight 16-bit integers: of each four the high bytes, then the low bytes.
const ORDER: u128 = 0x0e0c_0a08_0f0d_0b09_0604_0200_0705_0301;

/// Groups of four inputs. The last one is padded with zeros.
fn quad_count(inputs: usize) -> usize {
    inputs.div_ceil(4)
}

/// Weights [panels, inputs, PANEL] of `outputs` outputs as [panels, quads, VECTORS, LANES, 4], with panels of
/// WIDTH outputs, and the constant of `I` times the sum of the weights of each output
/// [panels, VECTORS, LANES].
pub(super) fn pack_quads<I: DotProduct>(
    weights: &[[i8; PANEL]],
    [inputs, outputs]: [usize; 2],
) -> (Vec<i8>, Vec<[i32; LANES]>) {
    let constant = i32::from(I::FLIPPED as i16);
    let quads = quad_count(inputs);
    let vectors = outputs.div_ceil(WIDTH) * VECTORS;
    let mut packed = vec![0i8; vectors * quads * size_of::<Quads>()];
    let (to, _) = packed.as_chunks_mut().0.as_chunks_mut::<LANES>();
    let mut offsets = vec![[0i32; LANES]; vectors];
    for vector in 0..outputs.div_ceil(LANES) {
        let (panel, part) = (vector / VECTORS, vector % VECTORS);
        let from = &weights[vector * LANES / PANEL * inputs..][..inputs];
        let offsets = &mut offsets[vector];
        for (input, weights) in from.iter().enumerate() {
            let weights = &weights[vector * LANES % PANEL..][..LANES];
            let quad: &mut Quads = &mut to[(panel * quads + input / 4) * VECTORS + part];
            for ((quad, offset), weight) in quad.iter_mut().zip(&mut *offsets).zip(weights) {
                quad[input % 4] = *weight;
                *offset = offset.wrapping_add(i32::from(*weight).wrapping_mul(constant));
            }
        }
    }
    (packed, offsets)
}

/// A layer in 8-bit weights that were packed by [`pack_quads`].
struct QuadLinear<'a, I> {
    instructions: I,
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

impl<'a, I: DotProduct> QuadLinear<'a, I> {
    fn new(
        instructions: I,
        weights: &'a [i8],
        offsets: &'a [[i32; LANES]],
        epilogue: Epilogue<'a>,
    ) -> Self {
        Self {
            instructions,
            weights: weights.as_chunks().0.as_chunks().0.as_chunks().0,
            offsets: offsets.as_chunks().0,
            quantized_max: quantized_max(epilogue.sizes[0]),
            epilogue,
        }
    }
}

/// Whether the processor has the instructions.
pub(super) fn is_available<I: DotProduct>() -> bool {
    I::new().is_some()
}

/// Runs `visitor` with a layer whose weights were packed by [`pack_quads`].
pub(super) fn visit<I: DotProduct>(
    (weights, offsets): (&[i8], &[[i32; LANES]]),
    epilogue: Epilogue<'_>,
    visitor: impl LayerVisitor,
) {
    let instructions =
        I::new().expect("weights are packed in quads only where the instructions are available");
    let layer = QuadLinear::new(instructions, weights, offsets, epilogue);
    instructions.vectorize(Visit { layer, visitor });
}

struct Visit<'a, I, T> {
    layer: QuadLinear<'a, I>,
    visitor: T,
}

impl<I: DotProduct, T: LayerVisitor> pulp::NullaryFnOnce for Visit<'_, I, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let simd = self.layer.instructions.simd();
        self.visitor.visit(simd, &self.layer);
    }
}

impl<I: DotProduct> Layer<I::Simd> for QuadLinear<'_, I> {
    #[inline(always)]
    fn run(&self, _: I::Simd, input: &[f32], output: &mut [f32], scratch: &mut [i32]) {
        let [inputs, outputs] = self.epilogue.sizes;
        let quads = quad_count(inputs);
        let mut scales = [0.0f32; ROWS];
        let groups = input.chunks(ROWS * inputs);
        for (input, output) in groups.zip(output.chunks_mut(ROWS * outputs)) {
            let rows = input.chunks_exact(inputs);
            let integers = scratch.chunks_exact_mut(2 * quads);
            for ((row, integers), scale) in rows.zip(integers).zip(&mut scales) {
                *scale = self.quantize_row(row, cast_slice_mut(integers));
            }
            let rows = Rows {
                inputs: scratch.as_chunks().0,
                scales: &scales[..output.len() / outputs],
            };
            self.add_panels(rows, output);
        }
    }
}

impl<I: DotProduct> QuadLinear<'_, I> {
    /// Quantizes a row. Returns the value of the integer 1. `bytes`: [quads, 2, 4].
    #[inline(always)]
    fn quantize_row(&self, row: &[f32], bytes: &mut [u8]) -> f32 {
        let range = Range::new(row, self.quantized_max);
        // The weights of padding are zero, whatever is there.
        let (vectors, rest) = row.as_chunks::<LANES>();
        let (to, to_rest) = bytes.split_at_mut(vectors.len() * 2 * LANES);
        let (to, _) = to.as_chunks_mut::<{ 2 * LANES }>();
        for (vector, to) in vectors.iter().zip(to) {
            *to = self.instructions.quantize(&range, vector);
        }
        for (at, number) in rest.iter().enumerate() {
            let integer = range.integer(*number) as u16 ^ I::FLIPPED;
            let at = at / 4 * 8 + at % 4;
            (to_rest[at], to_rest[at + 4]) = ((integer >> 8) as u8, integer as u8);
        }
        range.row_scale
    }

    /// Computes all outputs of `rows`.
    #[inline(always)]
    fn add_panels(&self, rows: Rows<'_>, output: &mut [f32]) {
        let outputs = self.epilogue.sizes[1];
        let mut panel = 0;
        if I::REGISTERS == 1 && rows.scales.len() == 1 {
            // The sums of a panel are too few: each waits for the sum before it.
            while (panel + 2) * WIDTH <= outputs {
                self.add_rows::<1, 2, 3, 3, 48>((panel, 0), rows, output);
                panel += 2;
            }
        }
        while panel * WIDTH < outputs {
            self.add_panel(panel, rows, output);
            panel += 1;
        }
    }

    /// Computes the outputs of a panel for all rows, as many rows and vectors at a time as registers hold.
    #[inline(always)]
    fn add_panel(&self, panel: usize, mut rows: Rows<'_>, mut output: &mut [f32]) {
        let [inputs, outputs] = self.epilogue.sizes;
        let vectors = VECTORS.min((outputs - panel * WIDTH).div_ceil(LANES));
        while !output.is_empty() {
            let out = &mut *output;
            let at = (panel, 0);
            let count = match (I::REGISTERS, rows.scales.len(), vectors) {
                (1, 4.., 3) => self.add_rows::<4, 1, 3, 3, 48>(at, rows, out),
                (1, 3, 3) => self.add_rows::<3, 1, 3, 3, 48>(at, rows, out),
                (1, 2, 3) => self.add_rows::<2, 1, 3, 3, 48>(at, rows, out),
                (1, _, 3) => self.add_rows::<1, 1, 3, 3, 48>(at, rows, out),
                (1, 4.., 2) => self.add_rows::<4, 1, 2, 2, 32>(at, rows, out),
                (1, _, 2) => self.add_rows::<1, 1, 2, 2, 32>(at, rows, out),
                (1, 4.., _) => self.add_rows::<4, 1, 1, 1, 16>(at, rows, out),
                (1, _, _) => self.add_rows::<1, 1, 1, 1, 16>(at, rows, out),
                (2, 1, 3) => self.add_rows::<1, 1, 3, 6, 48>(at, rows, out),
                (4, 1, 3) => self.add_rows::<1, 1, 3, 12, 48>(at, rows, out),
                (registers, count, _) => {
                    for vector in 0..vectors {
                        let at = (panel, vector);
                        match (registers, count) {
                            // With three the compiler would keep a sum in memory.
                            (2, 2..) => self.add_rows::<2, 1, 1, 2, 16>(at, rows, out),
                            (2, _) => self.add_rows::<1, 1, 1, 2, 16>(at, rows, out),
                            (_, 2..) => self.add_rows::<2, 1, 1, 4, 16>(at, rows, out),
                            _ => self.add_rows::<1, 1, 1, 4, 16>(at, rows, out),
                        };
                    }
                    count.min(2)
                }
            };
            rows.inputs = &rows.inputs[count * quad_count(inputs)..];
            rows.scales = &rows.scales[count..];
            output = &mut output[count * outputs..];
        }
    }

    /// Computes outputs for the first `R` rows: those of `N` panels from `panel` on, in each panel `V`
    /// vectors from `first` on, which are `F` vectors of f32 and `P` outputs. Returns `R`.
    #[inline(always)]
    fn add_rows<const R: usize, const N: usize, const V: usize, const F: usize, const P: usize>(
        &self,
        (panel, first): (usize, usize),
        rows: Rows<'_>,
        output: &mut [f32],
    ) -> usize {
        let [inputs, outputs] = self.epilogue.sizes;
        let (instructions, simd) = (self.instructions, self.instructions.simd());
        let quads = quad_count(inputs);
        // Slices of one length, so that the loop over the quads has no bounds checks. Without closures: whether
        // those are compiled into this function depends on the code around it.
        let mut weights: [&[[Quads; VECTORS]]; N] = [&[]; N];
        for (n, weights) in weights.iter_mut().enumerate() {
            *weights = &self.weights[(panel + n) * quads..][..quads];
        }
        let mut inputs: [&[Inputs]; R] = [&[]; R];
        for (at, inputs) in inputs.iter_mut().enumerate() {
            *inputs = &rows.inputs[at * quads..][..quads];
        }
        let zeros = instructions.splat(0);
        let mut high = [[[zeros; V]; N]; R];
        let mut low = [[[zeros; V]; N]; R];
        for quad in 0..quads {
            let mut vectors = [[zeros; V]; N];
            for n in 0..N {
                for v in 0..V {
                    vectors[n][v] = instructions.load(&weights[n][quad][first + v]);
                }
            }
            for at in 0..R {
                let [from_high, from_low] = inputs[at][quad];
                let from_high = instructions.splat(from_high);
                let from_low = instructions.splat(from_low);
                for n in 0..N {
                    for v in 0..V {
                        let (high, low) = (&mut high[at][n][v], &mut low[at][n][v]);
                        *high = instructions.add_products(*high, from_high, vectors[n][v]);
                        *low = instructions.add_products(*low, from_low, vectors[n][v]);
                    }
                }
            }
        }
        let mut sums = [[[simd.splat_f32s(0.0); F]; N]; R];
        // By index: an iterator over the sums would move them through memory.
        for n in 0..N {
            for v in 0..V {
                let offsets = &self.offsets[panel + n][first + v];
                for at in 0..R {
                    let bytes = [high[at][n][v], low[at][n][v]];
                    instructions.store_sums(bytes, offsets, &mut sums[at][n], v);
                }
            }
        }
        for at in 0..R {
            let row = &mut output[at * outputs..][..outputs];
            for n in 0..N {
                let begin = (panel + n) * WIDTH + first * LANES;
                let sums = (sums[at][n], Some(rows.scales[at]));
                self.epilogue
                    .store::<I::Simd, F, P>((simd, begin), sums, row);
            }
        }
        R
    }
}
