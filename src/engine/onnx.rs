//! Reads ONNX files (onnx.proto of ONNX 1.16): the nodes, weights, inputs and outputs of a graph. Names
//! and weights stay in the bytes of the file.

mod tensor;
mod wire;

pub(super) use tensor::{Element, Tensor};
pub(super) use wire::WireError;

use wire::Fields;

/// A reason why a file cannot be read as ONNX.
#[derive(Debug, thiserror::Error)]
pub(super) enum OnnxError {
    #[error("expected an ONNX file: {0}")]
    Wire(#[from] WireError),
    #[error("expected a graph, found a file without one")]
    NoGraph,
    #[error("expected a number from 0 in {field}, found {found}")]
    Negative { field: &'static str, found: i64 },
    #[error("tensor {tensor}: expected {expected} bytes for its shape and type, found {found}")]
    Length {
        tensor: String,
        expected: usize,
        found: usize,
    },
    #[error("tensor {tensor}: expected weights in the file, found {found}")]
    Tensor { tensor: String, found: String },
}

/// A graph.
#[derive(Debug, Default)]
pub(super) struct OnnxGraph<'a> {
    /// version of the standard operators
    pub(super) opset: i64,
    /// in the order of evaluation
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) initializers: Vec<Tensor<'a>>,
    /// initializers possibly included
    pub(super) inputs: Vec<ValueInfo<'a>>,
    pub(super) outputs: Vec<ValueInfo<'a>>,
}

/// An input or output.
#[derive(Debug, Default)]
pub(super) struct ValueInfo<'a> {
    pub(super) name: &'a str,
    /// where it is declared
    pub(super) element: Option<Element>,
    /// where they are declared; a size that is symbolic or unknown is `None`
    pub(super) dims: Option<Vec<Option<usize>>>,
}

/// An operation. Inputs that are left out have an empty name.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) op: &'a str,
    /// empty for standard operators
    pub(super) domain: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) attributes: Vec<(&'a str, Attribute<'a>)>,
}

#[derive(Debug)]
pub(super) enum Attribute<'a> {
    Float(f32),
    Int(i64),
    Text(&'a str),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Tensor(Tensor<'a>),
    /// graphs, sparse tensors, types and lists of text
    Other,
}

impl<'a> OnnxGraph<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`OnnxError`] for bytes that are no such file. A file with weights in other files is one.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, OnnxError> {
        let (mut graph, mut opset) = (None, 1);
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                7 => graph = Some(Self::parse_graph(field.bytes()?)?),
                8 => {
                    let (domain, version) = parse_opset(field.bytes()?)?;
                    if domain.is_empty() || domain == "ai.onnx" {
                        opset = version;
                    }
                }
                _ => {}
            }
        }
        let graph = graph.ok_or(OnnxError::NoGraph)?;
        Ok(Self { opset, ..graph })
    }

    fn parse_graph(bytes: &'a [u8]) -> Result<Self, OnnxError> {
        let mut graph = Self::default();
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => graph.nodes.push(Node::parse(field.bytes()?)?),
                5 => graph.initializers.push(Tensor::parse(field.bytes()?)?),
                11 => graph.inputs.push(ValueInfo::parse(field.bytes()?)?),
                12 => graph.outputs.push(ValueInfo::parse(field.bytes()?)?),
                15 => {
                    return Err(OnnxError::Tensor {
                        tensor: "of the graph".into(),
                        found: "sparse weights".into(),
                    });
                }
                _ => {}
            }
        }
        Ok(graph)
    }
}

impl<'a> Node<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, OnnxError> {
        let mut node = Self::default();
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => node.inputs.push(field.text()?),
                2 => node.outputs.push(field.text()?),
                3 => node.name = field.text()?,
                4 => node.op = field.text()?,
                5 => node.attributes.push(Attribute::parse(field.bytes()?)?),
                7 => node.domain = field.text()?,
                _ => {}
            }
        }
        Ok(node)
    }

    /// The attribute `name`.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        let mut all = self.attributes.iter();
        all.find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

impl<'a> Attribute<'a> {
    fn parse(bytes: &'a [u8]) -> Result<(&'a str, Self), OnnxError> {
        let (mut name, mut kind) = ("", None);
        let (mut float, mut int, mut text, mut tensor) = (0.0, 0, "", None);
        let (mut floats, mut ints) = (Vec::new(), Vec::new());
        let mut found = Self::Other;
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => name = field.text()?,
                2 => float = field.float()?,
                3 => int = field.int()?,
                4 => text = field.text()?,
                5 => tensor = Some(Tensor::parse(field.bytes()?)?),
                7 => field.floats(&mut floats)?,
                8 => field.ints(&mut ints)?,
                20 => kind = Some(field.int()?),
                _ => {}
            }
        }
        match (kind, tensor) {
            (Some(1), _) => found = Self::Float(float),
            (Some(2), _) => found = Self::Int(int),
            (Some(3), _) => found = Self::Text(text),
            (Some(4), Some(tensor)) => found = Self::Tensor(tensor),
            (Some(6), _) => found = Self::Floats(floats),
            (Some(7), _) => found = Self::Ints(ints),
            _ => {}
        }
        Ok((name, found))
    }
}

