//! Layers of 8-bit weights whose products are of whole numbers: registers multiply 16-bit numbers
//! and add them two by two, so that twice as many weights pass as with floats, and none is
//! converted but to 16 bits. What a row hears is rounded for that.

use pulp::bytemuck::{cast, cast_slice_mut};
use pulp::x86::{V3, V4};
use std::arch::x86_64::{__m256i, __m512i};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::bail;

use super::{Ends, LARGEST_OF_EIGHT_BITS, Layer, Linear, PANEL, ROWS, WithLayer};

/// Numbers that are heard are rounded no further: to a part in 8191 of the row's largest.
const MIN_LARGEST: f32 = 8191.0;
/// Rows whose largest number is below that are heard as zeros: the scale of others is finite.
const NOTHING: f32 = 1e-30;

/// A pair of weights for each of a panel's outputs.
type Weights = [[i8; 2]; PANEL];

/// Whether there are registers for it, and room in 32 bits for the sum of so many products.
pub(super) fn can_pair(inputs: usize) -> bool {
    V3::try_new().is_some() && largest_heard(inputs) >= MIN_LARGEST
}

/// What the largest number that is heard is rounded to: no sum of products leaves 32 bits.
fn largest_heard(inputs: usize) -> f32 {
    let room = f64::from(i32::MAX) / (inputs as f64 * f64::from(LARGEST_OF_EIGHT_BITS));
    room.min(f64::from(i16::MAX)).floor() as f32
}

/// Pairs that a row is made of: what the last one may miss is heard as zero.
fn pairs_of(inputs: usize) -> usize {
    inputs.div_ceil(2)
}

/// Weights [panels, in, PANEL] as [panels, pairs, PANEL, 2].
pub(super) fn paired(weights: &Tensor) -> TractResult<Tensor> {
    let [panels, inputs, _] = weights.shape() else {
        bail!(
            "weights in panels have three axes, not {:?}",
            weights.shape()
        );
    };
    let plain = weights.try_as_plain_ram()?;
    let pairs = pairs_of(*inputs);
    let mut paired = vec![[[0i8; 2]; PANEL]; panels * pairs];
    let panels_of = plain.as_slice::<i8>()?.chunks_exact(inputs * PANEL);
    for (from, to) in panels_of.zip(paired.chunks_exact_mut(pairs)) {
        for (input, weights) in from.chunks_exact(PANEL).enumerate() {
            for (pair, weight) in to[input / 2].iter_mut().zip(weights) {
                pair[input % 2] = *weight;
            }
        }
    }
    Tensor::from_shape(
        &[*panels, pairs, PANEL, 2],
        paired.as_flattened().as_flattened(),
    )
}

/// Does something with a layer that [`can_pair`], its weights [`paired`].
pub(super) fn with_layer(op: &Linear, work: impl WithLayer) -> TractResult<()> {
    let weights = op.weights.try_as_plain_ram()?;
    let layer = Pairs {
        weights: weights.as_slice::<i8>()?.as_chunks().0.as_chunks().0,
        largest: largest_heard(op.inputs),
        ends: op.ends()?,
    };
    if let Some(simd) = V4::try_new() {
        simd.vectorize(Run { simd, layer, work });
    } else if let Some(simd) = V3::try_new() {
        simd.vectorize(Run { simd, layer, work });
    } else {
        bail!("no registers for pairs of whole numbers");
    }
    Ok(())
}

struct Run<'a, S, T> {
    simd: S,
    layer: Pairs<'a>,
    work: T,
}

impl<S: Whole, T: WithLayer> pulp::NullaryFnOnce for Run<'_, S, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.work.with_layer(self.simd, &self.layer);
    }
}

/// Registers of whole numbers.
trait Whole: pulp::Simd {
    /// 32 bits each, or two of 16
    type Numbers: Copy;

    fn zeros(self) -> Self::Numbers;

    /// The same pair everywhere.
    fn splat(self, pair: i32) -> Self::Numbers;

    /// The `vector`th vector of pairs of weights, in 16 bits each.
    fn widen(self, weights: &Weights, vector: usize) -> Self::Numbers;

