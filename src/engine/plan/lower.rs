//! Places of values in memory, and the steps of a plan.

mod memory;

use std::collections::HashMap;

use super::fuse::{Action, Kernel, State, fuse};
use super::import::import;
use super::ir::{Ir, Source, ValueId};
use super::step::{Span, Step};
use super::unsupported::Unsupported;
use crate::engine::linear::Additions;
use crate::manifest::{GraphSpec, Role};
use memory::Memory;

/// All graphs of a model, as steps over one block of memory.
#[derive(Debug, Default)]
pub(in crate::engine) struct Plan {
    pub(super) graphs: Vec<GraphPlan>,
    /// numbers of a row in the memory of a session
    pub(super) len: usize,
    /// numbers in the memory of a stream
    pub(super) stream_len: usize,
}

#[derive(Debug, Default)]
pub(super) struct GraphPlan {
    pub(super) steps: Vec<Step>,
    /// in the manifest's order
    pub(super) inputs: Vec<Input>,
    /// in the manifest's order
    pub(super) outputs: Vec<Place>,
}

/// Where the numbers of an input or of an output are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// in the memory of the session
    Session(Span),
    /// in the memory of each stream: the state of a recurrence, which nothing else uses
    Stream(Span),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub(super) place: Place,
    pub(super) kind: InputKind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum InputKind {
    /// filled before each run
    Fed,
    State {
        initial: f32,
    },
    /// an output of an earlier graph
    Intermediate,
}

impl Plan {
    /// A plan for the files `onnx`, which `specs` describe. `batched`: whether the first axis of all
    /// tensors is that of the streams.
    ///
    /// # Errors
    /// The index of the graph that has no plan, and the reason.
    pub(in crate::engine) fn new(
        onnx: &[&[u8]],
        specs: &[GraphSpec],
        batched: bool,
    ) -> Result<Self, (usize, Unsupported)> {
        let mut plan = Self::default();
        let mut memory = Memory::default();
        let mut stream_memory = Memory::default();
        let mut imported = Vec::with_capacity(onnx.len());
        for (at, (onnx, spec)) in onnx.iter().zip(specs).enumerate() {
            let ir = import(onnx, spec, batched).map_err(|reason| (at, reason))?;
            imported.push(ir);
        }
        // First what lasts: inputs, states and outputs. What lives within a graph comes after it.
        let mut lowerings = Vec::with_capacity(imported.len());
        for (at, (ir, spec)) in imported.iter().zip(specs).enumerate() {
            let states = states(spec);
            let (actions, roots) = fuse(ir, &states).map_err(|reason| (at, reason))?;
            let recurrences = actions.iter().filter_map(Action::recurrence_state);
            let recurrences =
                recurrences.map(|state| (state, stream_memory.place(ir.values[state].len())));
            let mut lowering = Lowering {
                ir,
                roots,
                stream_spans: recurrences.collect(),
                spans: HashMap::new(),
                is_lasting: vec![false; ir.values.len()],
                uses: vec![0; ir.values.len()],
                steps: Vec::new(),
            };
            let graph = lowering.place_lasting(spec, specs, &plan.graphs, &mut memory);
            plan.graphs.push(graph);
            lowerings.push((lowering, actions, states));
        }
        memory.begin_temporary();
        for (graph, (lowering, actions, states)) in plan.graphs.iter_mut().zip(lowerings) {
            lowering.lower(graph, actions, &states, &mut memory);
        }
        plan.len = memory.len();
        plan.stream_len = stream_memory.len();
        Ok(plan)
    }
}

fn states(spec: &GraphSpec) -> Vec<State> {
    let mut states = Vec::new();
    for (input, tensor) in spec.inputs.iter().enumerate() {
        if tensor.role == Role::State {
            let mut outputs = spec.outputs.iter();
            let next = outputs.position(|output| output.source.as_ref() == Some(&tensor.name));
            let next = next.expect("a checked manifest has an output for each state");
            states.push(State { input, next });
        }
    }
    states
}

