//! The kernels of a plan. None allocates.

use std::ops::Range;
use std::sync::Arc;

use super::gru::Gru;
use super::ir::{Binary, Unary, ZERO};
use crate::engine::linear::{Additions, LinearRows, PackedLinear, scratch_len};
use crate::engine::recurrence::{LayerRows, layer_scratch};
use crate::fast_math::exp_neg;
use crate::simd::simd_dispatch;

/// The place of a value in the memory of one stream, numbers. For several rows, all rows of a value are
/// contiguous, so its place begins at `rows * at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) at: usize,
    pub(super) len: usize,
}

impl Span {
    /// The numbers of all rows.
    pub(super) fn range(self, rows: usize) -> Range<usize> {
        self.at * rows..(self.at + self.len) * rows
    }

    /// The numbers of row `row`.
    pub(super) fn row(self, row: usize, rows: usize) -> Range<usize> {
        let begin = self.at * rows + row * self.len;
        begin..begin + self.len
    }
}

#[derive(Debug)]
pub(super) enum Step {
    Copy {
        from: Span,
        to: Span,
    },
    /// constants, the same for every row
    Set {
        numbers: Arc<[f32]>,
        to: Span,
    },
    Linear {
        layer: PackedLinear,
        additions: Additions,
        from: Span,
        to: Span,
    },
    /// `at`: the input, which becomes the output. `state`: in the memory of each stream
    MinGru {
        layer: PackedLinear,
        width: usize,
        state: Span,
        at: Span,
    },
    /// `at`: the first operand, or the second one if `swapped`; it becomes the output
    Binary {
        op: Binary,
        swapped: bool,
        at: Span,
        other: Span,
    },
    /// with constants, the same for every row
    BinaryConstant {
        op: Binary,
        swapped: bool,
        at: Span,
        numbers: Arc<[f32]>,
    },
    Unary {
        op: Unary,
        at: Span,
    },
    /// elements by their index in a row
    Select {
        from: Span,
        to: Span,
        index: Arc<[u32]>,
    },
    /// blocks to every `stride`th number of a row, the first one to `at`
    Blocks {
        from: Span,
        to: Span,
        block: usize,
        stride: usize,
        at: usize,
    },
    /// only for one stream
    Gru {
        gru: Arc<Gru>,
        from: Span,
        initial: Option<Span>,
        to: Span,
    },
}

/// Memory that a step uses while it runs.
pub(super) struct Scratch {
    floats: Vec<f32>,
    integers: Vec<i32>,
}

impl Scratch {
    /// For any of `steps`.
    pub(super) fn new<'a>(steps: impl Iterator<Item = &'a Step>, rows: usize) -> Self {
        let [mut floats, mut integers] = [0, 0];
        for step in steps {
            let [f, i] = step.scratch(rows);
            (floats, integers) = (floats.max(f), integers.max(i));
        }
        Self {
            floats: vec![0.0; floats],
            integers: vec![0; integers],
        }
    }
}

impl Step {
    /// Numbers of f32 and of i32 scratch.
    fn scratch(&self, rows: usize) -> [usize; 2] {
        match self {
            Self::Linear { layer, from, .. } => {
                let [inputs, _] = layer.sizes();
                [0, scratch_len(inputs, rows * from.len / inputs)]
            }
            Self::MinGru { width, at, .. } => layer_scratch(*width, rows * at.len / width),
            Self::Gru { gru, .. } => gru.scratch(),
            _ => [0, 0],
        }
    }

