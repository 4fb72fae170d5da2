//! Linear layers with packed weights, for both executors. Their time is that of reading the weights,
//! so weights are held in 16 bits, or in the 8 bits that they were exported in, and a step of several
//! streams reads them once. Small layers that use their weights for many rows of a stream keep them as
//! f32.

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
