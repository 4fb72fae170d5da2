//! Linear layers. Their time is that of reading the weights, so weights are held in 16 bits, or in
//! the 8 bits that they were exported in, and a step of several streams reads them once. Small layers
//! that use their weights for many rows of a stream keep them as f32.

mod epilogue;
mod float;
mod fuse;
mod int8;
mod layer;
mod op;
#[cfg(test)]
mod tests;

pub(super) use fuse::fuse_epilogue;
pub(super) use layer::{Layer, LayerVisitor, TILE};
pub(super) use op::Linear;
