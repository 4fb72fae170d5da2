//! Finds layers with their epilogues, and recurrences.

mod recurrence;

use std::collections::HashSet;
use std::sync::Arc;

use super::gru::Gru;
use super::ir::{Binary, Ir, Numbers, Op, Source, Unary, ValueId};
use super::unsupported::Unsupported;
use crate::engine::linear::PackedLinear;

/// Work that one kernel does. Values that differ only in shape have one id.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) kernel: Kernel,
    pub(super) inputs: Vec<ValueId>,
    pub(super) output: ValueId,
}

impl Action {
    /// The state of a recurrence, which no other action uses.
    pub(super) fn recurrence_state(&self) -> Option<ValueId> {
        matches!(self.kernel, Kernel::MinGru { .. }).then(|| self.inputs[1])
    }
}

#[derive(Debug)]
pub(super) enum Kernel {
    /// of an input and, with `residual`, of a value that is added
    Linear {
        layer: PackedLinear,
        residual: bool,
        relu: bool,
    },
    /// of an input and a state, which becomes the next state
    MinGru {
        layer: PackedLinear,
        width: usize,
    },
    Binary(Binary),
    Unary(Unary),
    Select(Arc<[u32]>),
    Interleave {
        blocks: Vec<usize>,
    },
    Gru(Arc<Gru>),
}

/// A state: the index of its input and of the output that becomes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) input: usize,
    pub(super) next: usize,
}

/// The actions of `ir` in their order, and for each value the one that has its elements. The output of
/// a state that a recurrence updates in place has the elements of the state's input.
///
/// # Errors
/// [`Unsupported::NonFinite`].
pub(super) fn fuse(
    ir: &Ir<'_>,
    states: &[State],
) -> Result<(Vec<Action>, Vec<ValueId>), Unsupported> {
    let mut graph = Fusion::new(ir);
    for at in 0..ir.nodes.len() {
        graph.fuse_layer(at)?;
    }
    for at in 0..ir.nodes.len() {
        graph.fuse_recurrence(at, states);
    }
    Ok(graph.finish())
}

/// A graph that is being fused.
struct Fusion<'a> {
    ir: &'a Ir<'a>,
    /// [values] the first value with the same elements
    roots: Vec<ValueId>,
    /// [values] nodes that use the elements of a root
    users: Vec<Vec<usize>>,
    /// roots of the outputs
    outputs: HashSet<ValueId>,
    /// [nodes] whether an action of several nodes has it
    claimed: Vec<bool>,
    /// [nodes] the action that ends with it
    actions: Vec<Option<Action>>,
}

impl<'a> Fusion<'a> {
    fn new(ir: &'a Ir<'a>) -> Self {
        let mut roots: Vec<ValueId> = (0..ir.values.len()).collect();
        let mut users = vec![Vec::new(); ir.values.len()];
        for (at, node) in ir.nodes.iter().enumerate() {
            if let Op::Reshape = node.op {
                roots[node.output] = roots[node.inputs[0]];
                continue;
            }
            for input in &node.inputs {
                users[roots[*input]].push(at);
            }
        }
        Self {
            outputs: ir.outputs.iter().map(|output| roots[*output]).collect(),
            roots,
            users,
            claimed: vec![false; ir.nodes.len()],
            actions: std::iter::repeat_with(|| None)
                .take(ir.nodes.len())
                .collect(),
            ir,
        }
    }

    /// The only user of `root`, if it is no output.
    fn sole_user(&self, root: ValueId) -> Option<usize> {
        match self.users[root][..] {
            [user] if !self.outputs.contains(&root) => Some(user),
            _ => None,
        }
    }

    /// The inputs of node `at`, as roots.
    fn inputs(&self, at: usize) -> Vec<ValueId> {
        let inputs = self.ir.nodes[at].inputs.iter();
        inputs.map(|input| self.roots[*input]).collect()
    }

