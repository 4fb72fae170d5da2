//! Layers with 16-bit weights whose products are of bytes, where the processor has an instruction for
//! [`dot_product`](super::dot_product)s: four of those take less time than the conversion of the weights to f32
//! and its product. A weight is two integers of 8 bits, as an input is:
//!
//! ```text
//! weight = 2^8 high + low
//! sum(weight * input) = 2^16 sum(high * input.high) + 2^8 sum(high * input.low)
//!                     + 2^8 sum(low * input.high) + sum(low * input.low) + constant sum(weight)
//! ```
//!
//! Each sum is exact. They are added as f32.

use pulp::Simd;

use super::dot_product::{
    DotProduct, Inputs, IntegerLayer, Kernel, LANES, Quads, Rows, VECTORS, WIDTH, pack_quads,
    quad_count,
};
use super::epilogue::Epilogue;
use super::layer::{LayerVisitor, PANEL};

/// The integer of the largest absolute input of a row.
const QUANTIZED_MAX: f32 = 32_767.0;
/// With at most so many inputs each of the sums fits into 32 bits: an input adds less than 2^16 to the two of 2^8
/// together.
const MAX_INPUTS: usize = 1 << 15;

/// What the constant of the inputs adds to each of the sums of the module's formula; the two of 2^8 share one.
type Offsets = [[i32; LANES]; 3];

/// Weights in the order in which the kernel reads them.
#[derive(Debug, PartialEq)]
pub(super) struct Int16Weights {
    /// high and low bytes, both [panels, quads, VECTORS, LANES, 4]
    bytes: [Vec<i8>; 2],
    /// [panels, VECTORS]
    offsets: Vec<Offsets>,
    kernel: Kernel,
}

/// The kernel for layers of `inputs`, if the processor has one.
pub(super) fn kernel(inputs: usize) -> Option<Kernel> {
    (inputs <= MAX_INPUTS).then(|| Kernel::available().next())?
}

impl Int16Weights {
    /// `weights`: [panels, inputs, PANEL], at most [`INT16_MAX`](super::layer::INT16_MAX). `sizes`: inputs and outputs.
    pub(super) fn new(weights: &[i16], sizes: [usize; 2], kernel: Kernel) -> Self {
        let mut planes = [vec![0i8; weights.len()], vec![0i8; weights.len()]];
        let [highs, lows] = &mut planes;
        for ((weight, high), low) in weights.iter().zip(highs).zip(lows) {
            // The low byte has a sign, too.
            *low = *weight as i8;
            *high = ((*weight - i16::from(*low)) >> 8) as i8;
        }
        let [(highs, high_sums), (lows, low_sums)] =
            planes.map(|plane| pack_quads(plane.as_chunks::<PANEL>().0, sizes));
        let constant = kernel.constant();
        let (high, low) = (constant >> 8, constant & 0xff);
        let mut offsets = vec![[[0; LANES]; 3]; high_sums.len()];
        for ((offsets, highs), lows) in offsets.iter_mut().zip(&high_sums).zip(&low_sums) {
            for lane in 0..LANES {
                offsets[0][lane] = high * highs[lane];
                offsets[1][lane] = high * lows[lane] + low * highs[lane];
                offsets[2][lane] = low * lows[lane];
            }
        }
        Self {
            bytes: [highs, lows],
            offsets,
            kernel,
        }
    }

    /// Runs `visitor` with the layer.
    pub(super) fn visit(&self, epilogue: Epilogue<'_>, visitor: impl LayerVisitor) {
        let [highs, lows] = &self.bytes;
        let layer = Int16Linear {
            highs: highs.as_chunks().0.as_chunks().0.as_chunks().0,
            lows: lows.as_chunks().0.as_chunks().0.as_chunks().0,
            offsets: self.offsets.as_chunks().0,
            epilogue,
        };
        self.kernel.run(layer, visitor);
    }
}

/// A layer in 16-bit weights.
struct Int16Linear<'a> {
    /// [panels, quads]
    highs: &'a [[Quads; VECTORS]],
    /// [panels, quads]
    lows: &'a [[Quads; VECTORS]],
    /// [panels]
    offsets: &'a [[Offsets; VECTORS]],
    epilogue: Epilogue<'a>,
}

