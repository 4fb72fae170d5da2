//! The operators of ONNX (onnx.ai, "ONNX Operators", versions 13 to 21) that a plan can have.

mod arithmetic;
mod layout;
mod recurrent;

use super::import::Importer;
use super::ir::{Binary, Numbers, Source, Unary, Value, ValueId};
use super::unsupported::Unsupported;
use crate::engine::onnx::{Attribute, Node};

/// Largest number of elements of a value: a plan has their indices as 32-bit numbers, and a small file must
/// not become a plan that fills the memory.
const MAX_ELEMENTS: usize = 1 << 22;

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
    for output in &outputs {
        call.check_len(&call.importer.value(*output).shape)?;
    }
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

impl<'a> Call<'_, 'a> {
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

    /// Checks the number of elements of a value that the node computes.
    fn check_len(&self, shape: &[usize]) -> Result<(), Unsupported> {
        let len = shape
            .iter()
            .try_fold(1, |len: usize, size| len.checked_mul(*size));
        match len {
            Some(..=MAX_ELEMENTS) => Ok(()),
            _ => self.fail(format!("more than {MAX_ELEMENTS} elements, {shape:?}")),
        }
    }

    /// An input that is not left out.
    fn input(&self, at: usize) -> Result<ValueId, Unsupported> {
        match self.inputs.get(at) {
            Some(Some(value)) => Ok(*value),
            _ => self.fail(format!("no input {at}")),
        }
    }

    fn value(&self, at: usize) -> Result<&Value<'a>, Unsupported> {
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
            ("value_float", Attribute::Float(number)) => {
                (vec![], Source::F32(Numbers::F32([*number].into())))
            }
            ("value_floats", Attribute::Floats(numbers)) => (
                vec![numbers.len()],
                Source::F32(Numbers::F32(numbers[..].into())),
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of the output of `op` for x [1, 4, 3] and constants, or the reason why it is refused.
    fn shape(
        op: &str,
        inputs: &[&str],
        attributes: Vec<(&str, Attribute<'_>)>,
        batched: bool,
    ) -> Result<Vec<usize>, String> {
        let mut importer = Importer::new(batched);
        let mut add = |name, shape: &[usize], source| {
            let value = importer.add(shape.to_vec(), source);
            importer.name(name, value).unwrap();
        };
        let ints = |numbers: &[i64]| Source::I64(numbers.into());
        let floats = |len: usize| Source::F32(Numbers::F32(vec![1.0; len].into()));
        add("x", &[1, 4, 3], Source::Input);
        add("y", &[1, 4, 3], Source::Input);
        add("0", &[1], ints(&[0]));
        add("1", &[1], ints(&[1]));
        add("-1,12", &[2], ints(&[-1, 12]));
        add("1,12", &[2], ints(&[1, 12]));
        add("1,-1", &[2], ints(&[1, -1]));
        add("4,3", &[2], ints(&[4, 3]));
        add("pads", &[6], ints(&[1, 0, 0, 0, 0, 0]));
        add("many", &[6], ints(&[0, 1 << 20, 0, 0, 1 << 20, 0]));
        add("most", &[6], ints(&[0, i64::MAX, 0, 0, i64::MAX, 0]));
        add("row", &[3], floats(3));
        add("two", &[2, 4, 3], floats(24));
        add("four axes", &[1, 1, 4, 3], floats(12));
        let node = Node {
            op,
            inputs: inputs.to_vec(),
            outputs: vec!["out"],
            attributes,
            ..Node::default()
        };
        import(&mut importer, &node).map_err(|reason| reason.to_string())?;
        let out = importer.named("out").unwrap();
        Ok(importer.value(out).shape.clone())
    }

    #[test]
    fn an_operator_that_combines_streams_is_refused() {
        let axis = |at| vec![("axis", Attribute::Int(at))];
        let perm = |axes: [i64; 3]| vec![("perm", Attribute::Ints(axes.to_vec()))];
        // Alone all are allowed.
        for batched in [false, true] {
            for (op, inputs, attributes) in [
                ("Transpose", &["x"][..], perm([1, 0, 2])),
                ("Reshape", &["x", "1,12"], vec![]),
                ("Reshape", &["x", "1,-1"], vec![]),
                ("Gather", &["x", "0"], axis(0)),
                ("Concat", &["x", "y"], axis(0)),
                ("Slice", &["x", "0", "1", "0"], vec![]),
                ("Squeeze", &["x", "0"], vec![]),
                ("Unsqueeze", &["x", "0"], vec![]),
                ("Pad", &["x", "pads"], vec![]),
                ("Add", &["x", "two"], vec![]),
                ("Mul", &["four axes", "x"], vec![]),
            ] {
                let found = shape(op, inputs, attributes, batched);
                assert_eq!(found.is_err(), batched, "{op} {inputs:?}: {found:?}");
            }
        }
        for (op, inputs, attributes, expected) in [
            ("Transpose", &["x"][..], perm([0, 2, 1]), &[1, 3, 4][..]),
            ("Reshape", &["x", "-1,12"], vec![], &[1, 12]),
            ("Gather", &["x", "0"], axis(1), &[1, 1, 3]),
            ("Concat", &["x", "y"], axis(-1), &[1, 4, 6]),
            ("Add", &["x", "row"], vec![], &[1, 4, 3]),
        ] {
            let batched = shape(op, inputs, attributes, true);
            assert_eq!(batched.as_deref(), Ok(expected), "{op} {inputs:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (op, inputs, attributes) in [
            ("Conv", &["x", "row"][..], vec![]),
            ("Add", &["x", "row"], vec![("axis", Attribute::Int(1))]),
            ("Add", &["x"], vec![]),
            ("Add", &["x", "4,3"], vec![]),
            ("Gather", &["x", "x"], vec![]),
            ("Gather", &["x", "1"], vec![("axis", Attribute::Int(3))]),
            ("Reshape", &["x", "4,3", "0"], vec![]),
            ("MatMul", &["x", "y"], vec![]),
            ("Relu", &["row"], vec![]),
            ("Cast", &["x"], vec![("to", Attribute::Int(10))]),
            ("Pad", &["x", "pads", "row"], vec![]),
            ("Pad", &["x", "many"], vec![]),
            ("Pad", &["x", "most"], vec![]),
            ("Sigmoid", &["unknown"], vec![]),
        ] {
            let found = shape(op, inputs, attributes, false);
            assert!(found.is_err(), "{op} {inputs:?}: {found:?}");
        }
    }
}
