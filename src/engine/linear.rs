//! Linear layers with packed weights, for both executors. Their time is that of reading the weights,
//! so weights are held in 16 bits, or in the 8 bits that they were exported in, and a step of several
//! streams reads them once. Small layers keep them as f32.

#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod dot_product;
mod epilogue;
mod float;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod int16;
mod int8;
mod layer;
mod packed;
mod quantize;

pub(super) use layer::{Layer, LayerVisitor, LinearRows, scratch_len};
pub(super) use packed::{Additions, PackedLinear};

/// A call runs a layer of `inputs` to `outputs` in 16-bit weights for `rows` rows.
#[cfg(feature = "bench")]
pub(crate) fn layer_stage([inputs, outputs]: [usize; 2], rows: usize) -> impl FnMut() {
    let noise = |n: usize| ((n * n) as f32 * 0.37).sin();
    let weights: Vec<f32> = (0..inputs * outputs).map(noise).collect();
    let layer = PackedLinear::new(&weights, [inputs, outputs]).expect("finite weights");
    let input: Vec<f32> = (0..rows * inputs).map(noise).collect();
    let mut output = vec![0.0; rows * outputs];
    let mut scratch = vec![0; scratch_len(inputs, rows)];
    move || {
        let rows = LinearRows {
            input: &input,
            output: &mut output,
            scratch: &mut scratch,
        };
        layer.visit(Additions::default(), rows);
    }
}

/// The next number from -1 to 1.
#[cfg(test)]
fn noise(seed: &mut u32) -> f32 {
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
}
