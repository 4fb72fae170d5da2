//! The engine: the only file that names tract.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike as _;
use tract_onnx::tract_hir::infer::{DimFact, Factoid as _};

use super::spec::{Axis, GraphSpec, Role, TensorSpec};
use crate::Error;

/// An optimised graph for one batch size, checked against its manifest.
pub(crate) struct Graph {
    plan: Arc<TypedSimplePlan>,
    layout: Arc<Layout>,
}

/// Where the manifest's tensors are among the graph's inputs and outputs.
struct Layout {
    inputs: Vec<Input>,
    outputs: usize,
    gain: usize,
    taps: Option<usize>,
    vad: Option<usize>,
    /// [batch, features]
    features_shape: [usize; 2],
}

enum Input {
    Features,
    State {
        /// shared by all sessions; the engine never writes to what others hold
        initial: TValue,
        /// the output that takes its place on the next step
        next: usize,
    },
}

impl Graph {
    /// Loads `onnx` for `batch` streams a step.
    ///
    /// # Errors
    /// [`Error::Engine`] for bytes that are no ONNX graph or one that tract cannot run,
    /// [`Error::Tensor`] for a tensor that is not what the manifest says.
    pub(crate) fn load(onnx: &[u8], spec: &GraphSpec, batch: usize) -> Result<Self, Error> {
        let mut model = tract_onnx::onnx()
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
        for (index, tensor) in spec.inputs.iter().enumerate() {
            let shape = concrete(tensor, batch);
            model
                .set_input_fact(index, f32::fact(shape).into())
                .map_err(engine)?;
        }
        let model = model.into_typed().map_err(engine)?;
        for (tensor, outlet) in spec.outputs.iter().zip(model.outputs.clone()) {
            let fact = model.outlet_fact(outlet).map_err(engine)?;
            let shape = fact.shape.as_concrete().map(<[usize]>::to_vec);
            if fact.datum_type != f32::datum_type() || shape != Some(concrete(tensor, batch)) {
                let found = format!("{:?} {:?}", fact.shape, fact.datum_type);
                return Err(mismatch(tensor, format!("{found} with N = {batch}")));
            }
        }
        let plan = model
            .into_optimized()
            .and_then(|m| m.into_runnable())
            .map_err(engine)?;
        Ok(Self {
            plan,
            layout: Arc::new(Layout::new(spec, batch)?),
        })
    }

    /// A stream's own side of the graph: its states, at their initial values.
    pub(crate) fn session(&self) -> Result<Session, Error> {
        let state = self.plan.spawn().map_err(engine)?;
        let tensor = Tensor::zero::<f32>(&self.layout.features_shape).map_err(engine)?;
        let mut session = Session {
            state,
            layout: self.layout.clone(),
            features: vec![0.0; self.layout.features_shape.iter().product()],
            tensor: Arc::new(tensor),
            outputs: std::iter::repeat_n(Tensor::default().into_tvalue(), self.layout.outputs)
                .collect(),
        };
        session.reset();
        Ok(session)
    }
}

impl Layout {
    fn new(spec: &GraphSpec, batch: usize) -> Result<Self, Error> {
        let place = |role: Role| spec.outputs.iter().position(|t| t.role == role);
        let mut features_shape = [batch, 0];
        let mut inputs = Vec::with_capacity(spec.inputs.len());
        for tensor in &spec.inputs {
            inputs.push(if tensor.role == Role::State {
                let start = tensor
                    .initial
                    .expect("a checked manifest starts every state");
                let mut initial = Tensor::zero::<f32>(&concrete(tensor, batch)).map_err(engine)?;
                initial.fill_t(start).map_err(engine)?;
                let next = spec
                    .outputs
                    .iter()
                    .position(|t| t.of.as_ref() == Some(&tensor.name));
                Input::State {
                    initial: initial.into_tvalue(),
                    next: next.expect("a checked manifest gives every state an output"),
                }
            } else {
                features_shape[1] = tensor.sizes()[0];
                Input::Features
            });
        }
        Ok(Self {
            inputs,
            outputs: spec.outputs.len(),
            gain: place(Role::Gain).expect("a checked manifest has a gain"),
            taps: place(Role::Taps),
            vad: place(Role::Vad),
            features_shape,
        })
    }
}

/// One stream's states and the outputs of its latest step.
pub(crate) struct Session {
    state: TypedSimpleState,
    layout: Arc<Layout>,
    /// [batch, features]
    features: Vec<f32>,
    /// the same, as the engine takes it
    tensor: Arc<Tensor>,
    /// in the manifest's order; states among them go in again on the next step
    outputs: TVec<TValue>,
}

impl Session {
    /// The features of the next step, to be filled before [`Self::run`]: [batch, features].
    pub(crate) fn features_mut(&mut self) -> &mut [f32] {
        &mut self.features
    }

    /// One step of every stream of the batch.
    ///
    /// # Real-time
    /// The engine allocates its output tensors here; our own side does not.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        // Nobody else holds the tensor between steps, so it is not copied.
        let tensor = Arc::make_mut(&mut self.tensor);
        let mut view = tensor.try_as_plain_ram_mut().expect("made in main memory");
        view.as_slice_mut()
            .expect("made as f32")
            .copy_from_slice(&self.features);
        let inputs: TVec<TValue> = self
            .layout
            .inputs
            .iter()
            .map(|input| match input {
                Input::Features => self.tensor.clone().into_tvalue(),
                Input::State { next, .. } => self.outputs[*next].clone(),
            })
            .collect();
        match self.state.run(inputs) {
            Ok(outputs) => {
                self.outputs = outputs;
                Ok(())
            }
            Err(error) => {
                self.state.reset_turn().map_err(engine)?;
                Err(engine(error))
            }
        }
    }

    /// [batch, bands]
    pub(crate) fn gain(&self) -> &[f32] {
        self.output(self.layout.gain)
    }

    /// [batch, order, 2, bins]; empty without taps
    pub(crate) fn taps(&self) -> &[f32] {
        self.layout.taps.map_or(&[], |at| self.output(at))
    }

    /// [batch]; empty when the model does not tell
    pub(crate) fn vad(&self) -> &[f32] {
        self.layout.vad.map_or(&[], |at| self.output(at))
    }

    fn output(&self, at: usize) -> &[f32] {
        let view = self.outputs[at]
            .try_as_plain_ram()
            .expect("the CPU engine's tensors are plain");
        view.as_slice::<f32>()
            .expect("the output facts were checked to be f32")
    }

    /// Puts every state back to its initial value.
    ///
    /// # Real-time
    /// No allocation.
    pub(crate) fn reset(&mut self) {
        for input in &self.layout.inputs {
            if let Input::State { initial, next } = input {
                self.outputs[*next] = initial.clone();
            }
        }
    }
}

fn concrete(tensor: &TensorSpec, batch: usize) -> Vec<usize> {
    std::iter::once(batch).chain(tensor.sizes()).collect()
}

fn engine(error: impl std::fmt::Display + std::fmt::Debug) -> Error {
    // `{:#}` prints the chain of causes on one line.
    Error::Engine(format!("{error:#}"))
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
