//! The operators of ONNX (onnx.ai, "ONNX Operators", versions 13 to 21) that a plan can have.

mod arithmetic;
mod layout;
mod recurrent;

use super::import::Importer;
use super::ir::{Binary, Source, Unary, Value, ValueId};
use super::unsupported::Unsupported;
use crate::engine::onnx::{Attribute, Node};

/// Adds `node` to the graph.
///
/// # Errors
/// [`Unsupported`] for another operator, and for attributes and shapes that are not understood.
pub(super) fn import<'a>(importer: &mut Importer<'a>, node: &Node<'a>) -> Result<(), Unsupported> {
    if !["", "ai.onnx"].contains(&node.domain) {
        return Err(Unsupported::Operator {
            op: format!("{}.{}", node.domain, node.op),
            node: node.name.into(),
        });
    }
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for name in &node.inputs {
        let value = importer.named(name);
        if value.is_none() && !name.is_empty() {
            return Err(Unsupported::Tensor {
                tensor: (*name).into(),
                reason: "no earlier node computes it".into(),
            });
        }
        inputs.push(value);
    }
    let mut call = Call {
        importer,
        node,
        inputs,
    };
    if node.op == "Constant" {
        return call.constant();
    }
    let outputs = match node.op {
        "Identity" => vec![call.identity()?],
        "Cast" => vec![call.cast()?],
        "MatMul" => vec![call.product()?],
        "Gemm" => vec![call.gemm()?],
        "Add" => vec![call.binary(Binary::Add)?],
        "Sub" => vec![call.binary(Binary::Sub)?],
        "Mul" => vec![call.binary(Binary::Mul)?],
        "Div" => vec![call.binary(Binary::Div)?],
        "Max" => vec![call.binary(Binary::Max)?],
        "Min" => vec![call.binary(Binary::Min)?],
        "Relu" => vec![call.unary(Unary::Relu)?],
        "Sigmoid" => vec![call.unary(Unary::Sigmoid)?],
        "Tanh" => vec![call.unary(Unary::Tanh)?],
        "Gather" => vec![call.gather()?],
        "Pad" => vec![call.pad()?],
        "Slice" => vec![call.slice()?],
        "Transpose" => vec![call.transpose()?],
        "Reshape" => vec![call.reshape()?],
        "Flatten" => vec![call.flatten()?],
        "Squeeze" => vec![call.squeeze()?],
        "Unsqueeze" => vec![call.unsqueeze()?],
        "Concat" => vec![call.concat()?],
        "GRU" => call.gru()?,
        _ => {
            return Err(Unsupported::Operator {
                op: node.op.into(),
                node: node.name.into(),
            });
        }
    };
    for (at, name) in node.outputs.iter().enumerate() {
        match outputs.get(at) {
            _ if name.is_empty() => {}
            Some(output) => call.importer.name(name, *output)?,
            None => return call.fail(format!("output {at}")),
        }
    }
    Ok(())
}

/// A node with the values of its inputs.
struct Call<'n, 'a> {
    importer: &'n mut Importer<'a>,
    node: &'n Node<'a>,
    /// `None` for inputs that are left out
    inputs: Vec<Option<ValueId>>,
}

impl Call<'_, '_> {
    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, Unsupported> {
        Err(Unsupported::Detail {
            op: self.node.op.into(),
            node: self.node.name.into(),
            reason: reason.into(),
        })
    }

    /// Checks that the node has from `min` to `max` inputs and no attributes but `attributes`.
    fn expect(&self, [min, max]: [usize; 2], attributes: &[&str]) -> Result<(), Unsupported> {
        let count = self.inputs.len();
        if !(min..=max).contains(&count) || self.inputs[..min].contains(&None) {
            return self.fail(format!("{count} inputs"));
        }
        let mut others = self.node.attributes.iter();
        match others.find(|(name, _)| !attributes.contains(name)) {
            Some((name, _)) => self.fail(format!("attribute {name}")),
            None => Ok(()),
        }
    }