    /// The name that profiles show.
    #[cfg(feature = "bench")]
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Copy { .. } => "Copy",
            Self::Set { .. } => "Set",
            Self::Linear { .. } => "Linear",
            Self::MinGru { .. } => "MinGru",
            Self::Binary { .. } | Self::BinaryConstant { .. } => "Binary",
            Self::Unary { .. } => "Unary",
            Self::Select { .. } => "Select",
            Self::Blocks { .. } => "Blocks",
            Self::Gru { .. } => "Gru",
        }
    }

    /// Runs the kernel for all rows. `memory`: of all values but the states of recurrences, which are in
    /// `states` [rows].
    pub(super) fn run(&self, memory: &mut [f32], states: &mut [Box<[f32]>], scratch: &mut Scratch) {
        let rows = states.len();
        match self {
            Self::Copy { from, to } => {
                memory.copy_within(from.range(rows), to.range(rows).start);
            }
            Self::Set { numbers, to } => {
                for row in memory[to.range(rows)].chunks_exact_mut(to.len) {
                    row.copy_from_slice(numbers);
                }
            }
            Self::Linear {
                layer,
                additions,
                from,
                to,
            } => {
                let [from, to] = spans(memory, [*from, *to], rows);
                layer.visit(
                    *additions,
                    LinearRows {
                        input: from,
                        output: to,
                        scratch: &mut scratch.integers,
                    },
                );
            }
            Self::MinGru {
                layer,
                width,
                state,
                at,
            } => {
                let streams = states.iter_mut().map(|stream| &mut stream[state.range(1)]);
                layer.visit(
                    Additions::default(),
                    LayerRows {
                        width: *width,
                        gates: &mut scratch.floats,
                        scratch: &mut scratch.integers,
                        states: streams.flat_map(|stream| stream.chunks_exact_mut(*width)),
                        output: &mut memory[at.range(rows)],
                    },
                );
            }
            Self::Binary {
                op,
                swapped,
                at,
                other,
            } => {
                let [at, other] = spans(memory, [*at, *other], rows);
                run_binary(*op, *swapped, at, other);
            }
            Self::BinaryConstant {
                op,
                swapped,
                at,
                numbers,
            } => {
                for row in memory[at.range(rows)].chunks_exact_mut(at.len) {
                    run_binary(*op, *swapped, row, numbers);
                }
            }
            Self::Unary { op, at } => run_unary(*op, &mut memory[at.range(rows)]),
            Self::Select { from, to, index } => {
                let (from_len, to_len) = (from.len, to.len);
                let [from, to] = spans(memory, [*from, *to], rows);
                let rows = from.chunks_exact(from_len);
                for (from, to) in rows.zip(to.chunks_exact_mut(to_len)) {
                    for (to, at) in to.iter_mut().zip(&**index) {
                        // `ZERO` is past the end.
                        debug_assert!(*at == ZERO || (*at as usize) < from.len());
                        *to = from.get(*at as usize).copied().unwrap_or(0.0);
                    }
                }
            }
            Self::Blocks {
                from,
                to,
                block,
                stride,
                at,
            } => {
                let [from, to] = spans(memory, [*from, *to], rows);
                let to = to.chunks_exact_mut(*stride);
                for (from, to) in from.chunks_exact(*block).zip(to) {
                    to[*at..][..*block].copy_from_slice(from);
                }
            }
            Self::Gru {
                gru,
                from,
                initial,
                to,
            } => {
                let scratch = (&mut scratch.floats[..], &mut scratch.integers[..]);
                match initial {
                    Some(initial) => {
                        let [from, initial, to] = spans(memory, [*from, *initial, *to], rows);
                        gru.run(from, Some(initial), to, scratch);
                    }
                    None => {
                        let [from, to] = spans(memory, [*from, *to], rows);
                        gru.run(from, None, to, scratch);
                    }
                }
            }
        }
    }
}

/// The numbers of different values.
fn spans<const N: usize>(memory: &mut [f32], spans: [Span; N], rows: usize) -> [&mut [f32]; N] {
    let ranges = spans.map(|span| span.range(rows));
    let found = memory.get_disjoint_mut(ranges);
    found.expect("values that are in use at a time have different places")
}

simd_dispatch! {
    /// `at = op(at)`.
    fn run_unary<'a, S>(_simd: S; op: Unary, at: &'a mut [f32]) {
        match op {
            Unary::Relu => {
                for x in at {
                    *x = if *x > 0.0 { *x } else { 0.0 };
                }
            }
            Unary::Sigmoid => {
                for x in at {
                    *x = 1.0 / (1.0 + exp_neg::<S>(*x, 1.0));
                }
            }
            Unary::Tanh => {
                for x in at {
                    let decay = exp_neg::<S>(*x, 2.0);
                    *x = (1.0 - decay) / (1.0 + decay);
                }
            }
        }
    }
}

/// Loops over one operation each, so that the compiler vectorizes them.
macro_rules! binary_loops {
    ($op:expr, $swapped:expr, $at:expr, $other:expr; $($kind:ident)*) => {
        match ($op, $swapped) {
            $(
                (Binary::$kind, false) => {
                    for (x, other) in $at.iter_mut().zip($other) {
                        *x = Binary::$kind.apply(*x, *other);
                    }
                }
                (Binary::$kind, true) => {
                    for (x, other) in $at.iter_mut().zip($other) {
                        *x = Binary::$kind.apply(*other, *x);
                    }
                }
            )*
        }
    };
}

simd_dispatch! {
    /// `at = op(at, other)`, or `op(other, at)` if `swapped`.
    fn run_binary<'a>(op: Binary, swapped: bool, at: &'a mut [f32], other: &'a [f32]) {
        binary_loops!(op, swapped, at, other; Add Sub Mul Div Max Min);
    }
}
