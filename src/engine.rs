//! The engine: with the files below it the only one that names tract.

mod kernels;
mod unroll;
mod whole_signal;

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike as _;
use tract_onnx::tract_hir::infer::{DimFact, Factoid as _};

use crate::error::Error;
use crate::manifest::{Axis, BATCH, GraphSpec, HOPS, Role, TensorSpec};

pub(crate) use whole_signal::whole_signal_difference;

/// An optimized graph for one hop of one stream or, where its tensors have the axis "N", of any
/// number of streams, checked against its manifest.
pub(crate) struct Graph {
    plan: Arc<TypedSimplePlan>,
    /// in the manifest's order, then the states that the export hid
    inputs: Arc<[Input]>,
    outputs: usize,
}

enum Input {
    /// filled by the flow before each run
    Fed {
        /// of one stream
        shape: Vec<usize>,
    },
    State {
        /// of one stream, shared by all sessions; the engine never writes to what others hold
        initial: TValue,
        /// the output that takes its place on the next step
        next: usize,
    },
    /// an output of an earlier graph
    Link { graph: usize, output: usize },
}

impl Graph {
    /// Loads `onnx`, one of `graphs`; for any number of streams a step, or for one.
    ///
    /// # Errors
    /// [`Error::Engine`] for bytes that are no ONNX graph or one that tract cannot run,
    /// [`Error::Tensor`] for a tensor that is not what the manifest says.
    pub(crate) fn load(
        onnx: &[u8],
        spec: &GraphSpec,
        graphs: &[GraphSpec],
        batched: bool,
    ) -> Result<Self, Error> {
        Self::build(onnx, spec, graphs, batched, kernels::replace)
    }

    /// `replace`: what takes the place of the engine's own operations.
    fn build(
        onnx: &[u8],
        spec: &GraphSpec,
        graphs: &[GraphSpec],
        batched: bool,
        replace: fn(TypedModel) -> TractResult<TypedModel>,
    ) -> Result<Self, Error> {
        let (model, hops, streams) = parse(onnx, spec, batched)?;
        let (model, hidden) = unroll::expose_states(model, &hops)?;
        if hidden.len() != spec.hidden_states {
            return Err(Error::Manifest {
                field: format!("graph {}, hidden_states", spec.file),
                expected: format!("{}, as many as the graph hides", hidden.len()),
                found: spec.hidden_states.to_string(),
            });
        }
        let one = TDim::Val(1);
        let sizes = HashMap::from([(hops, one.clone())]);
        let model = model.set_symbols(&sizes).map_err(engine)?;
        for (tensor, outlet) in spec.outputs.iter().zip(model.outputs.clone()) {
            let fact = model.outlet_fact(outlet).map_err(engine)?;
            let expected = dims(tensor, &one, &streams);
            if fact.datum_type != f32::datum_type() || fact.shape.dims() != expected {
                let found = format!("{:?} {:?}", fact.shape, fact.datum_type);
                return Err(mismatch(
                    tensor,
                    format!("{found} with N = {streams}, S = 1"),
                ));
            }
        }
        let mut inputs = Vec::with_capacity(spec.inputs.len() + hidden.len());
        for tensor in &spec.inputs {
            inputs.push(Input::new(tensor, spec, graphs)?);
        }
        for (at, initial) in hidden.into_iter().enumerate() {
            let next = spec.outputs.len() + at;
            inputs.push(Input::State { initial, next });
        }
        let plan = model
            .into_decluttered()
            .and_then(replace)
            .and_then(|m| m.into_optimized())
            .and_then(|m| m.into_runnable())
            .map_err(engine)?;
        Ok(Self {
            outputs: plan.model().outputs.len(),
            plan,
            inputs: inputs.into(),
        })
    }
}