/// A graph whose values get places.
struct Lowering<'a> {
    ir: &'a Ir<'a>,
    /// [values] the value with the same elements
    roots: Vec<ValueId>,
    /// of the states of recurrences, in the memory of a stream
    stream_spans: HashMap<ValueId, Span>,
    /// of all other roots, in the memory of the session
    spans: HashMap<ValueId, Span>,
    /// [values] whether a root keeps its place
    is_lasting: Vec<bool>,
    /// [values] actions to come that use a root
    uses: Vec<usize>,
    steps: Vec<Step>,
}

impl Lowering<'_> {
    /// Places the inputs, the states and the outputs.
    fn place_lasting(
        &mut self,
        spec: &GraphSpec,
        specs: &[GraphSpec],
        earlier: &[GraphPlan],
        memory: &mut Memory,
    ) -> GraphPlan {
        let mut graph = GraphPlan::default();
        for (tensor, value) in spec.inputs.iter().zip(&self.ir.inputs) {
            let len = self.ir.values[*value].len();
            let (place, kind) = match tensor.role {
                Role::Intermediate => {
                    let name = tensor.source.as_ref().unwrap_or(&tensor.name);
                    let found = specs.iter().zip(earlier).find_map(|(spec, graph)| {
                        let mut outputs = spec.outputs.iter();
                        let at = outputs
                            .position(|t| t.role == Role::Intermediate && t.name == *name)?;
                        Some(graph.outputs[at])
                    });
                    let found = found
                        .expect("a checked manifest has an output for each intermediate input");
                    (found, InputKind::Intermediate)
                }
                Role::State => {
                    let initial = tensor.initial;
                    let initial = initial.expect("a checked manifest has an initial value");
                    let place = match self.stream_spans.get(value) {
                        Some(span) => Place::Stream(*span),
                        None => Place::Session(memory.place(len)),
                    };
                    (place, InputKind::State { initial })
                }
                _ => (Place::Session(memory.place(len)), InputKind::Fed),
            };
            if let Place::Session(span) = place {
                self.spans.insert(*value, span);
            }
            self.is_lasting[*value] = true;
            graph.inputs.push(Input { place, kind });
        }
        for value in &self.ir.outputs {
            let root = self.roots[*value];
            let len = self.ir.values[root].len();
            let place = match self.stream_spans.get(&root) {
                Some(span) => Place::Stream(*span),
                None => {
                    let span = self.spans.entry(root).or_insert_with(|| memory.place(len));
                    Place::Session(*span)
                }
            };
            self.is_lasting[root] = true;
            graph.outputs.push(place);
        }
        graph
    }

    /// Writes the steps of the graph.
    fn lower(
        mut self,
        graph: &mut GraphPlan,
        actions: Vec<Action>,
        states: &[State],
        memory: &mut Memory,
    ) {
        for action in &actions {
            for input in &action.inputs {
                self.uses[*input] += 1;
            }
        }
        for action in actions {
            for input in &action.inputs {
                self.uses[*input] -= 1;
            }
            let inputs = action.inputs.clone();
            self.lower_action(action, memory);
            for input in inputs {
                let is_done = self.uses[input] == 0 && !self.is_lasting[input];
                if let Some(span) = is_done.then(|| self.spans.remove(&input)).flatten() {
                    memory.free(span);
                }
            }
        }
        // The next states, as far as no kernel has put them in their places. First those that are
        // themselves the state before this hop of another state.
        let mut copies = Vec::new();
        for state in states {
            let (from, to) = (self.ir.outputs[state.next], self.ir.inputs[state.input]);
            let root = self.roots[from];
            if root == to {
                // A recurrence has updated it, or it never changes.
                continue;
            }
            let to_span = self.spans[&to];
            let is_state = states
                .iter()
                .any(|other| self.ir.inputs[other.input] == root);
            let mut from_span = self.spans[&root];
            if is_state {
                let copy = memory.place(from_span.len);
                self.steps.push(Step::Copy {
                    from: from_span,
                    to: copy,
                });
                graph.outputs[state.next] = Place::Session(copy);
                from_span = copy;
            }
            copies.push(Step::Copy {
                from: from_span,
                to: to_span,
            });
        }
        self.steps.append(&mut copies);
        graph.steps = self.steps;
    }

    fn lower_action(&mut self, action: Action, memory: &mut Memory) {
        let Action {
            kernel,
            inputs,
            output,
        } = action;
        let step = match kernel {
            Kernel::Linear {
                layer,
                residual,
                relu,
            } => {
                let to = if residual {
                    self.place_over(inputs[1], &[inputs[0]], output, memory)
                } else {
                    self.place(output, memory)
                };
                Step::Linear {
                    layer,
                    additions: Additions { residual, relu },
                    from: self.spans[&inputs[0]],
                    to,
                }
            }
            Kernel::MinGru { layer, width } => Step::MinGru {
                layer,
                width,
                state: self.stream_spans[&inputs[1]],
                at: self.place_over(inputs[0], &[inputs[1]], output, memory),
            },
            Kernel::Unary(op) => Step::Unary {
                op,
                at: self.place_over(inputs[0], &[], output, memory),
            },
            Kernel::Binary(op) => {
                let [a, b] = [inputs[0], inputs[1]];
                // Over the operand that nothing else uses, if there is one.
                let is_free = |value: ValueId| self.is_last_use(value);
                let swapped = self.is_constant(a) || (!is_free(a) && is_free(b));
                let (over, other) = if swapped { (b, a) } else { (a, b) };
                let at = self.place_over(over, &[other], output, memory);
                match self.ir.values[other].constant() {
                    Some(numbers) => Step::BinaryConstant {
                        op,
                        swapped,
                        at,
                        numbers,
                    },
                    None => Step::Binary {
                        op,
                        swapped,
                        at,
                        other: self.spans[&other],
                    },
                }
            }
            Kernel::Select(index) => Step::Select {
                from: self.spans[&inputs[0]],
                to: self.place(output, memory),
                index,
            },
            Kernel::Interleave { blocks } => {
                let to = self.place(output, memory);
                let stride = blocks.iter().sum();
                let mut at = 0;
                for (input, block) in inputs.iter().zip(&blocks) {
                    let from = self.spans[input];
                    self.steps.push(Step::Blocks {
                        from,
                        to,
                        block: *block,
                        stride,
                        at,
                    });
                    at += block;
                }
                return;
            }
            Kernel::Gru(gru) => {
                let from = self.spans[&inputs[0]];
                let mut initial = inputs.get(1).map(|value| self.spans[value]);
                if initial == Some(from) {
                    let to = memory.place(from.len);
                    self.steps.push(Step::Copy { from, to });
                    initial = Some(to);
                }
                Step::Gru {
                    gru,
                    from,
                    initial,
                    to: self.place(output, memory),
                }
            }
        };
        self.steps.push(step);
    }

    fn is_constant(&self, value: ValueId) -> bool {
        matches!(self.ir.values[value].source, Source::F32(_))
    }

    /// Whether nothing uses `value` after the present action.
    fn is_last_use(&self, value: ValueId) -> bool {
        self.uses[value] == 0 && !self.is_lasting[value] && !self.is_constant(value)
    }

    fn place(&mut self, output: ValueId, memory: &mut Memory) -> Span {
        let len = self.ir.values[output].len();
        *self
            .spans
            .entry(output)
            .or_insert_with(|| memory.place(len))
    }

    /// The place of an output that a kernel computes from what is there: the elements of `over`, which
    /// are moved or copied there. `others`: the other inputs of the kernel.
    fn place_over(
        &mut self,
        over: ValueId,
        others: &[ValueId],
        output: ValueId,
        memory: &mut Memory,
    ) -> Span {
        let can_move = self.is_last_use(over) && !others.contains(&over);
        if can_move && !self.spans.contains_key(&output) {
            let span = self.spans.remove(&over).expect("inputs have places");
            self.spans.insert(output, span);
            return span;
        }
        let to = self.place(output, memory);
        self.steps.push(match self.ir.values[over].constant() {
            Some(numbers) => Step::Set { numbers, to },
            None => Step::Copy {
                from: self.spans[&over],
                to,
            },
        });
        to
    }
}
