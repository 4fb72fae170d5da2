//! Graphs with shapes and constants.

use std::sync::Arc;

use super::gru::Gru;

/// Index of a value in [`Ir::values`].
pub(super) type ValueId = usize;

/// The index of an element that is zero, in [`Op::Select`].
pub(super) const ZERO: u32 = u32::MAX;

/// A graph for one hop of one stream. With a batch axis, it is the first axis of every value that is
/// not constant, and no operator mixes the streams.
#[derive(Debug, Default)]
pub(super) struct Ir {
    pub(super) values: Vec<Value>,
    /// in the order of evaluation
    pub(super) nodes: Vec<Node>,
    /// in the manifest's order
    pub(super) inputs: Vec<ValueId>,
    /// in the manifest's order
    pub(super) outputs: Vec<ValueId>,
}

#[derive(Debug, Clone)]
pub(super) struct Value {
    /// of one stream: a batch axis has the size 1
    pub(super) shape: Vec<usize>,
    pub(super) source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Input,
    Node(usize),
    F32(Arc<[f32]>),
    I64(Arc<[i64]>),
    /// numbers of another type, as f32; only a `Cast` uses them
    Narrow(Arc<[f32]>),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) op: Op,
    pub(super) inputs: Vec<ValueId>,
    pub(super) output: ValueId,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    /// [rows, inputs] times weights [inputs, outputs]
    Product {
        weights: Arc<[f32]>,
        sizes: [usize; 2],
    },
    /// both inputs and the output have one shape
    Binary(Binary),
    Unary(Unary),
    /// Element i of the output is element `index[i]` of the input; [`ZERO`] for zero.
    Select(Arc<[u32]>),
    /// another shape, the same elements
    Reshape,
    /// Of each input in turn, a block of `blocks[input]` elements; and again until their ends.
    Interleave {
        blocks: Vec<usize>,
    },
    Gru(Arc<Gru>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Relu,
    Sigmoid,
    Tanh,
}

impl Value {
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The numbers of a constant.
    pub(super) fn constant(&self) -> Option<&Arc<[f32]>> {
        match &self.source {
            Source::F32(numbers) => Some(numbers),
            _ => None,
        }
    }

    pub(super) fn is_constant(&self) -> bool {
        !matches!(self.source, Source::Input | Source::Node(_))
    }
}

impl Binary {
    #[inline(always)]
    pub(super) fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Max => a.max(b),
            Self::Min => a.min(b),
        }
    }
}

/// The steps between neighbors of each axis, elements.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// The index of every element of `shape`, when a step along axis `a` is `steps[a]` elements from
/// `start`.
pub(super) fn strided(shape: &[usize], steps: &[usize], start: usize) -> Vec<u32> {
    let mut index = vec![start as u32];
    for (size, step) in shape.iter().zip(steps) {
        let along = index.iter().flat_map(|at| {
            let at = *at;
            (0..*size).map(move |n| at + (n * step) as u32)
        });
        index = along.collect();
    }
    index
}