impl Input {
    fn new(tensor: &TensorSpec, spec: &GraphSpec, graphs: &[GraphSpec]) -> Result<Self, Error> {
        let shape = tensor.stream_shape();
        Ok(match tensor.role {
            Role::State => {
                let start = tensor
                    .initial
                    .expect("a checked manifest starts every state");
                let mut initial = Tensor::zero::<f32>(&shape).map_err(engine)?;
                initial.fill_t(start).map_err(engine)?;
                let next = spec
                    .outputs
                    .iter()
                    .position(|t| t.source.as_ref() == Some(&tensor.name));
                Self::State {
                    initial: initial.into_tvalue(),
                    next: next.expect("a checked manifest gives every state an output"),
                }
            }
            Role::Intermediate => {
                let name = tensor.source.as_ref().unwrap_or(&tensor.name);
                let found = graphs.iter().enumerate().find_map(|(graph, spec)| {
                    let mut outputs = spec.outputs.iter();
                    let output =
                        outputs.position(|t| t.role == Role::Intermediate && t.name == *name)?;
                    Some(Self::Link { graph, output })
                });
                found.expect("a checked manifest ends every link")
            }
            _ => Self::Fed { shape },
        })
    }
}

/// A graph failed on a hop.
#[derive(Debug)]
pub(crate) struct InferenceFailed;

/// Why a graph failed. Formatted only when a caller asks, outside the audio path.
enum Failure {
    Error(TractError),
    Panic(Box<dyn Any + Send>),
}

/// States and the outputs of the latest step, of all graphs of a model: of one stream, or of the
/// streams that share a step.
pub(crate) struct Session {
    runs: Vec<Run>,
    rows: usize,
    failure: Option<Failure>,
    /// stands where a value was taken from
    nothing: TValue,
}

struct Run {
    state: TypedSimpleState,
    inputs: Arc<[Input]>,
    /// [inputs] those that are written before each run: by the flow, and in a shared step the
    /// states
    fed: Vec<Option<Arc<Tensor>>>,
    /// in the manifest's order; states among them go in again on the next step
    outputs: TVec<TValue>,
}

impl Run {
    /// What the next step takes in, after the graphs `before` this one.
    fn gather(&self, before: &[Self]) -> TVec<TValue> {
        let values = self.inputs.iter().zip(&self.fed);
        values
            .map(|(input, fed)| match (input, fed) {
                (_, Some(fed)) => fed.clone().into_tvalue(),
                (Input::State { next, .. }, _) => self.outputs[*next].clone(),
                (Input::Link { graph, output }, _) => before[*graph].outputs[*output].clone(),
                (Input::Fed { .. }, None) => unreachable!("made in `with_rows`"),
            })
            .collect()
    }
}

impl Session {
    /// A stream's own side of the graphs: their states, at their initial values.
    pub(crate) fn new(graphs: &[Graph]) -> Result<Self, Error> {
        Self::with_rows(graphs, 1, false)
    }

    /// A step that `rows` streams share; each brings its states and takes them back.
    pub(crate) fn batched(graphs: &[Graph], rows: usize) -> Result<Self, Error> {
        Self::with_rows(graphs, rows, true)
    }

    fn with_rows(graphs: &[Graph], rows: usize, feeds_states: bool) -> Result<Self, Error> {
        let mut runs = Vec::with_capacity(graphs.len());
        let nothing = Tensor::default().into_tvalue();
        for graph in graphs {
            let mut fed = Vec::with_capacity(graph.inputs.len());
            let mut outputs: TVec<TValue> =
                std::iter::repeat_n(nothing.clone(), graph.outputs).collect();
            for input in &*graph.inputs {
                let zeros = |shape: &[usize]| {
                    let mut shape = shape.to_vec();
                    if rows > 1 {
                        shape[0] = rows;
                    }
                    Tensor::zero::<f32>(&shape).map(Arc::new).map_err(engine)
                };
                fed.push(match input {
                    Input::Fed { shape } => Some(zeros(shape)?),
                    Input::State { initial, .. } if feeds_states => Some(zeros(initial.shape())?),
                    Input::State { initial, next } => {
                        // A copy of its own, for a shared step writes into it.
                        outputs[*next] = (**initial).clone().into_tvalue();
                        None
                    }
                    Input::Link { .. } => None,
                });
            }
            runs.push(Run {
                state: graph.plan.spawn().map_err(engine)?,
                inputs: graph.inputs.clone(),
                fed,
                outputs,
            });
        }
        Ok(Self {
            runs,
            rows,
            failure: None,
            nothing,
        })
    }