    /// A layer that begins with the product of node `first`: with its bias, with a value that is added,
    /// and with its ReLU.
    fn fuse_layer(&mut self, first: usize) -> Result<(), Unsupported> {
        let Op::Product { weights, sizes } = &self.ir.nodes[first].op else {
            return Ok(());
        };
        let mut output = self.ir.nodes[first].output;
        let packed = match weights {
            Numbers::Int8 {
                integers,
                scales: Some(scales),
            } => PackedLinear::from_int8(integers, *sizes, scales),
            _ => None,
        };
        let packed = packed.or_else(|| PackedLinear::new(&weights.to_f32(), *sizes));
        let Some(mut layer) = packed else {
            return Err(Unsupported::NonFinite);
        };
        let (mut residual, mut relu, mut last) = (None, false, first);
        self.claimed[first] = true;
        while let Some(user) = self.sole_user(output).filter(|_| !relu) {
            if self.claimed[user] {
                break;
            }
            match self.ir.nodes[user].op {
                Op::Binary(Binary::Add) => {
                    let inputs = self.inputs(user);
                    let other = inputs[usize::from(inputs[0] == output)];
                    let bias = self.ir.values[other].constant();
                    let bias = bias.filter(|bias| repeats(bias, sizes[1]));
                    match bias {
                        Some(bias) if residual.is_none() && !layer.has_bias() => {
                            if !bias.iter().all(|bias| bias.is_finite()) {
                                return Err(Unsupported::NonFinite);
                            }
                            layer = layer.with_bias(&bias[..sizes[1]]);
                        }
                        _ if residual.is_none() => residual = Some(other),
                        _ => break,
                    }
                }
                Op::Unary(Unary::Relu) => relu = true,
                _ => break,
            }
            self.claimed[user] = true;
            (last, output) = (user, self.ir.nodes[user].output);
        }
        let mut inputs = vec![self.roots[self.ir.nodes[first].inputs[0]]];
        inputs.extend(residual);
        self.actions[last] = Some(Action {
            kernel: Kernel::Linear {
                layer,
                residual: residual.is_some(),
                relu,
            },
            inputs,
            output,
        });
        Ok(())
    }

    /// The actions whose outputs are used, and the roots of all values.
    fn finish(mut self) -> (Vec<Action>, Vec<ValueId>) {
        let mut actions = Vec::new();
        for (at, node) in self.ir.nodes.iter().enumerate() {
            let action = self.actions[at].take();
            let kernel = match (&node.op, action) {
                (_, Some(action)) => {
                    actions.push(action);
                    continue;
                }
                (Op::Reshape | Op::Product { .. }, _) => continue,
                _ if self.claimed[at] => continue,
                (Op::Binary(op), _) => Kernel::Binary(*op),
                (Op::Unary(op), _) => Kernel::Unary(*op),
                (Op::Select(index), _) => Kernel::Select(index.clone()),
                (Op::Interleave { blocks }, _) => Kernel::Interleave {
                    blocks: blocks.clone(),
                },
                (Op::Gru(gru), _) => Kernel::Gru(gru.clone()),
            };
            actions.push(Action {
                kernel,
                inputs: self.inputs(at),
                output: node.output,
            });
        }
        let outputs = self.ir.outputs.iter().map(|output| self.roots[*output]);
        let mut used: HashSet<ValueId> = outputs.collect();
        let mut kept: Vec<Action> = Vec::with_capacity(actions.len());
        for action in actions.into_iter().rev() {
            let updates_state = matches!(action.kernel, Kernel::MinGru { .. });
            if updates_state || used.contains(&action.output) {
                used.extend(&action.inputs);
                kept.push(action);
            }
        }
        kept.reverse();
        (kept, self.roots)
    }

    /// The node that computes `root`.
    fn producer(&self, root: ValueId) -> Option<usize> {
        match self.ir.values[root].source {
            Source::Node(node) => Some(node),
            _ => None,
        }
    }
}

/// Whether `numbers` are the first `len` of them again and again.
fn repeats(numbers: &[f32], len: usize) -> bool {
    let (first, _) = numbers.split_at(len.min(numbers.len()));
    numbers.chunks(len).all(|chunk| {
        let pairs = chunk.iter().zip(first);
        chunk.len() == first.len() && pairs.into_iter().all(|(a, b)| a.to_bits() == b.to_bits())
    })
}