impl IntegerLayer for Int16Linear<'_> {
    #[inline(always)]
    fn sizes(&self) -> [usize; 2] {
        self.epilogue.sizes
    }

    #[inline(always)]
    fn quantized_max(&self) -> f32 {
        QUANTIZED_MAX
    }

    #[inline(always)]
    fn add_panels<I: DotProduct>(&self, instructions: I, rows: Rows<'_>, output: &mut [f32]) {
        for panel in 0..self.epilogue.sizes[1].div_ceil(WIDTH) {
            self.add_panel((instructions, panel), rows, output);
        }
    }
}

impl Int16Linear<'_> {
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
                (1, 2.., 3) => self.add_rows::<I, 2, 3, 3, 48>(at, rows, out),
                (1, _, 3) => self.add_rows::<I, 1, 3, 3, 48>(at, rows, out),
                _ => {
                    for vector in 0..vectors {
                        let at = (instructions, panel, vector);
                        match I::REGISTERS {
                            1 => self.add_rows::<I, 1, 1, 1, 16>(at, rows, out),
                            2 => self.add_rows::<I, 1, 1, 2, 16>(at, rows, out),
                            _ => self.add_rows::<I, 1, 1, 4, 16>(at, rows, out),
                        };
                    }
                    1
                }
            };
            rows = rows.after(count, quad_count(inputs));
            output = &mut output[count * outputs..];
        }
    }

    /// Computes outputs for the first `R` rows: of `panel` those of `V` vectors from `first` on, which are `F`
    /// vectors of f32 and `P` outputs. Returns `R`.
    #[inline(always)]
    fn add_rows<I: DotProduct, const R: usize, const V: usize, const F: usize, const P: usize>(
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
        let highs = &self.highs[panel * quads..][..quads];
        let lows = &self.lows[panel * quads..][..quads];
        let mut inputs: [&[Inputs]; R] = [&[]; R];
        for (at, inputs) in inputs.iter_mut().enumerate() {
            *inputs = &rows.inputs[at * quads..][..quads];
        }
        // The sums of the module's formula. The two of 2^8 are apart: in one sum each would wait for the other.
        let mut sums = [[[instructions.splat(0); 4]; V]; R];
        for quad in 0..quads {
            for v in 0..V {
                let high = instructions.load(&highs[quad][first + v]);
                let low = instructions.load(&lows[quad][first + v]);
                for at in 0..R {
                    let [from_high, from_low] = inputs[at][quad];
                    let from_high = instructions.splat(from_high);
                    let from_low = instructions.splat(from_low);
                    let sums = &mut sums[at][v];
                    sums[0] = instructions.add_products(sums[0], from_high, high);
                    sums[1] = instructions.add_products(sums[1], from_low, high);
                    sums[2] = instructions.add_products(sums[2], from_high, low);
                    sums[3] = instructions.add_products(sums[3], from_low, low);
                }
            }
        }
        for at in 0..R {
            let mut floats = [[simd.splat_f32s(0.0); F]; 3];
            for v in 0..V {
                let [high, middle, low] = &self.offsets[panel][first + v];
                let sums = sums[at][v];
                let high = instructions.add(sums[0], instructions.load_ints(high));
                let middle = instructions.add(
                    instructions.add(sums[1], sums[2]),
                    instructions.load_ints(middle),
                );
                let low = instructions.add(sums[3], instructions.load_ints(low));
                instructions.store_f32s(high, &mut floats[0], v);
                instructions.store_f32s(middle, &mut floats[1], v);
                instructions.store_f32s(low, &mut floats[2], v);
            }
            let byte = simd.splat_f32s(256.0);
            let mut total = [simd.splat_f32s(0.0); F];
            for f in 0..F {
                // Products with a power of two are exact, so a fused product has the same bits.
                let sum = simd.add_f32s(simd.mul_f32s(floats[0][f], byte), floats[1][f]);
                total[f] = simd.add_f32s(simd.mul_f32s(sum, byte), floats[2][f]);
            }
            let row = &mut output[at * outputs..][..outputs];
            let begin = panel * WIDTH + first * LANES;
            let sums = (total, Some(rows.scales[at]));
            self.epilogue
                .store::<I::Simd, F, P>((simd, begin), sums, row);
        }
        R
    }
}

#[cfg(test)]
mod tests {
    use super::super::layer::{INT16_MAX, LinearRows, scratch_len};
    use super::super::noise;
    use super::*;