fn parse_opset(bytes: &[u8]) -> Result<(&str, i64), OnnxError> {
    let (mut domain, mut version) = ("", 0);
    for field in Fields::new(bytes) {
        let field = field?;
        match field.number {
            1 => domain = field.text()?,
            2 => version = field.int()?,
            _ => {}
        }
    }
    Ok((domain, version))
}

impl<'a> ValueInfo<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, OnnxError> {
        let mut value = Self::default();
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => value.name = field.text()?,
                2 => value.parse_type(field.bytes()?)?,
                _ => {}
            }
        }
        Ok(value)
    }

    fn parse_type(&mut self, bytes: &'a [u8]) -> Result<(), OnnxError> {
        // Another type than that of a tensor is a field of another number.
        self.element = Some(Element::Other(0));
        for tensor in Fields::new(bytes) {
            let tensor = tensor?;
            if tensor.number != 1 {
                continue;
            }
            for field in Fields::new(tensor.bytes()?) {
                let field = field?;
                match field.number {
                    1 => self.element = Some(Element::new(field.int()?)),
                    2 => self.dims = Some(parse_shape(field.bytes()?)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn parse_shape(bytes: &[u8]) -> Result<Vec<Option<usize>>, OnnxError> {
    let mut dims = Vec::new();
    for dim in Fields::new(bytes) {
        let dim = dim?;
        if dim.number != 1 {
            continue;
        }
        let mut size = None;
        for field in Fields::new(dim.bytes()?) {
            let field = field?;
            if field.number == 1 {
                // Exporters write -1 for a size that is not known.
                size = usize::try_from(field.int()?).ok();
            }
        }
        dims.push(size);
    }
    Ok(dims)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn file() -> Vec<u8> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read(root.join("models/tiny/model.onnx")).unwrap()
    }

    #[test]
    fn the_nodes_and_weights_of_a_file_are_read() {
        let bytes = file();
        let graph = OnnxGraph::parse(&bytes).unwrap();
        assert_eq!(graph.opset, 17);
        let [features, ..] = &graph.inputs[..] else {
            panic!("no inputs")
        };
        assert_eq!(features.name, "features");
        assert_eq!(features.element, Some(Element::F32));
        assert_eq!(features.dims, Some(vec![None, Some(234)]));
        let outputs: Vec<_> = graph.outputs.iter().map(|output| output.name).collect();
        assert_eq!(&outputs[..3], ["gain", "taps", "vad"]);
        let products = graph.nodes.iter().filter(|node| node.op == "MatMul");
        assert_eq!(products.count(), 12);
        let gather = graph.nodes.iter().find(|node| node.op == "Gather").unwrap();
        assert!(matches!(gather.attribute("axis"), Some(Attribute::Int(1))));
        let encoder = graph
            .initializers
            .iter()
            .find(|t| t.name == "encoder.weight.f16");
        assert_eq!(encoder.unwrap().dims[0], 24);
    }

    /// A file that is cut off, or has a damaged byte, is an error or another graph; it never panics.
    #[test]
    fn damaged_files_do_not_panic() {
        let bytes = file();
        for len in (0..bytes.len()).step_by(997) {
            let _ = OnnxGraph::parse(&bytes[..len]);
        }
        // Damage to the structure, which is in the first part and between the weights.
        for at in (0..4000).chain((4000..bytes.len()).step_by(4999)) {
            let mut damaged = bytes[..bytes.len().min(at + 20_000)].to_vec();
            for value in [0, 0x7f, 0xff] {
                damaged[at] = value;
                let _ = OnnxGraph::parse(&damaged);
            }
        }
    }

    #[test]
    fn other_bytes_are_errors() {
        assert!(matches!(OnnxGraph::parse(b""), Err(OnnxError::NoGraph)));
        assert!(matches!(
            OnnxGraph::parse(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            Err(OnnxError::Wire(WireError::Truncated))
        ));
        assert!(matches!(
            OnnxGraph::parse(&[0xff; 16]),
            Err(OnnxError::Wire(WireError::Varint))
        ));
    }
}
