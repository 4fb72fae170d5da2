//! Reads an ONNX graph.

use std::collections::HashMap;
use std::sync::Arc;

use super::ir::{Ir, Node, Numbers, Op, Source, Value, ValueId, ZERO};
use super::operators;
use super::unsupported::Unsupported;
use crate::engine::onnx::{self, Element, OnnxGraph, ValueInfo};
use crate::manifest::{Axis, GraphSpec, HOPS, TensorSpec};

/// Reads `onnx`, which `spec` describes. `batched`: whether the first axis of all tensors is that of the
/// streams.
///
/// # Errors
/// [`Unsupported`] for everything that this reader does not fully understand.
pub(super) fn import<'a>(
    onnx: &'a [u8],
    spec: &'a GraphSpec,
    batched: bool,
) -> Result<Ir<'a>, Unsupported> {
    let hops = Axis::Symbol(HOPS.into());
    let mut tensors = spec.inputs.iter().chain(&spec.outputs);
    if spec.hidden_states > 0 || tensors.any(|tensor| tensor.shape.contains(&hops)) {
        return Err(Unsupported::SignalExport);
    }
    let graph = OnnxGraph::parse(onnx)?;
    if !(13..=21).contains(&graph.opset) {
        return Err(Unsupported::Opset { found: graph.opset });
    }
    let mut importer = Importer::new(batched);
    let node_inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
    for name in node_inputs.chain(graph.outputs.iter().map(|output| &output.name)) {
        *importer.uses.entry(name).or_default() += 1;
    }
    for tensor in &graph.initializers {
        importer.add_tensor(tensor.name, tensor)?;
    }
    let names = &importer.names;
    let mut inputs = graph.inputs.iter().map(|input| input.name);
    let is_known =
        |name: &str| names.contains_key(name) || spec.inputs.iter().any(|input| input.name == name);
    if let Some(name) = inputs.find(|name| !is_known(name)) {
        return Err(tensor_error(
            name,
            "it is an input that the manifest has not",
        ));
    }
    for tensor in &spec.inputs {
        check_declared(tensor, &graph.inputs)?;
        let input = importer.add(tensor.stream_shape(), Source::Input);
        importer.name(&tensor.name, input)?;
        importer.ir.inputs.push(input);
    }
    for node in &graph.nodes {
        operators::import(&mut importer, node)?;
    }
    let outputs = &graph.outputs;
    if let Some(output) = outputs
        .iter()
        .find(|output| spec.outputs.iter().all(|tensor| tensor.name != output.name))
    {
        let reason = "it is an output that the manifest has not";
        return Err(tensor_error(output.name, reason));
    }
    for tensor in &spec.outputs {
        let is_output = outputs.iter().any(|output| output.name == tensor.name);
        let found = importer.names.get(tensor.name.as_str()).copied();
        let (Some(output), true) = (found, is_output) else {
            return Err(tensor_error(&tensor.name, "it is no output of the graph"));
        };
        let value = &importer.ir.values[output];
        if value.is_constant() || value.shape != tensor.stream_shape() {
            let reason = format!("it has the shape {:?}", value.shape);
            return Err(tensor_error(&tensor.name, &reason));
        }
        importer.ir.outputs.push(output);
    }
    Ok(importer.ir)
}

fn tensor_error(tensor: &str, reason: &str) -> Unsupported {
    Unsupported::Tensor {
        tensor: tensor.into(),
        reason: reason.into(),
    }
}

/// Checks the input that the graph declares for `tensor`.
fn check_declared(tensor: &TensorSpec, inputs: &[ValueInfo<'_>]) -> Result<(), Unsupported> {
    let Some(declared) = inputs.iter().find(|input| input.name == tensor.name) else {
        return Err(tensor_error(&tensor.name, "it is no input of the graph"));
    };
    let fits = |(axis, dim): (&Axis, &Option<usize>)| match (axis, dim) {
        (Axis::Size(size), Some(dim)) => size == dim,
        (Axis::Symbol(_), Some(_)) => false,
        (_, None) => true,
    };
    let is_f32 = declared.element.is_none_or(|e| e == Element::F32);
    let has_shape = declared.dims.as_ref().is_none_or(|dims| {
        dims.len() == tensor.shape.len() && tensor.shape.iter().zip(dims).all(fits)
    });
    if is_f32 && has_shape {
        return Ok(());
    }
    let reason = format!("it is {:?} {:?}", declared.element, declared.dims);
    Err(tensor_error(&tensor.name, &reason))
}

/// A graph that is being read.
pub(super) struct Importer<'a> {
    pub(super) ir: Ir<'a>,
    names: HashMap<&'a str, ValueId>,
    /// how often nodes and outputs use each name
    uses: HashMap<&'a str, usize>,
    /// [values] number of names
    name_counts: Vec<usize>,
    /// whether the first axis of values is that of the streams
    pub(super) batched: bool,
}