    /// An input that is not left out.
    fn input(&self, at: usize) -> Result<ValueId, Unsupported> {
        match self.inputs.get(at) {
            Some(Some(value)) => Ok(*value),
            _ => self.fail(format!("no input {at}")),
        }
    }

    fn value(&self, at: usize) -> Result<&Value, Unsupported> {
        Ok(self.importer.value(self.input(at)?))
    }

    /// Whether the first axis of `value` is that of the streams.
    fn is_batched(&self, value: ValueId) -> bool {
        self.importer.batched && !self.importer.value(value).is_constant()
    }

    /// The integers of a constant input; `None` for one that is left out.
    fn integers(&self, at: usize) -> Result<Option<Vec<i64>>, Unsupported> {
        if self.inputs.get(at).copied().flatten().is_none() {
            return Ok(None);
        }
        match &self.value(at)?.source {
            Source::I64(numbers) => Ok(Some(numbers.to_vec())),
            _ => self.fail(format!("input {at} is not constant")),
        }
    }

    fn int(&self, name: &str, default: i64) -> Result<i64, Unsupported> {
        match self.node.attribute(name) {
            None => Ok(default),
            Some(Attribute::Int(found)) => Ok(*found),
            Some(found) => self.fail(format!("attribute {name} is {found:?}")),
        }
    }

    fn float(&self, name: &str, default: f32) -> Result<f32, Unsupported> {
        match self.node.attribute(name) {
            None => Ok(default),
            Some(Attribute::Float(found)) => Ok(*found),
            Some(found) => self.fail(format!("attribute {name} is {found:?}")),
        }
    }

    fn text(&self, name: &str, default: &'static str) -> Result<String, Unsupported> {
        match self.node.attribute(name) {
            None => Ok(default.into()),
            Some(Attribute::Text(found)) => Ok((*found).into()),
            Some(found) => self.fail(format!("attribute {name} is {found:?}")),
        }
    }

    /// An axis of `rank` axes; negative numbers count from the end.
    fn axis(&self, axis: i64, rank: usize) -> Result<usize, Unsupported> {
        let from_start = if axis < 0 { axis + rank as i64 } else { axis };
        match usize::try_from(from_start) {
            Ok(found) if found < rank => Ok(found),
            _ => self.fail(format!("axis {axis} of {rank}")),
        }
    }

    /// An axis along which elements of `value` move: not that of the streams.
    fn moved_axis(&self, axis: i64, value: ValueId) -> Result<usize, Unsupported> {
        let axis = self.axis(axis, self.importer.value(value).shape.len())?;
        if axis == 0 && self.is_batched(value) {
            return self.fail("it combines streams");
        }
        Ok(axis)
    }

    fn identity(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([1, 1], &[])?;
        self.input(0)
    }
}

impl<'a> Call<'_, 'a> {
    fn constant(&mut self) -> Result<(), Unsupported> {
        let ([(name, attribute)], [output]) = (&self.node.attributes[..], &self.node.outputs[..])
        else {
            return self.fail("other attributes than its value");
        };
        let output: &'a str = output;
        let (shape, source) = match (*name, attribute) {
            ("value", Attribute::Tensor(tensor)) => {
                return self.importer.add_tensor(output, tensor);
            }
            ("value_float", Attribute::Float(number)) => (vec![], Source::F32([*number].into())),
            ("value_floats", Attribute::Floats(numbers)) => {
                (vec![numbers.len()], Source::F32(numbers[..].into()))
            }
            ("value_int", Attribute::Int(number)) => (vec![], Source::I64([*number].into())),
            ("value_ints", Attribute::Ints(numbers)) => {
                (vec![numbers.len()], Source::I64(numbers[..].into()))
            }
            _ => return self.fail(format!("attribute {name}")),
        };
        let value = self.importer.add(shape, source);
        self.importer.name(output, value)
    }
}
