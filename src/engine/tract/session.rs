//! The states of a stream or of a batch, and the runs of its graphs.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::*;

use super::graph::{Graph, Input};
use crate::engine::fault::{InferenceFailed, engine_error};
use crate::error::Error;

/// The cause of a failure. Formatted only when a caller requests it, outside the audio path.
enum Failure {
    Error(TractError),
    Panic(Box<dyn Any + Send>),
}

/// The states and the outputs of the latest step of all graphs of a model, for one stream or for
/// the streams that share a step.
pub(crate) struct TractSession {
    graphs: Vec<GraphState>,
    /// streams that share a step
    rows: usize,
    failure: Option<Failure>,
    /// stands in for a value that was moved out
    placeholder: TValue,
}

/// One graph of a session.
struct GraphState {
    plan_state: TypedSimpleState,
    inputs: Arc<[Input]>,
    /// [inputs] the tensors that are written before each run: those of the pipeline and, in a
    /// shared step, the states
    input_buffers: Vec<Option<Arc<Tensor>>>,
    /// in the manifest's order, then the hidden states; states are inputs of the next step
    outputs: TVec<TValue>,
}

impl GraphState {
    /// The inputs of the next step. `earlier`: the graphs before this one.
    fn inputs(&self, earlier: &[Self]) -> TVec<TValue> {
        let values = self.inputs.iter().zip(&self.input_buffers);
        values
            .map(|(input, buffer)| match (input, buffer) {
                (_, Some(buffer)) => buffer.clone().into_tvalue(),
                (Input::State { next, .. }, _) => self.outputs[*next].clone(),
                (Input::Intermediate { graph, output }, _) => {
                    earlier[*graph].outputs[*output].clone()
                }
                (Input::Fed { .. }, None) => unreachable!("made in `with_rows`"),
            })
            .collect()
    }
}

impl TractSession {
    /// A session of one stream, its states at their initial values.
    ///
    /// # Errors
    /// [`Error::Engine`] when tract cannot set up its side.
    pub(in crate::engine) fn new(graphs: &[Graph]) -> Result<Self, Error> {
        Self::with_rows(graphs, 1, false)
    }

    /// A session for steps that `rows` streams share. [`Self::load_states`] and
    /// [`Self::store_states`] move the states of each stream.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(in crate::engine) fn batched(graphs: &[Graph], rows: usize) -> Result<Self, Error> {
        Self::with_rows(graphs, rows, true)
    }

    fn with_rows(graphs: &[Graph], rows: usize, buffers_states: bool) -> Result<Self, Error> {
        let placeholder = Tensor::default().into_tvalue();
        let zeros = |shape: &[usize]| {
            let mut shape = shape.to_vec();
            if rows > 1 {
                shape[0] = rows;
            }
            let zeros = Tensor::zero::<f32>(&shape);
            zeros.map(Arc::new).map_err(engine_error)
        };
        let mut states = Vec::with_capacity(graphs.len());
        for graph in graphs {
            let mut input_buffers = Vec::with_capacity(graph.inputs.len());
            let mut outputs: TVec<TValue> =
                std::iter::repeat_n(placeholder.clone(), graph.outputs).collect();
            for input in &*graph.inputs {
                input_buffers.push(match input {
                    Input::Fed { shape } => Some(zeros(shape)?),
                    Input::State { initial, .. } if buffers_states => Some(zeros(initial.shape())?),
                    Input::State { initial, next } => {
                        // A copy: `store_states` writes into it.
                        outputs[*next] = (**initial).clone().into_tvalue();
                        None
                    }
                    Input::Intermediate { .. } => None,
                });
            }
            states.push(GraphState {
                plan_state: graph.plan.spawn().map_err(engine_error)?,
                inputs: graph.inputs.clone(),
                input_buffers,
                outputs,
            });
        }
        Ok(Self {
            graphs: states,
            rows,
            failure: None,
            placeholder,
        })
    }

    /// Row `row` of an input that the pipeline fills before [`Self::run`], in the tensor's order.
    pub(in crate::engine) fn input_mut(
        &mut self,
        graph: usize,
        input: usize,
        row: usize,
    ) -> &mut [f32] {
        let rows = self.rows;
        let tensor = self.graphs[graph].input_buffers[input]
            .as_mut()
            .expect("the pipeline fills only the inputs that it has to fill");
        // Between steps the tensor has no other owner, so `make_mut` copies nothing.
        row_mut(as_f32_mut(Arc::make_mut(tensor)), row, rows)
    }

    /// Runs one graph for every row.
    ///
    /// # Errors
    /// [`InferenceFailed`] when tract fails or panics. [`Self::last_failure`] gives the reason.
    ///
    /// # Real-time
    /// Tract allocates its tensors here. This function itself allocates only on a failure.
    pub(in crate::engine) fn run(&mut self, graph: usize) -> Result<(), InferenceFailed> {
        let (earlier, rest) = self.graphs.split_at_mut(graph);
        let current = &mut rest[0];
        // After a panic tract's state is replaced, so no broken state is used.
        let result = catch_unwind(AssertUnwindSafe(|| {
            current.plan_state.run(current.inputs(earlier))
        }));
        let failure = match result {
            Ok(Ok(outputs)) => {
                current.outputs = outputs;
                return Ok(());
            }
            Ok(Err(error)) => Failure::Error(error),
            Err(panic) => Failure::Panic(panic),
        };
        self.failure = Some(match current.plan_state.plan().spawn() {
            Ok(plan_state) => {
                current.plan_state = plan_state;
                failure
            }
            Err(error) => Failure::Error(error),
        });
        Err(InferenceFailed)
    }

    /// The reason for the latest failure, on one line.
    pub(in crate::engine) fn last_failure(&self) -> Option<String> {
        match self.failure.as_ref()? {
            // `{:#}` prints the chain of causes on one line.
            Failure::Error(error) => Some(format!("{error:#}")),
            Failure::Panic(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                Some(format!(
                    "the engine panicked: {}",
                    text.unwrap_or("no reason given")
                ))
            }
        }
    }

    /// Copies the inputs that the pipeline fills from row `row` of another session.
    pub(in crate::engine) fn copy_inputs(&mut self, from: &Self, row: usize) {
        for (to, from_graph) in self.graphs.iter_mut().zip(&from.graphs) {
            let buffers = to.input_buffers.iter_mut().zip(&from_graph.input_buffers);
            for (input, (to, source)) in to.inputs.iter().zip(buffers) {
                if let (Input::Fed { .. }, Some(to), Some(source)) = (input, to, source) {
                    let source = row_of(as_f32(source), row, from.rows);
                    as_f32_mut(Arc::make_mut(to)).copy_from_slice(source);
                }
            }
        }
    }

    /// Row `row` of an output of the latest step.
    pub(in crate::engine) fn output(&self, graph: usize, output: usize, row: usize) -> &[f32] {
        row_of(as_f32(&self.graphs[graph].outputs[output]), row, self.rows)
    }

    /// Copies the states of `stream`, a session of one stream, into row `row` of this batch.
    pub(in crate::engine) fn load_states(&mut self, row: usize, stream: &Self) {
        let rows = self.rows;
        for (to, from) in self.graphs.iter_mut().zip(&stream.graphs) {
            for (input, buffer) in to.inputs.iter().zip(&mut to.input_buffers) {
                if let (Input::State { next, .. }, Some(buffer)) = (input, buffer) {
                    let to = row_mut(as_f32_mut(Arc::make_mut(buffer)), row, rows);
                    to.copy_from_slice(as_f32(&from.outputs[*next]));
                }
            }
        }
    }

    /// Copies the states of row `row` of this batch into `stream`, a session of one stream.
    ///
    /// # Real-time
    /// Allocates when `stream` itself ran the latest step.
    pub(in crate::engine) fn store_states(&self, row: usize, stream: &mut Self) {
        for (graph, (from, to)) in self.graphs.iter().zip(&mut stream.graphs).enumerate() {
            for input in &*from.inputs {
                if let Input::State { next, .. } = input {
                    let state = self.output(graph, *next, row);
                    write(&mut to.outputs[*next], state, &self.placeholder);
                }
            }
        }
    }

    /// Sets every state to its initial value.
    ///
    /// # Real-time
    /// No allocation.
    pub(in crate::engine) fn reset(&mut self) {
        for graph in &mut self.graphs {
            for input in &*graph.inputs {
                if let Input::State { initial, next } = input {
                    let state = &mut graph.outputs[*next];
                    if state.is_exclusive() {
                        write(state, as_f32(initial), &self.placeholder);
                    } else {
                        // Tract still holds this tensor. Use the one that all sessions share.
                        *state = initial.clone();
                    }
                }
            }
        }
    }
}

