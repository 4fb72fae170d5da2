//! Linear layers as operations of tract.

mod fuse;
mod op;
#[cfg(test)]
mod tests;

pub(super) use fuse::fuse_epilogue;
pub(super) use op::Linear;
