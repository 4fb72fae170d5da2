//! Layers with 8-bit weights whose products are of integers. The inputs of each row are quantized to
//! 16 bits, so the sums are exact and equal on every processor.

#[cfg(any(target_arch = "wasm32", target_arch = "x86_64"))]
mod pairs;
mod portable;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod quads;

#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
use super::dot_product;
use super::epilogue::Epilogue;
use super::layer::{INT8_MAX, LayerVisitor};

/// The coarsest quantization of inputs: 1/8191 of the largest absolute value of the row.
const MIN_QUANTIZED_MAX: f32 = 8191.0;

/// Whether sums of `inputs` products fit into 32 bits.
pub(super) fn is_supported(inputs: usize) -> bool {
    quantized_max(inputs) >= MIN_QUANTIZED_MAX
}

/// The integer of the largest absolute input of a row, so that no sum of products exceeds 32 bits.
fn quantized_max(inputs: usize) -> f32 {
    let max = f64::from(i32::MAX) / (inputs as f64 * f64::from(INT8_MAX));
    max.min(f64::from(i16::MAX)).floor() as f32
}

/// Weights in the order in which the kernel for this processor reads them.
#[derive(Debug, PartialEq)]
pub(super) struct Int8Weights {
    /// [panels, inputs, PANEL], or another order of the same numbers
    packed: Vec<i8>,
    /// what a kernel of quads adds to the sums, for 16 outputs each; empty for other kernels
    offsets: Vec<[i32; 16]>,
    kernel: Kernel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Portable,
    #[cfg(any(target_arch = "wasm32", target_arch = "x86_64"))]
    Pairs,
    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    Quads(dot_product::Kernel),
}

impl Kernel {
    /// The fastest one for this processor.
    fn new() -> Self {
        let [fastest, ..] = Self::available()[..] else {
            unreachable!("the portable kernel is always available");
        };
        fastest
    }

    /// Those that this processor can run, the fastest first.
    fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
        kernels.extend(dot_product::Kernel::available().map(Self::Quads));
        #[cfg(any(target_arch = "wasm32", target_arch = "x86_64"))]
        kernels.extend(pairs::is_available().then_some(Self::Pairs));
        kernels.push(Self::Portable);
        kernels
    }
}

impl Int8Weights {
    /// `weights`: [panels, inputs, PANEL]. `sizes`: inputs and outputs.
    pub(super) fn new(weights: &[i8], sizes: [usize; 2]) -> Self {
        Self::with_kernel(weights, sizes, Kernel::new())
    }

    #[cfg_attr(
        not(any(
            target_arch = "aarch64",
            target_arch = "wasm32",
            target_arch = "x86_64"
        )),
        expect(
            unused_variables,
            reason = "the portable kernel keeps the order of the weights"
        )
    )]
    fn with_kernel(weights: &[i8], sizes: [usize; 2], kernel: Kernel) -> Self {
        let (packed, offsets) = match kernel {
            Kernel::Portable => (weights.to_vec(), Vec::new()),
            #[cfg(any(target_arch = "wasm32", target_arch = "x86_64"))]
            Kernel::Pairs => {
                let packed = pairs::pack_pairs(weights.as_chunks().0, sizes[0]);
                (packed, Vec::new())
            }
            #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
            Kernel::Quads(kernel) => quads::pack(kernel, weights.as_chunks().0, sizes),
        };
        Self {
            packed,
            offsets,
            kernel,
        }
    }

    /// Runs `visitor` with the layer.
    pub(super) fn visit(&self, epilogue: Epilogue<'_>, visitor: impl LayerVisitor) {
        match self.kernel {
            Kernel::Portable => portable::visit(&self.packed, epilogue, visitor),
            #[cfg(any(target_arch = "wasm32", target_arch = "x86_64"))]
            Kernel::Pairs => pairs::visit(&self.packed, epilogue, visitor),
            #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
            Kernel::Quads(kernel) => {
                quads::visit(kernel, (&self.packed, &self.offsets), epilogue, visitor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layer::{LinearRows, PANEL, scratch_len};
    use super::super::noise;
    use super::*;

    /// The outputs of `rows` rows, and of the largest weights and inputs where `full_scale`.
    fn outputs(kernel: Kernel, [inputs, outputs, rows]: [usize; 3], full_scale: bool) -> Vec<u32> {
        let panels = outputs.div_ceil(PANEL);
        let mut seed = 3;
        let mut number = || if full_scale { -1.0 } else { noise(&mut seed) };
        let weights: Vec<i8> = (0..panels * inputs * PANEL)
            .map(|_| (number() * 127.0) as i8)
            .collect();
        let input: Vec<f32> = (0..rows * inputs).map(|_| number()).collect();
        let scales: Vec<[f32; PANEL]> = vec![[0.01; PANEL]; panels];
        let biases: Vec<[f32; PANEL]> = (0..panels).map(|_| [noise(&mut seed); PANEL]).collect();
        let epilogue = Epilogue {
            sizes: [inputs, outputs],
            scales: &scales,
            biases: &biases,
            residual: true,
            relu: false,
        };
        let mut output = vec![0.25; rows * outputs];
        // What other layers have left.
        let mut scratch = vec![-1; scratch_len(inputs, rows)];
        let rows = LinearRows {
            input: &input,
            output: &mut output,
            scratch: &mut scratch,
        };
        Int8Weights::with_kernel(&weights, [inputs, outputs], kernel).visit(epilogue, rows);
        output.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn all_kernels_have_the_bits_of_the_portable_one() {
        println!("{:?}", Kernel::available());
        for sizes in [
            [48, 144, 27],
            [1296, 96, 1],
            [1, 1, 1],
            [7, 65, 2],
            [96, 288, 40],
            [2000, 17, 3],
            [75, 31, 33],
            [30, 97, 4],
            [17, 130, 1],
        ] {
            for full_scale in [false, true] {
                let expected = outputs(Kernel::Portable, sizes, full_scale);
                for kernel in Kernel::available() {
                    let found = outputs(kernel, sizes, full_scale);
                    assert!(found == expected, "{kernel:?} {sizes:?} {full_scale}");
                }
            }
        }
    }
}
