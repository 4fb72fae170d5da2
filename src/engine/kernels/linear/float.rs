//! Layers whose products are of floats: weights of any kind become that in registers.

use tract_onnx::prelude::*;

use super::{Ends, Layer, PANEL, ROWS, TILE};
use crate::engine::kernels::is_fused;

/// Outputs that are computed at least: what is past a layer's last ones is computed for nobody.
const NARROW: usize = 16;
/// Inputs that are gone through without a look at how many are left.
const BLOCK: usize = 8;

/// What a weight is held as.
pub(super) trait Weight: Datum + Copy + Into<f32> {
    /// What it is multiplied by, if the largest of its output's is `largest`.
    fn scale(largest: f32) -> f32;

    /// The nearest one; 0 of no number.
    fn nearest(number: f32) -> Self;
}

impl Weight for f32 {
    fn scale(_: f32) -> f32 {
        1.0
    }

    fn nearest(number: f32) -> Self {
        number
    }
}

impl Weight for i16 {
    fn scale(largest: f32) -> f32 {
        largest / 32_767.0
    }

    fn nearest(number: f32) -> Self {
        number.round() as Self
    }
}

impl Weight for i8 {
    fn scale(largest: f32) -> f32 {
        largest / 127.0
    }

    fn nearest(number: f32) -> Self {
        number.round() as Self
    }
}

/// Weights [in, out], whose largest for each output are given, as [panels, in, PANEL], and the
/// scales of those [panels, PANEL].
pub(super) fn packed<W: Weight>(
    numbers: &[f32],
    inputs: usize,
    largest: &[f32],
) -> TractResult<(Tensor, Tensor)> {
    let outputs = largest.len();
    let panels = outputs.div_ceil(PANEL);
    let mut scales: Vec<f32> = largest.iter().map(|largest| W::scale(*largest)).collect();
    let mut packed = vec![W::nearest(0.0); panels * inputs * PANEL];
    for (input, row) in numbers.chunks_exact(outputs).enumerate() {
        for (output, number) in row.iter().enumerate() {
            let at = (output / PANEL * inputs + input) * PANEL + output % PANEL;
            packed[at] = W::nearest(number / scales[output]);
        }
    }
    scales.resize(panels * PANEL, 0.0);
    let weights = Tensor::from_shape(&[panels, inputs, PANEL], &packed)?;
    Ok((weights, Tensor::from_shape(&[panels, PANEL], &scales)?))
}

/// A layer with its numbers at hand.
pub(super) struct Floats<'a, W> {
    /// [panels, in, PANEL]
    pub(super) weights: &'a [W],
    pub(super) ends: Ends<'a>,
}

impl<S: pulp::Simd, W: Weight> Layer<S> for Floats<'_, W> {
    #[inline(always)]
    fn run(&self, simd: S, input: &[f32], output: &mut [f32]) {
        let [inputs, outputs] = self.ends.sizes;
        let groups = input.chunks(ROWS * inputs);
        for (input, output) in groups.zip(output.chunks_mut(ROWS * outputs)) {
            for (panel, weights) in self.weights.chunks_exact(inputs * PANEL).enumerate() {
                let weights = weights.as_chunks().0;
                let tiles = input.chunks(TILE * inputs);
                for (heard, output) in tiles.zip(output.chunks_mut(TILE * outputs)) {
                    self.add_tile((simd, panel, weights), heard, output);
                }
            }
        }
    }
}

