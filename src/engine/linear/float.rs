//! Layers whose products are of f32. Weights of all formats become f32 in registers.

use super::epilogue::Epilogue;
use super::layer::{INT8_MAX, INT16_MAX, Layer, LayerVisitor, PANEL, ROWS, TILE};
use crate::fast_math::{ROUNDER, has_fma};

/// Panels with at most so many outputs are computed in parts of this size, so that fewer outputs past
/// the last one are computed.
const NARROW: usize = 16;
/// Numbers of the widest vector.
const MAX_LANES: usize = 16;
/// Inputs of a block without bounds checks.
const BLOCK: usize = 8;

/// A format of weights.
pub(super) trait Weight: Copy + Into<f32> {
    /// The scale of an output whose largest absolute weight is `max_abs`.
    fn scale(max_abs: f32) -> f32;

    /// The weight nearest to `number`. NaN becomes 0 in integer formats.
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
    fn scale(max_abs: f32) -> f32 {
        max_abs / INT16_MAX
    }

    fn nearest(number: f32) -> Self {
        number.round() as Self
    }
}

impl Weight for i8 {
    fn scale(max_abs: f32) -> f32 {
        max_abs / INT8_MAX
    }

    fn nearest(number: f32) -> Self {
        // 8-bit weights are integers but for rounding.
        (number + ROUNDER).to_bits() as Self
    }
}

/// Packs weights [inputs, outputs] as [panels, inputs, PANEL]. Returns them and their scales [panels,
/// PANEL]. `max_abs`: [outputs] the largest absolute weights.
pub(super) fn pack<W: Weight>(
    weights: &[f32],
    inputs: usize,
    max_abs: &[f32],
) -> (Vec<W>, Vec<[f32; PANEL]>) {
    let outputs = max_abs.len();
    let panels = outputs.div_ceil(PANEL);
    let mut scales = vec![[0.0; PANEL]; panels];
    for (scale, max_abs) in scales.as_flattened_mut().iter_mut().zip(max_abs) {
        *scale = W::scale(*max_abs);
    }
    let zero = W::nearest(0.0);
    let packed = to_panels(weights, [inputs, outputs], zero, |panel, row, to| {
        for ((to, weight), scale) in to.iter_mut().zip(row).zip(&scales[panel]) {
            *to = W::nearest(weight / scale);
        }
    });
    (packed, scales)
}

/// Weights [inputs, outputs] as [panels, inputs, PANEL] with `zero` as padding. `convert` gets a panel, its part
/// of a row, and the place of that.
pub(super) fn to_panels<T, W: Copy>(
    weights: &[T],
    [inputs, outputs]: [usize; 2],
    zero: W,
    convert: impl Fn(usize, &[T], &mut [W]),
) -> Vec<W> {
    let mut packed = vec![zero; outputs.div_ceil(PANEL) * inputs * PANEL];
    for (input, row) in weights.chunks_exact(outputs).enumerate() {
        for (panel, row) in row.chunks(PANEL).enumerate() {
            let to = &mut packed[(panel * inputs + input) * PANEL..][..row.len()];
            convert(panel, row, to);
        }
    }
    packed
}

/// Runs `visitor` with a layer whose weights were packed by [`pack`].
pub(super) fn visit<W: Weight>(weights: &[W], epilogue: Epilogue<'_>, visitor: impl LayerVisitor) {
    let layer = FloatLinear { weights, epilogue };
    pulp::Arch::new().dispatch(Visit { layer, visitor });
}

struct Visit<'a, W, T> {
    layer: FloatLinear<'a, W>,
    visitor: T,
}

impl<W: Weight, T: LayerVisitor> pulp::WithSimd for Visit<'_, W, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        self.visitor.visit(simd, &self.layer);
    }
}

/// A layer with products of f32.
struct FloatLinear<'a, W> {
    /// [panels, inputs, PANEL]
    weights: &'a [W],
    epilogue: Epilogue<'a>,
}

impl<S: pulp::Simd, W: Weight> Layer<S> for FloatLinear<'_, W> {
    #[inline(always)]
    fn run(&self, simd: S, input: &[f32], output: &mut [f32], _scratch: &mut [i32]) {
        let [inputs, outputs] = self.epilogue.sizes;
        let groups = input.chunks(ROWS * inputs);
        for (input, output) in groups.zip(output.chunks_mut(ROWS * outputs)) {
            for (panel, weights) in self.weights.chunks_exact(inputs * PANEL).enumerate() {
                let weights = weights.as_chunks().0;
                let tiles = input.chunks(TILE * inputs);
                for (input, output) in tiles.zip(output.chunks_mut(TILE * outputs)) {
                    self.add_tile((simd, panel, weights), input, output);
                }
            }
        }
    }
}