    /// The numbers of an input that one stream fills before [`Self::run`], in the tensor's order.
    pub(crate) fn input_mut(&mut self, graph: usize, input: usize, row: usize) -> &mut [f32] {
        let rows = self.rows;
        let tensor = self.runs[graph].fed[input]
            .as_mut()
            .expect("only inputs that the flow fills are asked for");
        // Nobody else holds the tensor between steps, so it is not copied.
        row_mut(numbers_mut(Arc::make_mut(tensor)), row, rows)
    }

    /// Runs one graph for every row.
    ///
    /// # Errors
    /// [`InferenceFailed`] when the engine fails or panics; [`Self::last_failure`] has its reason.
    ///
    /// # Real-time
    /// The engine allocates its output tensors here. This function allocates only on a failure.
    pub(crate) fn run(&mut self, graph: usize) -> Result<(), InferenceFailed> {
        let (before, rest) = self.runs.split_at_mut(graph);
        let run = &mut rest[0];
        // After a panic the engine's state is replaced, so nothing of it is observed.
        let result = catch_unwind(AssertUnwindSafe(|| run.state.run(run.gather(before))));
        let failure = match result {
            Ok(Ok(outputs)) => {
                run.outputs = outputs;
                return Ok(());
            }
            Ok(Err(error)) => Failure::Error(error),
            Err(panic) => Failure::Panic(panic),
        };
        match run.state.plan().spawn() {
            Ok(state) => run.state = state,
            Err(error) => {
                self.failure = Some(Failure::Error(error));
                return Err(InferenceFailed);
            }
        }
        self.failure = Some(failure);
        Err(InferenceFailed)
    }

