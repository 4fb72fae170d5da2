//! Weights and other constants.

use std::sync::Arc;

use super::OnnxError;
use super::wire::Fields;

/// Types of elements (`TensorProto.DataType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Element {
    F32,
    F16,
    F64,
    I8,
    U8,
    I32,
    I64,
    Bool,
    Other(i64),
}

impl Element {
    pub(in crate::engine) fn new(data_type: i64) -> Self {
        match data_type {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            other => Self::Other(other),
        }
    }

    /// Bytes of an element in `raw_data`.
    fn size(self) -> Option<usize> {
        Some(match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
            Self::Other(_) => return None,
        })
    }
}

#[derive(Debug)]
pub(in crate::engine) struct Tensor<'a> {
    pub(in crate::engine) name: &'a str,
    pub(in crate::engine) dims: Vec<usize>,
    pub(in crate::engine) element: Element,
    data: Data<'a>,
}

#[derive(Debug)]
enum Data<'a> {
    /// little-endian
    Raw(&'a [u8]),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

impl<'a> Tensor<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, OnnxError> {
        let (mut name, mut dims, mut data_type, mut raw) = ("", Vec::new(), 0, None);
        let (mut floats, mut ints, mut location) = (Vec::new(), Vec::new(), 0);
        let mut found = None;
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => field.ints(&mut dims)?,
                2 => data_type = field.int()?,
                3 => found = Some("a segment"),
                4 => field.floats(&mut floats)?,
                5 | 7 => field.ints(&mut ints)?,
                6 | 10 | 11 => found = Some("text, f64 or u64"),
                8 => name = field.text()?,
                9 => raw = Some(field.bytes()?),
                13 => found = Some("another file"),
                14 => location = field.int()?,
                _ => {}
            }
        }
        if location != 0 {
            found = Some("another file");
        }
        if let Some(found) = found {
            return Err(OnnxError::Tensor {
                tensor: name.into(),
                found: found.into(),
            });
        }
        let size = |found: &i64| {
            let field = "the shape of a tensor";
            usize::try_from(*found).map_err(|_| OnnxError::Negative {
                field,
                found: *found,
            })
        };
        let tensor = Self {
            name,
            dims: dims.iter().map(size).collect::<Result<_, _>>()?,
            element: Element::new(data_type),
            data: match (raw, floats.is_empty()) {
                (Some(raw), _) => Data::Raw(raw),
                (None, false) => Data::Floats(floats),
                (None, true) => Data::Ints(ints),
            },
        };
        tensor.check_length()?;
        Ok(tensor)
    }

    /// Checks that there are as many numbers as the shape has elements.
    fn check_length(&self) -> Result<(), OnnxError> {
        let Some(size) = self.element.size() else {
            return Ok(());
        };
        let bytes = self
            .dims
            .iter()
            .try_fold(size, |n, dim| n.checked_mul(*dim));
        let found = match &self.data {
            Data::Raw(raw) => raw.len(),
            Data::Floats(floats) => floats.len() * size,
            Data::Ints(ints) => ints.len() * size,
        };
        if bytes == Some(found) {
            return Ok(());
        }
        Err(OnnxError::Length {
            tensor: self.name.into(),
            expected: bytes.unwrap_or(usize::MAX),
            found,
        })
    }

    /// The numbers as f32, if they are of a type for floating-point numbers or have 8 bits, except for
    /// [`i8_bytes`](Self::i8_bytes).
    pub(in crate::engine) fn to_f32(&self) -> Option<Arc<[f32]>> {
        match (&self.data, self.element) {
            (Data::Raw(raw), Element::F32) => {
                let (numbers, _) = raw.as_chunks();
                Some(numbers.iter().map(|n| f32::from_le_bytes(*n)).collect())
            }
            (Data::Raw(raw), Element::F16) => {
                let (numbers, _) = raw.as_chunks();
                let from = |n: &[u8; 2]| from_f16(u16::from_le_bytes(*n));
                Some(numbers.iter().map(from).collect())
            }
            (Data::Raw(raw), Element::U8) => Some(raw.iter().map(|n| f32::from(*n)).collect()),
            (Data::Floats(floats), Element::F32) => Some(floats[..].into()),
            // Bits of f16 are in the lower half of each number.
            (Data::Ints(ints), Element::F16) => {
                Some(ints.iter().map(|n| from_f16(*n as u16)).collect())
            }
            (Data::Ints(ints), Element::I8 | Element::U8) => {
                Some(ints.iter().map(|n| *n as f32).collect())
            }
            // A tensor without elements.
            (Data::Ints(ints), Element::F32) if ints.is_empty() => Some(Arc::default()),
            _ => None,
        }
    }

    /// The bytes of signed 8-bit integers, if they are stored as such.
    pub(in crate::engine) fn i8_bytes(&self) -> Option<&'a [u8]> {
        match (&self.data, self.element) {
            (Data::Raw(raw), Element::I8) => Some(raw),
            _ => None,
        }
    }

    /// The numbers as i64, if they are of a type for integers.
    pub(in crate::engine) fn to_i64(&self) -> Option<Vec<i64>> {
        match (&self.data, self.element) {
            (Data::Raw(raw), Element::I64) => {
                let (numbers, _) = raw.as_chunks();
                Some(numbers.iter().map(|n| i64::from_le_bytes(*n)).collect())
            }
            (Data::Raw(raw), Element::I32) => {
                let (numbers, _) = raw.as_chunks();
                let from = |n: &[u8; 4]| i64::from(i32::from_le_bytes(*n));
                Some(numbers.iter().map(from).collect())
            }
            (Data::Ints(ints), Element::I64 | Element::I32) => Some(ints.clone()),
            _ => None,
        }
    }
}

/// The value of an IEEE 754 half-precision number.
fn from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    let magnitude = match exponent {
        // Subnormal: a multiple of 2^-24.
        0 => (fraction as f32 / (1 << 24) as f32).to_bits(),
        0x1f => 0xff << 23 | fraction << 13,
        _ => (exponent + 127 - 15) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers() {
        for (bits, expected) in [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2.0f32.powi(-24)),
            (0x83ff, -1023.0 * 2.0f32.powi(-24)),
            (0x0400, 2.0f32.powi(-14)),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(from_f16(bits).to_bits(), expected.to_bits(), "{bits:x}");
        }
        assert!(from_f16(0x7e00).is_nan());
    }

    #[test]
    fn a_tensor_has_as_many_numbers_as_its_shape() {
        // dims 2, type f32, name "w", 8 or 7 bytes
        let tensor = |len: u8| {
            let mut bytes = vec![0x08, 2, 0x10, 1, 0x42, 1, b'w', 0x4a, len];
            bytes.extend(std::iter::repeat_n(0, usize::from(len)));
            bytes
        };
        let bytes = tensor(8);
        assert_eq!(
            Tensor::parse(&bytes).unwrap().to_f32(),
            Some([0.0; 2].into())
        );
        let bytes = tensor(7);
        let error = Tensor::parse(&bytes).unwrap_err();
        assert!(matches!(
            error,
            OnnxError::Length {
                expected: 8,
                found: 7,
                ..
            }
        ));
    }
}