impl<W: Weight> FloatLinear<'_, W> {
    /// Computes the outputs of a panel for a tile, as many rows at a time as registers hold.
    #[inline(always)]
    fn add_tile<S: pulp::Simd>(
        &self,
        panel: (S, usize, &[[W; PANEL]]),
        mut input: &[f32],
        mut output: &mut [f32],
    ) {
        let [inputs, outputs] = self.epilogue.sizes;
        let is_narrow = self.epilogue.outputs_from(panel.1) <= NARROW;
        while !output.is_empty() {
            // The sums take (rows x vectors of a part) registers.
            let rows = match (S::F32_LANES, output.len() / outputs) {
                (16, 8..) => self.add_rows::<S, 8, 2, 32>(panel, input, output),
                (16, 4..) => self.add_rows::<S, 4, 2, 32>(panel, input, output),
                (16, 3) => self.add_rows::<S, 3, 4, 64>(panel, input, output),
                (16, 2) => self.add_rows::<S, 2, 4, 64>(panel, input, output),
                (16, _) if is_narrow => self.add_rows::<S, 1, 1, 16>(panel, input, output),
                (16, _) => self.add_rows::<S, 1, 4, 64>(panel, input, output),
                (8, 4..) => self.add_rows::<S, 4, 2, 16>(panel, input, output),
                (8, 3) => self.add_rows::<S, 3, 4, 32>(panel, input, output),
                (8, 2) => self.add_rows::<S, 2, 4, 32>(panel, input, output),
                (8, _) if is_narrow => self.add_rows::<S, 1, 2, 16>(panel, input, output),
                (8, _) => self.add_rows::<S, 1, 4, 32>(panel, input, output),
                (4, 2..) if is_narrow => self.add_rows::<S, 2, 4, 16>(panel, input, output),
                (4, 2..) => self.add_rows::<S, 2, 8, 32>(panel, input, output),
                (4, _) if is_narrow => self.add_rows::<S, 1, 4, 16>(panel, input, output),
                (4, _) => self.add_rows::<S, 1, 8, 32>(panel, input, output),
                _ => self.add_rows::<S, 1, 8, 8>(panel, input, output),
            };
            (input, output) = (&input[rows * inputs..], &mut output[rows * outputs..]);
        }
    }

    /// Computes the outputs of a panel for the first `R` rows, in parts of `P` outputs, which are `V`
    /// vectors. Returns `R`. Weights become f32 in registers while the processor adds.
    #[inline(always)]
    fn add_rows<S: pulp::Simd, const R: usize, const V: usize, const P: usize>(
        &self,
        (simd, panel, weights): (S, usize, &[[W; PANEL]]),
        input: &[f32],
        output: &mut [f32],
    ) -> usize {
        let [inputs, outputs] = self.epilogue.sizes;
        let (blocks, rest) = weights.as_chunks::<BLOCK>();
        // Without closures: whether those are compiled into this function depends on the code around it.
        let mut rows: [(&[[f32; BLOCK]], &[f32]); R] = [(&[], &[]); R];
        for at in 0..R {
            rows[at] = input[at * inputs..][..inputs].as_chunks::<BLOCK>();
        }
        for part in 0..PANEL.min(self.epilogue.outputs_from(panel)).div_ceil(P) {
            let mut sums = [[simd.splat_f32s(0.0); V]; R];
            // Blocks of constant length, so that there are no bounds checks inside.
            for (block, weights) in blocks.iter().enumerate() {
                let mut block_inputs = [&[0.0f32; BLOCK]; R];
                for at in 0..R {
                    block_inputs[at] = &rows[at].0[block];
                }
                for input_at in 0..BLOCK {
                    let mut inputs = [0.0f32; R];
                    for at in 0..R {
                        inputs[at] = block_inputs[at][input_at];
                    }
                    add_input::<S, W, R, V, P>(simd, &mut sums, inputs, &weights[input_at], part);
                }
            }
            for (input_at, weights) in rest.iter().enumerate() {
                let mut inputs = [0.0f32; R];
                for at in 0..R {
                    inputs[at] = rows[at].1[input_at];
                }
                add_input::<S, W, R, V, P>(simd, &mut sums, inputs, weights, part);
            }
            // By index: an iterator over the sums would move them through memory.
            for at in 0..R {
                let row = &mut output[at * outputs..][..outputs];
                self.epilogue.store::<S, V, P>(
                    (simd, panel * PANEL + part * P),
                    (sums[at], None),
                    row,
                );
            }
        }
        R
    }
}

/// Adds the products of one input of `R` rows with part `part` of the weights of a panel to the sums,
/// `V` vectors per row.
#[inline(always)]
fn add_input<S: pulp::Simd, W: Weight, const R: usize, const V: usize, const P: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; R],
    inputs: [f32; R],
    weights: &[W; PANEL],
    part: usize,
) {
    let (parts, _) = weights.as_chunks::<P>();
    let mut vectors = [simd.splat_f32s(0.0); V];
    for vector in 0..V {
        // A vector at a time: the compiler keeps one in a register, and would write the zeros of an array to memory.
        let mut wide = [0.0f32; MAX_LANES];
        for lane in 0..S::F32_LANES {
            wide[lane] = parts[part][vector * S::F32_LANES + lane].into();
        }
        vectors[vector] = S::as_simd_f32s(&wide).0[0];
    }
    for at in 0..R {
        let x = simd.splat_f32s(inputs[at]);
        for vector in 0..V {
            sums[at][vector] = add_products(simd, sums[at][vector], x, vectors[vector]);
        }
    }
}

/// [`add_product`](crate::fast_math::add_product) of vectors.
#[inline(always)]
fn add_products<S: pulp::Simd>(simd: S, sum: S::f32s, a: S::f32s, b: S::f32s) -> S::f32s {
    if has_fma::<S>() {
        simd.mul_add_f32s(a, b, sum)
    } else {
        simd.add_f32s(sum, simd.mul_f32s(a, b))
    }
}
