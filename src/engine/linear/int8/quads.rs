//! Dot products of quads of bytes, see [`dot_product`](super::super::dot_product):
//!
//! ```text
//! sum(weight * input) = 2^8 sum(weight * high) + sum(weight * low) + constant sum(weight)
//! ```
//!
//! The result fits, so the sums are those of the other kernels.

use pulp::Simd;

use super::super::dot_product::{
    DotProduct, Inputs, IntegerLayer, Kernel, LANES, Quads, Rows, VECTORS, WIDTH, pack_quads,
    quad_count,
};
use super::super::epilogue::Epilogue;
use super::super::layer::{LayerVisitor, PANEL};
use super::quantized_max;

/// Weights [panels, inputs, PANEL] as those of [`pack_quads`], and what is added to the sums of each output
/// [panels, VECTORS, LANES].
pub(super) fn pack(
    kernel: Kernel,
    weights: &[[i8; PANEL]],
    sizes: [usize; 2],
) -> (Vec<i8>, Vec<[i32; LANES]>) {
    let constant = kernel.constant();
    let (packed, mut sums) = pack_quads(weights, sizes);
    for sum in sums.as_flattened_mut() {
        *sum = sum.wrapping_mul(constant);
    }
    (packed, sums)
}

/// Runs `visitor` with a layer whose weights were packed by [`pack`].
pub(super) fn visit(
    kernel: Kernel,
    (weights, offsets): (&[i8], &[[i32; LANES]]),
    epilogue: Epilogue<'_>,
    visitor: impl LayerVisitor,
) {
    let layer = QuadLinear {
        weights: weights.as_chunks().0.as_chunks().0.as_chunks().0,
        offsets: offsets.as_chunks().0,
        epilogue,
    };
    kernel.run(layer, visitor);
}

/// A layer in 8-bit weights.
struct QuadLinear<'a> {
    /// [panels, quads]
    weights: &'a [[Quads; VECTORS]],
    /// [panels]
    offsets: &'a [[[i32; LANES]; VECTORS]],
    epilogue: Epilogue<'a>,
}

impl IntegerLayer for QuadLinear<'_> {
    #[inline(always)]
    fn sizes(&self) -> [usize; 2] {
        self.epilogue.sizes
    }

    #[inline(always)]
    fn quantized_max(&self) -> f32 {
        quantized_max(self.epilogue.sizes[0])
    }

    #[inline(always)]
    fn add_panels<I: DotProduct>(&self, instructions: I, rows: Rows<'_>, output: &mut [f32]) {
        let outputs = self.epilogue.sizes[1];
        let mut panel = 0;
        if I::REGISTERS == 1 && rows.scales.len() == 1 {
            // The sums of a panel are too few: each waits for the sum before it.
            while (panel + 2) * WIDTH <= outputs {
                self.add_rows::<I, 1, 2, 3, 3, 48>((instructions, panel, 0), rows, output);
                panel += 2;
            }
        }
        while panel * WIDTH < outputs {
            self.add_panel((instructions, panel), rows, output);
            panel += 1;
        }
    }
}

impl QuadLinear<'_> {
    /// Computes the outputs of a panel for all rows, as many rows and vectors at a time as registers hold.
    #[inline(always)]
    fn add_panel<I: DotProduct>(
        &self,
        (instructions, panel): (I, usize),
        mut rows: Rows<'_>,
        mut output: &mut [f32],
    ) {
        let [inputs, outputs] = self.epilogue.sizes;
        let vectors = VECTORS.min((outputs - panel * WIDTH).div_ceil(LANES));
        while !output.is_empty() {
            let out = &mut *output;
            let at = (instructions, panel, 0);
            let count = match (I::REGISTERS, rows.scales.len(), vectors) {
                (1, 4.., 3) => self.add_rows::<I, 4, 1, 3, 3, 48>(at, rows, out),
                (1, 3, 3) => self.add_rows::<I, 3, 1, 3, 3, 48>(at, rows, out),
                (1, 2, 3) => self.add_rows::<I, 2, 1, 3, 3, 48>(at, rows, out),
                (1, _, 3) => self.add_rows::<I, 1, 1, 3, 3, 48>(at, rows, out),
                (1, 4.., 2) => self.add_rows::<I, 4, 1, 2, 2, 32>(at, rows, out),
                (1, _, 2) => self.add_rows::<I, 1, 1, 2, 2, 32>(at, rows, out),
                (1, 4.., _) => self.add_rows::<I, 4, 1, 1, 1, 16>(at, rows, out),
                (1, _, _) => self.add_rows::<I, 1, 1, 1, 1, 16>(at, rows, out),
                (2, 1, 3) => self.add_rows::<I, 1, 1, 3, 6, 48>(at, rows, out),
                (4, 1, 3) => self.add_rows::<I, 1, 1, 3, 12, 48>(at, rows, out),
                (registers, count, _) => {
                    for vector in 0..vectors {
                        let at = (instructions, panel, vector);
                        match (registers, count) {
                            // With three the compiler would keep a sum in memory.
                            (2, 2..) => self.add_rows::<I, 2, 1, 1, 2, 16>(at, rows, out),
                            (2, _) => self.add_rows::<I, 1, 1, 1, 2, 16>(at, rows, out),
                            (_, 2..) => self.add_rows::<I, 2, 1, 1, 4, 16>(at, rows, out),
                            _ => self.add_rows::<I, 1, 1, 1, 4, 16>(at, rows, out),
                        };
                    }
                    count.min(2)
                }
            };
            rows = rows.after(count, quad_count(inputs));
            output = &mut output[count * outputs..];
        }
    }

    /// Computes outputs for the first `R` rows: those of `N` panels from `panel` on, in each panel `V`
    /// vectors from `first` on, which are `F` vectors of f32 and `P` outputs. Returns `R`.
    #[inline(always)]
    fn add_rows<
        I: DotProduct,
        const R: usize,
        const N: usize,
        const V: usize,
        const F: usize,
        const P: usize,
    >(
        &self,
        (instructions, panel, first): (I, usize, usize),
        rows: Rows<'_>,
        output: &mut [f32],
    ) -> usize {
        let [inputs, outputs] = self.epilogue.sizes;
        let simd = instructions.simd();
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
                    let sum = instructions.shift_byte(high[at][n][v]);
                    let sum = instructions.add(sum, low[at][n][v]);
                    let sum = instructions.add(sum, instructions.load_ints(offsets));
                    instructions.store_f32s(sum, &mut sums[at][n], v);
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
