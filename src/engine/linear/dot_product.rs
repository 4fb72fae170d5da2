//! VNNI of AVX-512 or of AVX, and the dot product of NEON: one instruction multiplies four 8-bit integers with
//! four others and adds the products to a 32-bit sum. A 16-bit input is two integers of 8 bits, and a constant
//! because their signs are those that the instruction expects:
//!
//! ```text
//! input = 2^8 high + low + constant
//! ```
//!
//! What the constant adds to the sums of an output is known when the weights are packed. All arithmetic is
//! modulo 2^32 and the results fit.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use pulp::Simd;
use pulp::bytemuck::cast_slice_mut;

use super::layer::{Layer, LayerVisitor, PANEL, ROWS};
use super::quantize::Range;

/// Outputs of a vector.
pub(super) const LANES: usize = 16;
/// Vectors of a panel. With AVX-512 and four rows, or NEON and one, the sums of 8-bit weights take 24 of the 32
/// registers.
pub(super) const VECTORS: usize = 3;
/// Outputs whose weights are contiguous in memory.
pub(super) const WIDTH: usize = VECTORS * LANES;

/// The weights of four inputs for each output of a vector.
pub(super) type Quads = [[i8; 4]; LANES];
/// Four inputs of a row: their high bytes, then their low bytes.
pub(super) type Inputs = [i32; 2];

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

    fn load_ints(self, ints: &[i32; LANES]) -> Self::Ints;

    /// `sums` plus the four products of each 32-bit lane.
    fn add_products(self, sums: Self::Ints, inputs: Self::Ints, weights: Self::Ints) -> Self::Ints;

    fn add(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;

    /// 2^8 `ints`
    fn shift_byte(self, ints: Self::Ints) -> Self::Ints;

    /// `ints` as vector `at` of f32.
    fn store_f32s<const F: usize>(
        self,
        ints: Self::Ints,
        floats: &mut [<Self::Simd as Simd>::f32s; F],
        at: usize,
    );

    /// The bytes of LANES inputs: of each four the high bytes, then the low bytes of their integers with
    /// [`Self::FLIPPED`] flipped.
    fn quantize(self, range: &Range, numbers: &[f32; LANES]) -> [u8; 2 * LANES];
}

/// The order of bytes of eight 16-bit integers: of each four the high bytes, then the low bytes.
const ORDER: [u8; 16] = [1, 3, 5, 7, 0, 2, 4, 6, 9, 11, 13, 15, 8, 10, 12, 14];

/// An extension that a processor may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "aarch64")]
    NeonDotProduct,
}

/// Code for the instructions of any extension.
trait KernelVisitor {
    type Output;

    fn visit<I: DotProduct>(self, instructions: I) -> Self::Output;
}

impl Kernel {
    /// Those that this processor has, the fastest first.
    pub(super) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let all = [
            x86_64::Avx512::new().map(|_| Self::Avx512Vnni),
            x86_64::Avx::new().map(|_| Self::AvxVnni),
        ];
        #[cfg(target_arch = "aarch64")]
        let all = [aarch64::Neon::new().map(|_| Self::NeonDotProduct)];
        all.into_iter().flatten()
    }

    /// The constant of an input, see the formula of this module.
    pub(super) fn constant(self) -> i32 {
        struct Constant;

        impl KernelVisitor for Constant {
            type Output = i32;

            fn visit<I: DotProduct>(self, _: I) -> i32 {
                i32::from(I::FLIPPED as i16)
            }
        }

        self.visit(Constant)
    }

    /// Runs `visitor` with `layer`.
    pub(super) fn run(self, layer: impl IntegerLayer, visitor: impl LayerVisitor) {
        struct Run<L, T>(L, T);

        impl<L: IntegerLayer, T: LayerVisitor> KernelVisitor for Run<L, T> {
            type Output = ();

            fn visit<I: DotProduct>(self, instructions: I) {
                let Self(layer, visitor) = self;
                let layer = QuantizingLayer {
                    instructions,
                    layer,
                };
                instructions.vectorize(Visit { layer, visitor });
            }
        }

        self.visit(Run(layer, visitor));
    }

    fn visit<T: KernelVisitor>(self, visitor: T) -> T::Output {
        fn run<I: DotProduct, T: KernelVisitor>(visitor: T) -> T::Output {
            visitor.visit(I::new().expect("a kernel exists only where the processor has it"))
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => run::<x86_64::Avx512, T>(visitor),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => run::<x86_64::Avx, T>(visitor),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotProduct => run::<aarch64::Neon, T>(visitor),
        }
    }
}

/// A layer in one format of weights, for rows of integers.
pub(super) trait IntegerLayer {
    /// inputs and outputs
    fn sizes(&self) -> [usize; 2];

    /// The integer of the largest absolute input of a row.
    fn quantized_max(&self) -> f32;

    /// Computes all outputs of `rows`, at most ROWS.
    fn add_panels<I: DotProduct>(&self, instructions: I, rows: Rows<'_>, output: &mut [f32]);
}

/// A layer for one extension, with the code that uses it.
struct Visit<I, L, T> {
    layer: QuantizingLayer<I, L>,
    visitor: T,
}

impl<I: DotProduct, L: IntegerLayer, T: LayerVisitor> pulp::NullaryFnOnce for Visit<I, L, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let simd = self.layer.instructions.simd();
        self.visitor.visit(simd, &self.layer);
    }
}