    /// `sums` and the two products of each pair.
    fn add_products(
        self,
        sums: Self::Numbers,
        weights: Self::Numbers,
        heard: Self::Numbers,
    ) -> Self::Numbers;

    fn floats(self, sums: Self::Numbers) -> Self::f32s;
}

impl Whole for V3 {
    type Numbers = __m256i;

    #[inline(always)]
    fn zeros(self) -> __m256i {
        self.avx._mm256_setzero_si256()
    }

    #[inline(always)]
    fn splat(self, pair: i32) -> __m256i {
        self.avx._mm256_set1_epi32(pair)
    }

    #[inline(always)]
    fn widen(self, weights: &Weights, vector: usize) -> __m256i {
        let (vectors, _) = weights.as_flattened().as_chunks::<16>();
        self.avx2._mm256_cvtepi8_epi16(cast(vectors[vector]))
    }

    #[inline(always)]
    fn add_products(self, sums: __m256i, weights: __m256i, heard: __m256i) -> __m256i {
        let products = self.avx2._mm256_madd_epi16(weights, heard);
        self.avx2._mm256_add_epi32(sums, products)
    }

    #[inline(always)]
    fn floats(self, sums: __m256i) -> Self::f32s {
        cast(self.avx._mm256_cvtepi32_ps(sums))
    }
}

impl Whole for V4 {
    type Numbers = __m512i;

    #[inline(always)]
    fn zeros(self) -> __m512i {
        self.avx512f._mm512_setzero_si512()
    }

    #[inline(always)]
    fn splat(self, pair: i32) -> __m512i {
        self.avx512f._mm512_set1_epi32(pair)
    }

    #[inline(always)]
    fn widen(self, weights: &Weights, vector: usize) -> __m512i {
        let (vectors, _) = weights.as_flattened().as_chunks::<32>();
        self.avx512bw._mm512_cvtepi8_epi16(cast(vectors[vector]))
    }

    #[inline(always)]
    fn add_products(self, sums: __m512i, weights: __m512i, heard: __m512i) -> __m512i {
        let products = self.avx512bw._mm512_madd_epi16(weights, heard);
        self.avx512f._mm512_add_epi32(sums, products)
    }

    #[inline(always)]
    fn floats(self, sums: __m512i) -> Self::f32s {
        cast(self.avx512f._mm512_cvtepi32_ps(sums))
    }
}

/// A layer with its numbers at hand.
struct Pairs<'a> {
    /// [panels, pairs]
    weights: &'a [Weights],
    largest: f32,
    ends: Ends<'a>,
}

impl<S: Whole> Layer<S> for Pairs<'_> {
    #[inline(always)]
    fn run(&self, simd: S, input: &[f32], output: &mut [f32]) {
        let [inputs, outputs] = self.ends.sizes;
        let pairs = pairs_of(inputs);
        let mut heard = vec![0i32; ROWS.min(output.len() / outputs) * pairs];
        let mut steps = [0.0f32; ROWS];
        let groups = input.chunks(ROWS * inputs);
        for (input, output) in groups.zip(output.chunks_mut(ROWS * outputs)) {
            let rows = input
                .chunks_exact(inputs)
                .zip(heard.chunks_exact_mut(pairs));
            for ((row, heard), step) in rows.zip(&mut steps) {
                *step = rounded(row, self.largest, cast_slice_mut(heard));
            }
            for (panel, weights) in self.weights.chunks_exact(pairs).enumerate() {
                self.add_panel((simd, panel, weights), (&heard, &steps), output);
            }
        }
    }
}