impl<W: Weight> Floats<'_, W> {
    /// A tile's rows, as many at a time as registers hold.
    #[inline(always)]
    fn add_tile<S: pulp::Simd>(
        &self,
        panel: (S, usize, &[[W; PANEL]]),
        mut heard: &[f32],
        mut output: &mut [f32],
    ) {
        let [inputs, outputs] = self.ends.sizes;
        let is_narrow = self.ends.left(panel.1) <= NARROW;
        while !output.is_empty() {
            // Vectors of a part times rows are the registers that hold sums.
            let rows = match (S::F32_LANES, output.len() / outputs) {
                (16, 8..) => self.add_rows::<S, 8, 2, 32>(panel, heard, output),
                (16, 4..) => self.add_rows::<S, 4, 2, 32>(panel, heard, output),
                (16, 3) => self.add_rows::<S, 3, 4, 64>(panel, heard, output),
                (16, 2) => self.add_rows::<S, 2, 4, 64>(panel, heard, output),
                (16, _) if is_narrow => self.add_rows::<S, 1, 1, 16>(panel, heard, output),
                (16, _) => self.add_rows::<S, 1, 4, 64>(panel, heard, output),
                (8, 4..) => self.add_rows::<S, 4, 2, 16>(panel, heard, output),
                (8, 3) => self.add_rows::<S, 3, 4, 32>(panel, heard, output),
                (8, 2) => self.add_rows::<S, 2, 4, 32>(panel, heard, output),
                (8, _) if is_narrow => self.add_rows::<S, 1, 2, 16>(panel, heard, output),
                (8, _) => self.add_rows::<S, 1, 4, 32>(panel, heard, output),
                (4, 2..) if is_narrow => self.add_rows::<S, 2, 4, 16>(panel, heard, output),
                (4, 2..) => self.add_rows::<S, 2, 8, 32>(panel, heard, output),
                (4, _) if is_narrow => self.add_rows::<S, 1, 4, 16>(panel, heard, output),
                (4, _) => self.add_rows::<S, 1, 8, 32>(panel, heard, output),
                _ => self.add_rows::<S, 1, 8, 8>(panel, heard, output),
            };
            (heard, output) = (&heard[rows * inputs..], &mut output[rows * outputs..]);
        }
    }

    /// The same for the first `R` rows, whose sums are `V` vectors, `P` numbers simd_dispatch; gives `R`.
    /// Weights become f32 in registers, which goes on beside the sums.
    #[inline(always)]
    fn add_rows<S: pulp::Simd, const R: usize, const V: usize, const P: usize>(
        &self,
        (simd, panel, weights): (S, usize, &[[W; PANEL]]),
        heard: &[f32],
        output: &mut [f32],
    ) -> usize {
        let [inputs, outputs] = self.ends.sizes;
        let (blocks, others) = weights.as_chunks::<BLOCK>();
        let rows: [(&[[f32; BLOCK]], &[f32]); R] =
            std::array::from_fn(|at| heard[at * inputs..][..inputs].as_chunks::<BLOCK>());
        for part in 0..PANEL.min(self.ends.left(panel)).div_ceil(P) {
            let mut sums = [[simd.splat_f32s(0.0); V]; R];
            // Inputs by blocks whose length is known, so that nothing is checked in between.
            for (block, weights) in blocks.iter().enumerate() {
                let heard: [&[f32; BLOCK]; R] = std::array::from_fn(|at| &rows[at].0[block]);
                for (input, weights) in weights.iter().enumerate() {
                    let heard: [f32; R] = std::array::from_fn(|at| heard[at][input]);
                    add_input::<S, W, R, V, P>(simd, &mut sums, heard, weights, part);
                }
            }
            for (input, weights) in others.iter().enumerate() {
                let heard: [f32; R] = std::array::from_fn(|at| rows[at].1[input]);
                add_input::<S, W, R, V, P>(simd, &mut sums, heard, weights, part);
            }
            for (sums, row) in sums.into_iter().zip(output.chunks_mut(outputs)) {
                self.ends
                    .say::<S, V, P>((simd, panel, part), (sums, None), row);
            }
        }
        R
    }
}

/// What one input adds to the sums of `R` rows, of `V` vectors each: the part `part` of a panel.
#[inline(always)]
fn add_input<S: pulp::Simd, W: Weight, const R: usize, const V: usize, const P: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; R],
    heard: [f32; R],
    weights: &[W; PANEL],
    part: usize,
) {
    let (parts, _) = weights.as_chunks::<P>();
    let mut wide = [0.0f32; P];
    for lane in 0..P {
        wide[lane] = parts[part][lane].into();
    }
    let (vectors, _) = S::as_simd_f32s(&wide);
    for at in 0..R {
        let x = simd.splat_f32s(heard[at]);
        for vector in 0..V {
            sums[at][vector] = add_products(simd, sums[at][vector], x, vectors[vector]);
        }
    }
}

/// `super::add_product` of vectors: fused where that one is.
#[inline(always)]
fn add_products<S: pulp::Simd>(simd: S, sum: S::f32s, a: S::f32s, b: S::f32s) -> S::f32s {
    if is_fused::<S>() {
        simd.mul_add_f32s(a, b, sum)
    } else {
        simd.add_f32s(sum, simd.mul_f32s(a, b))
    }
}