impl<'a> Importer<'a> {
    pub(super) fn new(batched: bool) -> Self {
        Self {
            ir: Ir::default(),
            names: HashMap::new(),
            uses: HashMap::new(),
            name_counts: Vec::new(),
            batched,
        }
    }

    pub(super) fn value(&self, id: ValueId) -> &Value<'a> {
        &self.ir.values[id]
    }

    pub(super) fn named(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    pub(super) fn name(&mut self, name: &'a str, value: ValueId) -> Result<(), Unsupported> {
        self.name_counts[value] += 1;
        match self.names.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(tensor_error(name, "the name occurs twice")),
        }
    }

    pub(super) fn add(&mut self, shape: Vec<usize>, source: Source<'a>) -> ValueId {
        self.ir.values.push(Value { shape, source });
        self.name_counts.push(0);
        self.ir.values.len() - 1
    }

    /// Adds a node and its output.
    pub(super) fn add_node(
        &mut self,
        op: Op<'a>,
        inputs: &[ValueId],
        shape: Vec<usize>,
    ) -> ValueId {
        let output = self.add(shape, Source::Node(self.ir.nodes.len()));
        self.ir.nodes.push(Node {
            op,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    /// The numbers of a constant that a node uses under the name `name`: moved there if nothing else uses
    /// them, as copies of all weights take most of the time to load a model.
    pub(super) fn take_numbers(&mut self, name: &str, value: ValueId) -> Option<Arc<[f32]>> {
        let is_only_use = self.uses.get(name) == Some(&1) && self.name_counts[value] == 1;
        let (Source::F32(numbers) | Source::Narrow(numbers)) = &mut self.ir.values[value].source
        else {
            return None;
        };
        match numbers {
            Numbers::F32(numbers) if is_only_use => Some(std::mem::take(numbers)),
            numbers => Some(numbers.to_f32()),
        }
    }

    /// Adds a constant.
    pub(super) fn add_tensor(
        &mut self,
        name: &'a str,
        tensor: &onnx::Tensor<'a>,
    ) -> Result<(), Unsupported> {
        let source = match tensor.element {
            Element::I64 | Element::I32 => tensor.to_i64().map(|n| Source::I64(n.into())),
            Element::F32 => tensor.to_f32().map(|n| Source::F32(n.into())),
            _ => match tensor.i8_bytes() {
                Some(integers) => {
                    let scales = None;
                    Some(Source::Narrow(Numbers::Int8 { integers, scales }))
                }
                None => tensor.to_f32().map(|n| Source::Narrow(n.into())),
            },
        };
        let Some(source) = source else {
            let reason = format!("a constant of type {:?}", tensor.element);
            return Err(tensor_error(name, &reason));
        };
        // The kernels hide NaN: integers have none, and the approximations have bounds.
        if let Source::F32(Numbers::F32(numbers)) | Source::Narrow(Numbers::F32(numbers)) = &source
            && numbers
                .iter()
                .fold(false, |any, number| any | number.is_nan())
        {
            return Err(Unsupported::NonFinite);
        }
        let value = self.add(tensor.dims.clone(), source);
        self.name(name, value)
    }

    /// The elements of `value` at `index`, in `shape`: a constant or a node.
    pub(super) fn select(&mut self, value: ValueId, index: Vec<u32>, shape: Vec<usize>) -> ValueId {
        fn pick<T: Copy + Default>(from: &[T], index: &[u32]) -> Arc<[T]> {
            let at = |at: &u32| match *at {
                ZERO => T::default(),
                at => from[at as usize],
            };
            index.iter().map(at).collect()
        }
        match &self.value(value).source {
            Source::Input | Source::Node(_) => {
                let is_identity = index.len() == self.value(value).len()
                    && index.iter().enumerate().all(|(n, at)| n as u32 == *at);
                let op = if is_identity {
                    Op::Reshape
                } else {
                    Op::Select(index.into())
                };
                self.add_node(op, &[value], shape)
            }
            Source::F32(numbers) => {
                let source = Source::F32(pick(&numbers.to_f32(), &index).into());
                self.add(shape, source)
            }
            Source::Narrow(numbers) => {
                let source = Source::Narrow(pick(&numbers.to_f32(), &index).into());
                self.add(shape, source)
            }
            Source::I64(numbers) => {
                let source = Source::I64(pick(numbers, &index));
                self.add(shape, source)
            }
        }
    }

    /// The elements of `value` in another shape.
    pub(super) fn reshape(&mut self, value: ValueId, shape: Vec<usize>) -> ValueId {
        match &self.value(value).source {
            Source::Input | Source::Node(_) => self.add_node(Op::Reshape, &[value], shape),
            source => {
                let source = source.clone();
                self.add(shape, source)
            }
        }
    }
}
