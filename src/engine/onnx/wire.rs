//! The wire format of Protocol Buffers (protobuf.dev, "Encoding"): a message is a list of fields, each
//! with a number and a value.

/// A message that is not in the wire format.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::engine) enum WireError {
    #[error("a value ends after the message")]
    Truncated,
    #[error("a number has more than 64 bits")]
    Varint,
    #[error("wire type {0} is not one of ONNX")]
    WireType(u64),
    #[error("field {field} has another type than in ONNX")]
    FieldType { field: u64 },
    #[error("field {field} is not UTF-8 text")]
    Text { field: u64 },
}

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64,
    /// text, packed numbers or a message
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
}

/// The fields of a message. After an error there are no more.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let _: [u8; 8] = self.array()?;
                Value::Fixed64
            }
            2 => {
                let len = self.varint()?;
                let len = usize::try_from(len).map_err(|_| WireError::Truncated)?;
                let (bytes, rest) = self
                    .rest
                    .split_at_checked(len)
                    .ok_or(WireError::Truncated)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(self.array()?),
            other => return Err(WireError::WireType(other)),
        };
        Ok(Field {
            number: tag >> 3,
            value,
        })
    }

    /// A number in groups of 7 bits, the lowest first.
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0;
        for group in 0..10 {
            let (byte, rest) = self.rest.split_first().ok_or(WireError::Truncated)?;
            self.rest = rest;
            // The tenth byte has the last of 64 bits.
            if group == 9 && *byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << (7 * group);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireError::Varint)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Field<'a> {
    fn mismatch<T>(&self) -> Result<T, WireError> {
        Err(WireError::FieldType { field: self.number })
    }

    pub(super) fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => self.mismatch(),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, WireError> {
        let field = self.number;
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Text { field })
    }

    pub(super) fn int(&self) -> Result<i64, WireError> {
        match self.value {
            Value::Varint(number) => Ok(number as i64),
            _ => self.mismatch(),
        }
    }

    pub(super) fn float(&self) -> Result<f32, WireError> {
        match self.value {
            Value::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => self.mismatch(),
        }
    }

    /// Appends one number, or packed numbers.
    pub(super) fn ints(&self, to: &mut Vec<i64>) -> Result<(), WireError> {
        match self.value {
            Value::Varint(number) => to.push(number as i64),
            Value::Bytes(bytes) => {
                let mut packed = Fields::new(bytes);
                while !packed.rest.is_empty() {
                    to.push(packed.varint()? as i64);
                }
            }
            _ => return self.mismatch(),
        }
        Ok(())
    }

    /// Appends one number, or packed numbers.
    pub(super) fn floats(&self, to: &mut Vec<f32>) -> Result<(), WireError> {
        match self.value {
            Value::Fixed32(bytes) => to.push(f32::from_le_bytes(bytes)),
            Value::Bytes(bytes) => {
                let (numbers, []) = bytes.as_chunks() else {
                    return Err(WireError::Truncated);
                };
                to.extend(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            _ => return self.mismatch(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<u64, WireError> {
        Fields::new(bytes).varint()
    }

    #[test]
    fn numbers_of_all_lengths() {
        assert_eq!(varint(&[0x96, 0x01]), Ok(150));
        let all = [[0xff; 9].as_slice(), &[1]].concat();
        assert_eq!(varint(&all), Ok(u64::MAX));
        let more = [[0xff; 9].as_slice(), &[2]].concat();
        assert_eq!(varint(&more), Err(WireError::Varint));
        assert_eq!(varint(&[0x80]), Err(WireError::Truncated));
    }

    #[test]
    fn packed_and_single_numbers() {
        let message = [0x40, 5, 0x42, 3, 0x96, 0x01, 7];
        let mut ints = Vec::new();
        for field in Fields::new(&message) {
            field.unwrap().ints(&mut ints).unwrap();
        }
        assert_eq!(ints, [5, 150, 7]);
    }

    #[test]
    fn groups_are_not_read() {
        let mut fields = Fields::new(&[0x0b, 0x0c]);
        assert_eq!(fields.next().unwrap().unwrap_err(), WireError::WireType(3));
        assert!(fields.next().is_none());
    }
}