#[cfg(feature = "bench")]
impl TractSession {
    /// Microseconds of each operation of a graph, the minimum over `runs` steps: (time, operation,
    /// node).
    pub(in crate::engine) fn profile(
        &mut self,
        graph: usize,
        runs: u32,
    ) -> Vec<(f64, String, String)> {
        let (earlier, rest) = self.graphs.split_at_mut(graph);
        let current = &mut rest[0];
        let inputs = current.inputs(earlier);
        let mut seconds = vec![f64::INFINITY; current.plan_state.model().nodes.len()];
        for _ in 0..runs {
            let timed =
                current
                    .plan_state
                    .run_plan_with_eval(inputs.clone(), |ctx, state, node, input| {
                        let start = std::time::Instant::now();
                        let result = tract_onnx::tract_core::plan::eval(ctx, state, node, input);
                        let min = &mut seconds[node.id];
                        *min = min.min(start.elapsed().as_secs_f64());
                        result
                    });
            timed.expect("the model ran before");
        }
        let nodes = current.plan_state.model().nodes.iter().zip(seconds);
        nodes
            .filter(|(_, seconds)| seconds.is_finite())
            .map(|(node, seconds)| {
                let op = node.op.name().into_owned();
                (seconds * 1e6, op, node.name.clone())
            })
            .collect()
    }
}

fn row_of(values: &[f32], row: usize, rows: usize) -> &[f32] {
    let len = values.len() / rows;
    &values[row * len..][..len]
}

fn row_mut(values: &mut [f32], row: usize, rows: usize) -> &mut [f32] {
    let len = values.len() / rows;
    &mut values[row * len..][..len]
}

fn as_f32(tensor: &Tensor) -> &[f32] {
    let view = tensor.try_as_plain_ram();
    view.expect("the CPU engine's tensors are plain")
        .as_slice::<f32>()
        .expect("the facts were checked to be f32")
}

fn as_f32_mut(tensor: &mut Tensor) -> &mut [f32] {
    let view = tensor.to_plain_array_view_mut::<f32>();
    let slice = view.expect("made as f32 in main memory").into_slice();
    slice.expect("made without gaps")
}

/// Writes the values of a state, in place if its tensor has no other owner.
fn write(state: &mut TValue, values: &[f32], placeholder: &TValue) {
    // Only an owned value gives mutable access to its tensor.
    let mut tensor = std::mem::replace(state, placeholder.clone()).into_arc_tensor();
    let mut plain = Arc::make_mut(&mut tensor)
        .try_as_plain_ram_mut()
        .expect("the CPU engine's tensors are plain");
    let to = plain.as_slice_mut::<f32>();
    to.expect("the facts were checked to be f32")
        .copy_from_slice(values);
    *state = tensor.into_tvalue();
}
