//! The memory of a stream or of a batch.

use std::sync::Arc;

use super::lower::{Input, InputKind, Plan};
use super::step::{Scratch, Span};

/// The states and the outputs of the latest step of all graphs of a model, for one stream or for the
/// streams that share a step.
pub(crate) struct PlanSession {
    plan: Arc<Plan>,
    rows: usize,
    memory: Vec<f32>,
    scratch: Scratch,
}

impl PlanSession {
    /// A session of `rows` streams, their states at their initial values.
    pub(in crate::engine) fn new(plan: &Arc<Plan>, rows: usize) -> Self {
        let steps = plan.graphs.iter().flat_map(|graph| &graph.steps);
        let mut session = Self {
            rows,
            memory: vec![0.0; plan.len * rows],
            scratch: Scratch::new(steps, rows),
            plan: plan.clone(),
        };
        session.reset();
        session
    }

    /// Row `row` of an input that is filled before [`Self::run`], in the tensor's order.
    pub(in crate::engine) fn input_mut(
        &mut self,
        graph: usize,
        input: usize,
        row: usize,
    ) -> &mut [f32] {
        let span = self.plan.graphs[graph].inputs[input].span;
        &mut self.memory[span.row(row, self.rows)]
    }

    /// Runs one graph for every row.
    ///
    /// # Real-time
    /// No allocation.
    pub(in crate::engine) fn run(&mut self, graph: usize) {
        for step in &self.plan.graphs[graph].steps {
            step.run(&mut self.memory, self.rows, &mut self.scratch);
        }
    }

    /// Row `row` of an output of the latest step.
    pub(in crate::engine) fn output(&self, graph: usize, output: usize, row: usize) -> &[f32] {
        let span = self.plan.graphs[graph].outputs[output];
        &self.memory[span.row(row, self.rows)]
    }

    /// Copies the inputs that are filled from row `row` of another session.
    pub(in crate::engine) fn copy_inputs(&mut self, from: &Self, row: usize) {
        let plan = &*self.plan;
        for input in plan.inputs() {
            if let InputKind::Fed = input.kind {
                let source = &from.memory[input.span.row(row, from.rows)];
                self.memory[input.span.row(0, self.rows)].copy_from_slice(source);
            }
        }
    }

    /// Copies the states of `stream`, a session of one stream, into row `row` of this batch.
    pub(in crate::engine) fn load_states(&mut self, row: usize, stream: &Self) {
        for (span, _) in self.plan.states() {
            let from = &stream.memory[span.row(0, stream.rows)];
            self.memory[span.row(row, self.rows)].copy_from_slice(from);
        }
    }

    /// Copies the states of row `row` of this batch into `stream`, a session of one stream.
    pub(in crate::engine) fn store_states(&self, row: usize, stream: &mut Self) {
        for (span, _) in self.plan.states() {
            let from = &self.memory[span.row(row, self.rows)];
            stream.memory[span.row(0, stream.rows)].copy_from_slice(from);
        }
    }

    /// Sets every state to its initial value.
    pub(in crate::engine) fn reset(&mut self) {
        for (span, initial) in self.plan.states() {
            self.memory[span.range(self.rows)].fill(initial);
        }
    }
}

impl Plan {
    fn inputs(&self) -> impl Iterator<Item = &Input> {
        self.graphs.iter().flat_map(|graph| &graph.inputs)
    }

    /// Places and initial values.
    fn states(&self) -> impl Iterator<Item = (Span, f32)> {
        self.inputs().filter_map(|input| match input.kind {
            InputKind::State { initial } => Some((input.span, initial)),
            InputKind::Fed | InputKind::Intermediate => None,
        })
    }
}

#[cfg(feature = "bench")]
impl PlanSession {
    /// Microseconds of each step of a graph, the minimum over `runs` steps: (time, kernel, number).
    pub(in crate::engine) fn profile(
        &mut self,
        graph: usize,
        runs: u32,
    ) -> Vec<(f64, String, String)> {
        let steps = &self.plan.graphs[graph].steps;
        let mut seconds = vec![f64::INFINITY; steps.len()];
        for _ in 0..runs {
            for (step, min) in steps.iter().zip(&mut seconds) {
                let start = std::time::Instant::now();
                step.run(&mut self.memory, self.rows, &mut self.scratch);
                *min = min.min(start.elapsed().as_secs_f64());
            }
        }
        let timed = steps.iter().zip(seconds).enumerate();
        timed
            .map(|(at, (step, seconds))| {
                (seconds * 1e6, step.name().to_owned(), format!("step {at}"))
            })
            .collect()
    }
}