    /// The engine's reason for the latest failure.
    pub(crate) fn last_failure(&self) -> Option<String> {
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
    pub(crate) fn copy_inputs(&mut self, from: &Self, row: usize) {
        for (run, source) in self.runs.iter_mut().zip(&from.runs) {
            for (input, (to, source)) in run.inputs.iter().zip(run.fed.iter_mut().zip(&source.fed))
            {
                if let (Input::Fed { .. }, Some(to), Some(source)) = (input, to, source) {
                    let source = numbers(source);
                    let len = source.len() / from.rows;
                    numbers_mut(Arc::make_mut(to)).copy_from_slice(&source[row * len..][..len]);
                }
            }
        }
    }

    /// The numbers of an output of the latest step that belong to one stream.
    pub(crate) fn output(&self, graph: usize, output: usize, row: usize) -> &[f32] {
        let numbers = numbers(&self.runs[graph].outputs[output]);
        let len = numbers.len() / self.rows;
        &numbers[row * len..][..len]
    }

    /// Brings the states of `stream`, a session of its own, into a shared step.
    pub(crate) fn load_states(&mut self, row: usize, stream: &Self) {
        let rows = self.rows;
        for (run, stream) in self.runs.iter_mut().zip(&stream.runs) {
            for (input, fed) in run.inputs.iter().zip(&mut run.fed) {
                if let (Input::State { next, .. }, Some(fed)) = (input, fed) {
                    let to = row_mut(numbers_mut(Arc::make_mut(fed)), row, rows);
                    to.copy_from_slice(numbers(&stream.outputs[*next]));
                }
            }
        }
    }

    /// Takes the states of `stream` out of a shared step.
    ///
    /// # Real-time
    /// Allocates when the stream's latest step was one of its own.
    pub(crate) fn store_states(&self, row: usize, stream: &mut Self) {
        for (graph, (run, stream)) in self.runs.iter().zip(&mut stream.runs).enumerate() {
            for input in &*run.inputs {
                if let Input::State { next, .. } = input {
                    let state = self.output(graph, *next, row);
                    write(&mut stream.outputs[*next], state, &self.nothing);
                }
            }
        }
    }

    /// Puts every state back to its initial value.
    ///
    /// # Real-time
    /// No allocation.
    pub(crate) fn reset(&mut self) {
        for run in &mut self.runs {
            for input in &*run.inputs {
                if let Input::State { initial, next } = input {
                    let state = &mut run.outputs[*next];
                    if state.is_exclusive() {
                        write(state, numbers(initial), &self.nothing);
                    } else {
                        // The engine holds it still: what all sessions share takes its place.
                        *state = initial.clone();
                    }
                }
            }
        }
    }
}

fn row_mut(numbers: &mut [f32], row: usize, rows: usize) -> &mut [f32] {
    let len = numbers.len() / rows;
    &mut numbers[row * len..][..len]
}

fn numbers(tensor: &Tensor) -> &[f32] {
    let view = tensor.try_as_plain_ram();
    view.expect("the CPU engine's tensors are plain")
        .as_slice::<f32>()
        .expect("the facts were checked to be f32")
}

fn numbers_mut(tensor: &mut Tensor) -> &mut [f32] {
    let view = tensor.to_plain_array_view_mut::<f32>();
    let slice = view.expect("made as f32 in main memory").into_slice();
    slice.expect("made without gaps")
}

/// Writes a state's numbers, in place if nobody else holds them.
fn write(state: &mut TValue, numbers: &[f32], nothing: &TValue) {
    // A value gives its tensor up for writing only when it is given up itself.
    let mut tensor = std::mem::replace(state, nothing.clone()).into_arc_tensor();
    let mut plain = Arc::make_mut(&mut tensor)
        .try_as_plain_ram_mut()
        .expect("the CPU engine's tensors are plain");
    let to = plain.as_slice_mut::<f32>();
    to.expect("the facts were checked to be f32")
        .copy_from_slice(numbers);
    *state = tensor.into_tvalue();
}

/// A graph with its inputs and outputs in the manifest's order, the symbol of its axis of hops, and
/// the size of its axis of streams: one, or a symbol too.
fn parse(
    onnx: &[u8],
    spec: &GraphSpec,
    batched: bool,
) -> Result<(TypedModel, Symbol, TDim), Error> {
    let mut model = tract_onnx::onnx()
        // Declared shapes may contradict each other in exports of whole signals; what counts
        // is what the operations give, and it is checked below.
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true)
        .model_for_read(&mut &*onnx)
        .map_err(engine)?;
    check_inputs(&model, spec)?;
    check_output_names(&model, spec)?;
    model
        .set_input_names(spec.inputs.iter().map(|t| &t.name))
        .map_err(engine)?;
    let order: TVec<OutletId> = spec
        .outputs
        .iter()
        .filter_map(|t| find_output(&model, &t.name))
        .collect();
    model.select_output_outlets(&order).map_err(engine)?;
    let hops = model.symbols.sym(HOPS);
    let streams = if batched {
        model.symbols.sym(BATCH).into()
    } else {
        TDim::Val(1)
    };
    for (index, tensor) in spec.inputs.iter().enumerate() {
        let shape = dims(tensor, &hops.clone().into(), &streams);
        model
            .set_input_fact(index, f32::fact(shape).into())
            .map_err(engine)?;
    }
    Ok((model.into_typed().map_err(engine)?, hops, streams))
}

#[cfg(feature = "bench")]
impl Session {
    /// Microseconds of each operation of a graph, the least of `runs` steps: [operation, node].
    pub(crate) fn profile(&mut self, graph: usize, runs: u32) -> Vec<(f64, String, String)> {
        let (before, rest) = self.runs.split_at_mut(graph);
        let run = &mut rest[0];
        let inputs = run.gather(before);
        let mut seconds = vec![f64::INFINITY; run.state.model().nodes.len()];
        for _ in 0..runs {
            let timed = run
                .state
                .run_plan_with_eval(inputs.clone(), |ctx, state, node, input| {
                    let start = std::time::Instant::now();
                    let result = tract_onnx::tract_core::plan::eval(ctx, state, node, input);
                    let least = &mut seconds[node.id];
                    *least = least.min(start.elapsed().as_secs_f64());
                    result
                });
            timed.expect("the model ran before");
        }
        let nodes = run.state.model().nodes.iter().zip(seconds);
        nodes
            .filter(|(_, seconds)| seconds.is_finite())
            .map(|(node, seconds)| {
                (
                    seconds * 1e6,
                    node.op.name().into_owned(),
                    node.name.clone(),
                )
            })
            .collect()
    }
}

