//! Finds the recurrences of [`crate::engine::recurrence`].

use super::{Action, Fusion, Kernel, State};
use crate::engine::linear::PackedLinear;
use crate::engine::plan::ir::{Binary, Op, Unary, ValueId};

/// Rows of the gates.
const UPDATE: usize = 0;
const CANDIDATE: usize = 1;
const OUTPUT_GATE: usize = 2;

/// A recurrence whose last node is an addition.
struct Match {
    /// all nodes but the last one and those of the layer
    nodes: Vec<usize>,
    gates: ValueId,
    input: ValueId,
    state: ValueId,
    next: ValueId,
}

impl Fusion<'_> {
    /// Fuses the recurrence whose output node `last` computes, if its state is one of `states` and a
    /// layer computes its gates from its input.
    pub(super) fn fuse_recurrence(&mut self, last: usize, states: &[State]) {
        let found = self.matches(last).into_iter().find_map(|found| {
            let (layer, at) = self.gate_layer(&found)?;
            self.is_exclusive(&found, last, states)
                .then_some((found, layer, at))
        });
        let Some((found, layer, layer_at)) = found else {
            return;
        };
        let width = layer.sizes()[0];
        for node in &found.nodes {
            self.claimed[*node] = true;
        }
        self.claimed[last] = true;
        self.actions[layer_at] = None;
        // The next state is in the place of the state.
        let next_is = |root: &mut ValueId| {
            if *root == found.next {
                *root = found.state;
            }
        };
        self.roots.iter_mut().for_each(next_is);
        self.actions[last] = Some(Action {
            kernel: Kernel::MinGru { layer, width },
            inputs: vec![found.input, found.state],
            output: self.ir.nodes[last].output,
        });
    }

    /// The recurrences that node `last` may be the end of.
    fn matches(&self, last: usize) -> Vec<Match> {
        let mut found = Vec::new();
        for (input, gated) in self.commuted(last, Binary::Add) {
            for (gate, activation) in self.commuted_of(gated, Binary::Mul) {
                let Some((tanh, next)) = self.operand(activation, Unary::Tanh) else {
                    continue;
                };
                let Some((output_gate, gates, OUTPUT_GATE)) = self.sigmoid_of_gate(gate) else {
                    continue;
                };
                for (state, change) in self.commuted_of(next, Binary::Add) {
                    for (update, difference) in self.commuted_of(change, Binary::Mul) {
                        let Some((candidate, subtracted)) = self.difference(difference) else {
                            continue;
                        };
                        let Some((update, update_gates, UPDATE)) = self.sigmoid_of_gate(update)
                        else {
                            continue;
                        };
                        let Some((select, candidate_gates, CANDIDATE)) = self.gate(candidate)
                        else {
                            continue;
                        };
                        if [update_gates, candidate_gates] != [gates; 2] || subtracted != state {
                            continue;
                        }
                        let others = [gated, next, change, difference];
                        let nodes = others.iter().filter_map(|value| self.producer(*value));
                        let mut nodes: Vec<usize> = nodes.chain([tanh, select]).collect();
                        nodes.extend(output_gate.into_iter().chain(update));
                        found.push(Match {
                            nodes,
                            gates,
                            input,
                            state,
                            next,
                        });
                    }
                }
            }
        }
        found
    }

    /// The layer that computes the gates from the input, and the node with its action.
    fn gate_layer(&self, found: &Match) -> Option<(PackedLinear, usize)> {
        let at = self.producer(found.gates)?;
        let action = self.actions[at].as_ref()?;
        let Kernel::Linear {
            layer,
            residual: false,
            relu: false,
        } = &action.kernel
        else {
            return None;
        };
        let [width, outputs] = layer.sizes();
        let len = |value: ValueId| self.ir.values[value].len();
        let is_fit = outputs == 3 * width
            && action.inputs == [found.input]
            && self.ir.values[found.state].shape.last() == Some(&width)
            && len(found.input) == len(found.state)
            && len(found.gates) == 3 * len(found.state);
        is_fit.then(|| (layer.clone(), at))
    }

    /// Whether no other node uses what the kernel does not keep, and the state is updated by `next`.
    fn is_exclusive(&self, found: &Match, last: usize, states: &[State]) -> bool {
        let is_own = |user: &usize| found.nodes.contains(user) || *user == last;
        let are_own = |value: ValueId| self.users[value].iter().all(is_own);
        let inner = found.nodes.iter().map(|node| self.ir.nodes[*node].output);
        let mut hidden = inner
            .filter(|value| *value != found.next)
            .chain([found.gates]);
        let is_hidden = hidden.all(|value| are_own(value) && !self.outputs.contains(&value));
        let has_output = |state: &State| {
            let next = self.ir.outputs[state.next];
            self.ir.inputs[state.input] == found.state && self.roots[next] == found.next
        };
        let next_outputs = self.ir.outputs.iter();
        let is_sole = next_outputs
            .filter(|output| self.roots[**output] == found.next)
            .count()
            == 1;
        is_hidden
            && are_own(found.state)
            && are_own(found.next)
            && !self.outputs.contains(&found.state)
            && states.iter().any(has_output)
            && is_sole
            && found.nodes.iter().all(|node| !self.claimed[*node])
            && !self.claimed[last]
    }

    /// The operands of the operation `op` that node `at` is, in both orders.
    fn commuted(&self, at: usize, op: Binary) -> Vec<(ValueId, ValueId)> {
        match (&self.ir.nodes[at].op, &self.inputs(at)[..]) {
            (Op::Binary(found), [a, b]) if *found == op => vec![(*a, *b), (*b, *a)],
            _ => vec![],
        }
    }

    /// [`Self::commuted`] of the node that computes `value`.
    fn commuted_of(&self, value: ValueId, op: Binary) -> Vec<(ValueId, ValueId)> {
        self.producer(value)
            .map_or(vec![], |at| self.commuted(at, op))
    }

    /// Both operands of the subtraction that computes `value`.
    fn difference(&self, value: ValueId) -> Option<(ValueId, ValueId)> {
        self.commuted_of(value, Binary::Sub).first().copied()
    }

    /// The node and the operand of the operation `op` that computes `value`.
    fn operand(&self, value: ValueId, op: Unary) -> Option<(usize, ValueId)> {
        let at = self.producer(value)?;
        let is_op = matches!(&self.ir.nodes[at].op, Op::Unary(found) if *found == op);
        is_op.then(|| (at, self.inputs(at)[0]))
    }

    /// The nodes, the gates and the row of the gate whose sigmoid is `value`.
    fn sigmoid_of_gate(&self, value: ValueId) -> Option<([usize; 2], ValueId, usize)> {
        let (at, operand) = self.operand(value, Unary::Sigmoid)?;
        let (select, gates, row) = self.gate(operand)?;
        Some(([at, select], gates, row))
    }

    /// The node, the gates and the row of the gate `value`.
    fn gate(&self, value: ValueId) -> Option<(usize, ValueId, usize)> {
        let at = self.producer(value)?;
        let Op::Select(index) = &self.ir.nodes[at].op else {
            return None;
        };
        let width = *self.ir.values[value].shape.last()?;
        let gates = self.inputs(at)[0];
        let row = *index.first()? as usize / width;
        let is_row = index.iter().enumerate().all(|(n, from)| {
            let expected = (n / width * 3 + row) * width + n % width;
            *from as usize == expected
        });
        (is_row && row < 3).then_some((at, gates, row))
    }
}