/// Quantizes rows for a layer.
struct QuantizingLayer<I, L> {
    instructions: I,
    layer: L,
}

impl<I: DotProduct, L: IntegerLayer> Layer<I::Simd> for QuantizingLayer<I, L> {
    #[inline(always)]
    fn run(&self, _: I::Simd, input: &[f32], output: &mut [f32], scratch: &mut [i32]) {
        let [inputs, outputs] = self.layer.sizes();
        let (instructions, quantized_max) = (self.instructions, self.layer.quantized_max());
        let mut scales = [0.0f32; ROWS];
        let groups = input.chunks(ROWS * inputs);
        for (input, output) in groups.zip(output.chunks_mut(ROWS * outputs)) {
            let rows = (input, inputs);
            let rows = Rows::quantize(instructions, rows, quantized_max, scratch, &mut scales);
            self.layer.add_panels(instructions, rows, output);
        }
    }
}

/// Groups of four inputs. The last one is padded with zeros.
pub(super) fn quad_count(inputs: usize) -> usize {
    inputs.div_ceil(4)
}

/// Weights [panels, inputs, PANEL] of `outputs` outputs as [panels, quads, VECTORS, LANES, 4], with panels of
/// WIDTH outputs, and the sum of the weights of each output [panels, VECTORS, LANES].
pub(super) fn pack_quads(
    weights: &[[i8; PANEL]],
    [inputs, outputs]: [usize; 2],
) -> (Vec<i8>, Vec<[i32; LANES]>) {
    let quads = quad_count(inputs);
    let vectors = outputs.div_ceil(WIDTH) * VECTORS;
    let mut packed = vec![0i8; vectors * quads * size_of::<Quads>()];
    let (to, _) = packed.as_chunks_mut().0.as_chunks_mut::<LANES>();
    let mut sums = vec![[0i32; LANES]; vectors];
    for vector in 0..outputs.div_ceil(LANES) {
        let (panel, part) = (vector / VECTORS, vector % VECTORS);
        let from = &weights[vector * LANES / PANEL * inputs..][..inputs];
        let sums = &mut sums[vector];
        for (input, weights) in from.iter().enumerate() {
            let weights = &weights[vector * LANES % PANEL..][..LANES];
            let quad: &mut Quads = &mut to[(panel * quads + input / 4) * VECTORS + part];
            for ((quad, sum), weight) in quad.iter_mut().zip(&mut *sums).zip(weights) {
                quad[input % 4] = *weight;
                *sum += i32::from(*weight);
            }
        }
    }
    (packed, sums)
}

/// Rows of inputs as integers.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// [rows, quads]
    pub(super) inputs: &'a [Inputs],
    /// [rows] the value of the integer 1
    pub(super) scales: &'a [f32],
}

impl<'a> Rows<'a> {
    /// Quantizes rows, at most ROWS, to integers of at most `quantized_max`.
    #[inline(always)]
    fn quantize<I: DotProduct>(
        instructions: I,
        (input, inputs): (&[f32], usize),
        quantized_max: f32,
        scratch: &'a mut [i32],
        scales: &'a mut [f32; ROWS],
    ) -> Self {
        let rows = input.chunks_exact(inputs);
        let count = rows.len();
        let integers = scratch.chunks_exact_mut(2 * quad_count(inputs));
        for ((row, integers), scale) in rows.zip(integers).zip(&mut *scales) {
            *scale = quantize_row(instructions, row, quantized_max, cast_slice_mut(integers));
        }
        Self {
            inputs: scratch.as_chunks().0,
            scales: &scales[..count],
        }
    }

    /// Without the first `count` rows, which have `quads` quads each.
    #[inline(always)]
    pub(super) fn after(self, count: usize, quads: usize) -> Self {
        Self {
            inputs: &self.inputs[count * quads..],
            scales: &self.scales[count..],
        }
    }
}

/// Quantizes a row. Returns the value of the integer 1. `bytes`: [quads, 2, 4].
#[inline(always)]
fn quantize_row<I: DotProduct>(
    instructions: I,
    row: &[f32],
    quantized_max: f32,
    bytes: &mut [u8],
) -> f32 {
    let range = Range::new(row, quantized_max);
    // The weights of padding are zero, whatever is there.
    let (vectors, rest) = row.as_chunks::<LANES>();
    let (to, to_rest) = bytes.split_at_mut(vectors.len() * 2 * LANES);
    let (to, _) = to.as_chunks_mut::<{ 2 * LANES }>();
    for (vector, to) in vectors.iter().zip(to) {
        *to = instructions.quantize(&range, vector);
    }
    for (at, number) in rest.iter().enumerate() {
        let integer = range.integer(*number) as u16 ^ I::FLIPPED;
        let at = at / 4 * 8 + at % 4;
        (to_rest[at], to_rest[at + 4]) = ((integer >> 8) as u8, integer as u8);
    }
    range.row_scale
}