fn dims(tensor: &TensorSpec, hops: &TDim, streams: &TDim) -> Vec<TDim> {
    let dim = |axis: &Axis| match axis {
        Axis::Size(size) => size.into(),
        Axis::Symbol(name) if name == HOPS => hops.clone(),
        Axis::Symbol(_) => streams.clone(),
    };
    tensor.shape.iter().map(dim).collect()
}

fn engine(error: impl std::fmt::Display + std::fmt::Debug) -> Error {
    // `{:#}` prints the chain of causes on one line.
    Error::Engine {
        reason: format!("{error:#}"),
    }
}

fn mismatch(tensor: &TensorSpec, found: String) -> Error {
    let axis = |axis: &Axis| match axis {
        Axis::Size(size) => size.to_string(),
        Axis::Symbol(name) => name.clone(),
    };
    let shape: Vec<String> = tensor.shape.iter().map(axis).collect();
    Error::Tensor {
        tensor: tensor.name.clone(),
        expected: format!("[{}] f32", shape.join(", ")),
        found,
    }
}

/// Every input by name, type and declared size; none that the manifest does not know.
fn check_inputs(model: &InferenceModel, spec: &GraphSpec) -> Result<(), Error> {
    let outlets = model.input_outlets().map_err(engine)?;
    let name = |outlet: &OutletId| model.node(outlet.node).name.clone();
    for tensor in &spec.inputs {
        let Some(outlet) = outlets.iter().find(|o| name(o) == tensor.name) else {
            return Err(mismatch(
                tensor,
                format!("inputs {:?}", outlets.iter().map(name).collect::<Vec<_>>()),
            ));
        };
        let fact = model.outlet_fact(*outlet).map_err(engine)?;
        let dims: Vec<&DimFact> = fact.shape.dims().collect();
        let size_fits = |(axis, dim): (&Axis, &&DimFact)| match (axis, dim.concretize()) {
            (Axis::Size(size), Some(dim)) => dim.to_usize().map_or(true, |dim: usize| dim == *size),
            (Axis::Symbol(_), Some(dim)) => dim.to_usize().is_err(),
            (_, None) => true,
        };
        let typed = fact
            .datum_type
            .concretize()
            .is_none_or(|t| t == f32::datum_type());
        if !typed
            || dims.len() != tensor.shape.len()
            || !tensor.shape.iter().zip(&dims).all(size_fits)
        {
            return Err(mismatch(
                tensor,
                format!("{:?} {:?}", fact.shape, fact.datum_type),
            ));
        }
    }
    match outlets
        .iter()
        .find(|o| spec.inputs.iter().all(|t| t.name != name(o)))
    {
        Some(outlet) => Err(Error::Tensor {
            tensor: name(outlet),
            expected: "no such input".into(),
            found: "an input of this name".into(),
        }),
        None => Ok(()),
    }
}

fn find_output(model: &InferenceModel, name: &str) -> Option<OutletId> {
    model
        .outputs
        .iter()
        .copied()
        .find(|outlet| output_name(model, *outlet) == name)
}

fn output_name(model: &InferenceModel, outlet: OutletId) -> String {
    let label = model.outlet_label(outlet).map(str::to_owned);
    label.unwrap_or_else(|| model.node(outlet.node).name.clone())
}

fn check_output_names(model: &InferenceModel, spec: &GraphSpec) -> Result<(), Error> {
    let names: Vec<String> = model
        .outputs
        .iter()
        .map(|o| output_name(model, *o))
        .collect();
    if let Some(tensor) = spec.outputs.iter().find(|t| !names.contains(&t.name)) {
        return Err(mismatch(tensor, format!("outputs {names:?}")));
    }
    match names
        .into_iter()
        .find(|name| spec.outputs.iter().all(|t| t.name != *name))
    {
        Some(tensor) => Err(Error::Tensor {
            tensor,
            expected: "no such output".into(),
            found: "an output of this name".into(),
        }),
        None => Ok(()),
    }
}