    /// The outputs of the module's formula in 64-bit integers, with sums as f32 as in the kernels.
    fn expected(weights: &[i16], input: &[f32], [inputs, outputs]: [usize; 2]) -> Vec<u32> {
        let mut found = Vec::new();
        for row in input.chunks_exact(inputs) {
            let max = row.iter().fold(0.0f32, |max, x| max.max(x.abs()));
            let integers: Vec<i64> = row
                .iter()
                .map(|x| i64::from((x * (QUANTIZED_MAX / max)).round_ties_even() as i16))
                .collect();
            for output in 0..outputs {
                let mut sums = [0i64; 3];
                for (input, x) in integers.iter().enumerate() {
                    let at = (output / PANEL * inputs + input) * PANEL + output % PANEL;
                    let (weight, x) = (i64::from(weights[at]), *x);
                    let low = i64::from(weight as i8);
                    let high = (weight - low) >> 8;
                    // As on x86: the low byte of an input has no sign.
                    let (x_high, x_low) = (x >> 8, x & 0xff);
                    sums[0] += high * x_high;
                    sums[1] += high * x_low + low * x_high;
                    sums[2] += low * x_low;
                }
                let [high, middle, low] = sums.map(|sum| i32::try_from(sum).unwrap() as f32);
                let sum = (high * 256.0 + middle) * 256.0 + low;
                let scale = 0.01 * (max / QUANTIZED_MAX);
                found.push((sum * scale + 0.5).to_bits());
            }
        }
        found
    }

    fn outputs(kernel: Kernel, weights: &[i16], input: &[f32], sizes: [usize; 2]) -> Vec<u32> {
        let [inputs, outputs] = sizes;
        let rows = input.len() / inputs;
        let panels = outputs.div_ceil(PANEL);
        let epilogue = Epilogue {
            sizes,
            scales: &vec![[0.01; PANEL]; panels],
            biases: &vec![[0.5; PANEL]; panels],
            residual: false,
            relu: false,
        };
        let mut output = vec![0.0; rows * outputs];
        // What other layers have left.
        let mut scratch = vec![-1; scratch_len(inputs, rows)];
        let rows = LinearRows {
            input,
            output: &mut output,
            scratch: &mut scratch,
        };
        Int16Weights::new(weights, sizes, kernel).visit(epilogue, rows);
        output.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn all_kernels_have_the_sums_of_the_formula() {
        for [inputs, output_count, rows] in [
            [256usize, 768usize, 1],
            [48, 144, 27],
            [1, 1, 1],
            [7, 65, 2],
            [2000, 17, 3],
            [75, 31, 33],
            [30, 97, 4],
            [17, 130, 1],
        ] {
            for full_scale in [false, true] {
                let sizes = [inputs, output_count];
                let mut seed = 3;
                let mut number = || if full_scale { -1.0 } else { noise(&mut seed) };
                let weights: Vec<i16> = (0..output_count.div_ceil(PANEL) * inputs * PANEL)
                    .map(|_| (number() * INT16_MAX) as i16)
                    .collect();
                let input: Vec<f32> = (0..rows * inputs).map(|_| number()).collect();
                let expected = expected(&weights, &input, sizes);
                for kernel in Kernel::available() {
                    let found = outputs(kernel, &weights, &input, sizes);
                    let close = found.iter().zip(&expected).all(|(found, expected)| {
                        let (found, expected) = (f32::from_bits(*found), f32::from_bits(*expected));
                        (found - expected).abs() <= 2e-7 * expected.abs().max(inputs as f32)
                    });
                    assert!(close, "{kernel:?} {sizes:?} {rows} {full_scale}");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_among_others() {
        let sizes = [75, 100];
        let mut seed = 5;
        let weights: Vec<i16> = (0..2 * 75 * PANEL)
            .map(|_| (noise(&mut seed) * INT16_MAX) as i16)
            .collect();
        let input: Vec<f32> = (0..5 * 75).map(|_| noise(&mut seed)).collect();
        for kernel in Kernel::available() {
            let together = outputs(kernel, &weights, &input, sizes);
            let alone = input.chunks_exact(75);
            let alone = alone.flat_map(|row| outputs(kernel, &weights, row, sizes));
            assert!(alone.eq(together), "{kernel:?}");
        }
    }
}