impl Pairs<'_> {
    /// A panel's outputs of all rows, as many at a time as registers hold.
    #[inline(always)]
    fn add_panel<S: Whole>(
        &self,
        panel: (S, usize, &[Weights]),
        (mut heard, mut steps): (&[i32], &[f32]),
        mut output: &mut [f32],
    ) {
        let outputs = self.ends.sizes[1];
        let left = self.ends.left(panel.1);
        while !output.is_empty() {
            let said = &mut *output;
            // Vectors of a part times rows are the registers that hold sums.
            let rows = match (S::F32_LANES, said.len() / outputs) {
                (16, 4..) if left <= 16 => self.add_rows::<S, 4, 1, 16>(panel, heard, steps, said),
                (16, 4..) if left <= 32 => self.add_rows::<S, 4, 2, 32>(panel, heard, steps, said),
                (16, 4..) => self.add_rows::<S, 4, 4, 64>(panel, heard, steps, said),
                (16, 2..) => self.add_rows::<S, 2, 4, 64>(panel, heard, steps, said),
                (16, _) if left <= 16 => self.add_rows::<S, 1, 1, 16>(panel, heard, steps, said),
                (16, _) if left <= 32 => self.add_rows::<S, 1, 2, 32>(panel, heard, steps, said),
                (16, _) => self.add_rows::<S, 1, 4, 64>(panel, heard, steps, said),
                (_, 4..) => self.add_rows::<S, 4, 2, 16>(panel, heard, steps, said),
                (_, 2..) => self.add_rows::<S, 2, 4, 32>(panel, heard, steps, said),
                _ if left <= 16 => self.add_rows::<S, 1, 2, 16>(panel, heard, steps, said),
                _ if left <= 32 => self.add_rows::<S, 1, 4, 32>(panel, heard, steps, said),
                _ => self.add_rows::<S, 1, 8, 64>(panel, heard, steps, said),
            };
            heard = &heard[rows * panel.2.len()..];
            (steps, output) = (&steps[rows..], &mut output[rows * outputs..]);
        }
    }

    /// The same for the first `R` rows, whose sums are `V` vectors, `P` numbers simd_dispatch; gives `R`.
    #[inline(always)]
    fn add_rows<S: Whole, const R: usize, const V: usize, const P: usize>(
        &self,
        (simd, panel, weights): (S, usize, &[Weights]),
        heard: &[i32],
        steps: &[f32],
        output: &mut [f32],
    ) -> usize {
        let pairs = weights.len();
        let rows: [&[i32]; R] = std::array::from_fn(|at| &heard[at * pairs..][..pairs]);
        for part in 0..PANEL.min(self.ends.left(panel)).div_ceil(P) {
            let mut sums = [[simd.zeros(); V]; R];
            // One pair at a time: of several, the compiler adds the products first, and has too few
            // registers for that.
            for pair in 0..pairs {
                let mut wide = [simd.zeros(); V];
                for (vector, wide) in wide.iter_mut().enumerate() {
                    *wide = simd.widen(&weights[pair], part * V + vector);
                }
                for at in 0..R {
                    let heard = simd.splat(rows[at][pair]);
                    for vector in 0..V {
                        let sum = sums[at][vector];
                        sums[at][vector] = simd.add_products(sum, wide[vector], heard);
                    }
                }
            }
            let rows = output.chunks_mut(self.ends.sizes[1]).zip(steps);
            for (sums, (row, step)) in sums.into_iter().zip(rows) {
                let mut floats = [simd.splat_f32s(0.0); V];
                for (float, sum) in floats.iter_mut().zip(sums) {
                    *float = simd.floats(sum);
                }
                self.ends
                    .say::<S, V, P>((simd, panel, part), (floats, Some(*step)), row);
            }
        }
        R
    }
}

/// Rounds a row to whole numbers up to `largest`, and gives what they are to be multiplied by: what
/// is not finite makes that no number, and with it all that the layer says.
#[inline(always)]
fn rounded(row: &[f32], largest: f32, heard: &mut [i16]) -> f32 {
    // Adding 1.5 x 2^23 rounds to the nearest whole number, which the lowest bits then are.
    const ROUNDER: f32 = 12_582_912.0;
    // As bits, infinities are above all numbers, and what is no number above them.
    let mut size = 0;
    for number in row {
        size = size.max(number.to_bits() & !(1 << 31));
    }
    let size = f32::from_bits(size);
    if !size.is_finite() {
        return f32::NAN;
    }
    if size < NOTHING {
        heard.fill(0);
        return 0.0;
    }
    let scale = largest / size;
    for (whole, number) in heard.iter_mut().zip(row) {
        *whole = (number * scale + ROUNDER).to_bits() as i16;
    }
    size / largest
}
