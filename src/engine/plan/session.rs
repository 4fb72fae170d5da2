//! The memory of a stream or of a batch.

use std::sync::Arc;

use super::lower::{Input, InputKind, Place, Plan};
use super::step::Scratch;

/// The states and the outputs of the latest step of all graphs of a model, for one stream or for the
/// streams that share a step.
pub(crate) struct PlanSession {
    plan: Arc<Plan>,
    numbers: Numbers,
    scratch: Scratch,
}

struct Numbers {
    /// [values, rows]
    session: Vec<f32>,
    /// [rows] memory of each stream: the states of recurrences. While a stream takes part in a step of a batch,
    /// the batch has it.
    streams: Vec<Box<[f32]>>,
}

impl Numbers {
    fn row(&self, place: Place, row: usize) -> &[f32] {
        match place {
            Place::Session(span) => &self.session[span.row(row, self.streams.len())],
            Place::Stream(span) => &self.streams[row][span.range(1)],
        }
    }

    fn row_mut(&mut self, place: Place, row: usize) -> &mut [f32] {
        match place {
            Place::Session(span) => &mut self.session[span.row(row, self.streams.len())],
            Place::Stream(span) => &mut self.streams[row][span.range(1)],
        }
    }
}

impl PlanSession {
    /// A session of `rows` streams, their states at their initial values.
    pub(in crate::engine) fn new(plan: &Arc<Plan>, rows: usize) -> Self {
        let steps = plan.graphs.iter().flat_map(|graph| &graph.steps);
        let mut session = Self {
            numbers: Numbers {
                session: vec![0.0; plan.len * rows],
                streams: vec![vec![0.0; plan.stream_len].into(); rows],
            },
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
        let place = self.plan.graphs[graph].inputs[input].place;
        self.numbers.row_mut(place, row)
    }

    /// Runs one graph for every row.
    ///
    /// # Real-time
    /// No allocation.
    pub(in crate::engine) fn run(&mut self, graph: usize) {
        for step in &self.plan.graphs[graph].steps {
            let Numbers { session, streams } = &mut self.numbers;
            step.run(session, streams, &mut self.scratch);
        }
    }

    /// Row `row` of an output of the latest step.
    pub(in crate::engine) fn output(&self, graph: usize, output: usize, row: usize) -> &[f32] {
        self.numbers
            .row(self.plan.graphs[graph].outputs[output], row)
    }

    /// Copies the inputs that are filled from row `row` of another session.
    pub(in crate::engine) fn copy_inputs(&mut self, from: &Self, row: usize) {
        for input in self.plan.inputs() {
            if let InputKind::Fed = input.kind {
                let source = from.numbers.row(input.place, row);
                self.numbers.row_mut(input.place, 0).copy_from_slice(source);
            }
        }
    }

    /// Moves the states of `stream`, a session of one stream, into row `row` of this batch, until
    /// [`Self::store_states`].
    pub(in crate::engine) fn load_states(&mut self, row: usize, stream: &mut Self) {
        move_states(
            &self.plan,
            (&mut stream.numbers, 0),
            (&mut self.numbers, row),
        );
    }

    /// Moves the states of row `row` of this batch back into `stream`, a session of one stream.
    pub(in crate::engine) fn store_states(&mut self, row: usize, stream: &mut Self) {
        move_states(
            &self.plan,
            (&mut self.numbers, row),
            (&mut stream.numbers, 0),
        );
    }

    /// Sets every state to its initial value.
    pub(in crate::engine) fn reset(&mut self) {
        for (place, initial) in self.plan.states() {
            for row in 0..self.numbers.streams.len() {
                self.numbers.row_mut(place, row).fill(initial);
            }
        }
    }
}

/// Moves the states of a row to a row of another session: those of recurrences with their memory.
fn move_states(
    plan: &Plan,
    (from, from_row): (&mut Numbers, usize),
    (to, to_row): (&mut Numbers, usize),
) {
    std::mem::swap(&mut from.streams[from_row], &mut to.streams[to_row]);
    for (place, _) in plan.states() {
        if let Place::Session(_) = place {
            to.row_mut(place, to_row)
                .copy_from_slice(from.row(place, from_row));
        }
    }
}

impl Plan {
    fn inputs(&self) -> impl Iterator<Item = &Input> {
        self.graphs.iter().flat_map(|graph| &graph.inputs)
    }

    /// Places and initial values.
    fn states(&self) -> impl Iterator<Item = (Place, f32)> {
        self.inputs().filter_map(|input| match input.kind {
            InputKind::State { initial } => Some((input.place, initial)),
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
                let Numbers { session, streams } = &mut self.numbers;
                step.run(session, streams, &mut self.scratch);
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
