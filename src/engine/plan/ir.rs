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
pub(super) struct Ir<'a> {
    pub(super) values: Vec<Value<'a>>,
    /// in the order of evaluation
    pub(super) nodes: Vec<Node<'a>>,
    /// in the manifest's order
    pub(super) inputs: Vec<ValueId>,
    /// in the manifest's order
    pub(super) outputs: Vec<ValueId>,
}

#[derive(Debug, Clone)]
pub(super) struct Value<'a> {
    /// of one stream: a batch axis has the size 1
    pub(super) shape: Vec<usize>,
    pub(super) source: Source<'a>,
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(super) enum Source<'a> {
    Input,
    Node(usize),
    F32(Numbers<'a>),
    I64(Arc<[i64]>),
    /// numbers of another type; only a `Cast` uses them
    Narrow(Numbers<'a>),
}

/// The numbers of a constant. Weights of 8 bits stay as they are in the file until they are packed: as f32
/// they would be most of the memory and of the time to load a model.
#[derive(Debug, Clone)]
pub(super) enum Numbers<'a> {
    F32(Arc<[f32]>),
    Int8 {
        /// signed, in the order of the shape
        integers: &'a [u8],
        /// factors of the elements of the last axis; `None`: 1
        scales: Option<Arc<[f32]>>,
    },
}

#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) op: Op<'a>,
    pub(super) inputs: Vec<ValueId>,
    pub(super) output: ValueId,
}

#[derive(Debug, Clone)]
pub(super) enum Op<'a> {
    /// [rows, inputs] times weights [inputs, outputs]
    Product {
        weights: Numbers<'a>,
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

impl From<Arc<[f32]>> for Numbers<'_> {
    fn from(numbers: Arc<[f32]>) -> Self {
        Self::F32(numbers)
    }
}

impl Numbers<'_> {
    pub(super) fn to_f32(&self) -> Arc<[f32]> {
        match self {
            Self::F32(numbers) => numbers.clone(),
            Self::Int8 { integers, scales } => {
                let mut numbers: Arc<[f32]> =
                    integers.iter().map(|n| f32::from(*n as i8)).collect();
                if let Some(scales) = scales {
                    for row in Arc::make_mut(&mut numbers).chunks_exact_mut(scales.len()) {
                        for (number, scale) in row.iter_mut().zip(&**scales) {
                            *number *= scale;
                        }
                    }
                }
                numbers
            }
        }
    }
}

impl Value<'_> {
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The numbers of a constant of type f32.
    pub(super) fn constant(&self) -> Option<Arc<[f32]>> {
        match &self.source {
            Source::F32(numbers) => Some(numbers.to_f32()),
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
