//! Operators that compute numbers.

use std::sync::Arc;

use super::Call;
use crate::engine::onnx::Element;
use crate::engine::plan::ir::{Binary, Numbers, Op, Source, Unary, ValueId, strided, strides};
use crate::engine::plan::unsupported::Unsupported;

impl<'a> Call<'_, 'a> {
    /// To f32, of constants of any type and of values that are f32.
    pub(super) fn cast(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([1, 1], &["to"])?;
        if Element::new(self.int("to", 0)?) != Element::F32 {
            return self.fail("to another type than f32");
        }
        let input = self.input(0)?;
        let value = self.importer.value(input);
        let source = match &value.source {
            Source::Input | Source::Node(_) | Source::F32(_) => return Ok(input),
            Source::Narrow(numbers @ Numbers::Int8 { .. }) => Source::F32(numbers.clone()),
            Source::Narrow(Numbers::F32(_)) => {
                let numbers = self.importer.take_numbers(self.node.inputs[0], input);
                Source::F32(numbers.expect("a constant").into())
            }
            Source::I64(numbers) => {
                Source::F32(Numbers::F32(numbers.iter().map(|n| *n as f32).collect()))
            }
        };
        let shape = self.importer.value(input).shape.clone();
        Ok(self.importer.add(shape, source))
    }

    /// A matrix product with constant weights.
    pub(super) fn product(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([2, 2], &[])?;
        let weights = self.value(1)?;
        let (Source::F32(numbers), [inputs, outputs]) = (&weights.source, &weights.shape[..])
        else {
            return self.fail("the second factor is no constant matrix");
        };
        let (numbers, sizes) = (numbers.clone(), [*inputs, *outputs]);
        self.add_product(self.input(0)?, numbers, sizes)
    }

    fn add_product(
        &mut self,
        input: ValueId,
        weights: Numbers<'a>,
        sizes: [usize; 2],
    ) -> Result<ValueId, Unsupported> {
        let value = self.importer.value(input);
        let mut shape = value.shape.clone();
        // The axis of the sums is not that of the streams.
        let fits = shape.len() >= 2 && shape.last() == Some(&sizes[0]) && !sizes.contains(&0);
        if value.is_constant() || !fits {
            return self.fail(format!("{:?} times {sizes:?}", value.shape));
        }
        if let Some(last) = shape.last_mut() {
            *last = sizes[1];
        }
        let op = Op::Product { weights, sizes };
        Ok(self.importer.add_node(op, &[input], shape))
    }

    /// A matrix product with a bias.
    pub(super) fn gemm(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([2, 3], &["alpha", "beta", "transA", "transB"])?;
        let is_plain = self.float("alpha", 1.0)? == 1.0
            && self.float("beta", 1.0)? == 1.0
            && self.int("transA", 0)? == 0;
        let input = self.input(0)?;
        if !is_plain || self.importer.value(input).shape.len() != 2 {
            return self.fail("with a scale, or of a transposed input");
        }
        let weights = self.value(1)?;
        let (Source::F32(numbers), [rows, columns]) = (&weights.source, &weights.shape[..]) else {
            return self.fail("the second factor is no constant matrix");
        };
        let (rows, columns) = (*rows, *columns);
        let product = if self.int("transB", 0)? == 0 {
            let numbers = numbers.clone();
            self.add_product(input, numbers, [rows, columns])?
        } else {
            let index = strided(&[columns, rows], &[1, columns], 0);
            let numbers = numbers.to_f32();
            let numbers = index.iter().map(|at| numbers[*at as usize]).collect();
            self.add_product(input, Numbers::F32(numbers), [columns, rows])?
        };
        if self.inputs.get(2).copied().flatten().is_none() {
            return Ok(product);
        }
        let bias = self.input(2)?;
        self.combine(Binary::Add, product, bias)
    }

    pub(super) fn binary(&mut self, op: Binary) -> Result<ValueId, Unsupported> {
        self.expect([2, 2], &[])?;
        let (a, b) = (self.input(0)?, self.input(1)?);
        self.combine(op, a, b)
    }

    fn combine(&mut self, op: Binary, a: ValueId, b: ValueId) -> Result<ValueId, Unsupported> {
        let shape = self.common_shape(a, b)?;
        if let Some(value) = self.scaled_rows(op, a, b, &shape) {
            return Ok(value);
        }
        let (a, b) = (self.broadcast(a, &shape)?, self.broadcast(b, &shape)?);
        let (from_a, from_b) = (self.importer.value(a), self.importer.value(b));
        if let (Some(a), Some(b)) = (from_a.constant(), from_b.constant()) {
            let numbers = a.iter().zip(&*b).map(|(a, b)| op.apply(*a, *b));
            let source = Source::F32(Numbers::F32(numbers.collect()));
            return Ok(self.importer.add(shape, source));
        }
        let is_f32 = |source: &Source| !matches!(source, Source::I64(_) | Source::Narrow(_));
        if !is_f32(&from_a.source) || !is_f32(&from_b.source) {
            return self.fail("of another type than f32");
        }
        Ok(self.importer.add_node(Op::Binary(op), &[a, b], shape))
    }

    /// `a`, a constant of `shape`, with the same constants for every row: the scales of quantized weights,
    /// for which the general way takes most of the time to load a model.
    fn scaled_rows(
        &mut self,
        op: Binary,
        a: ValueId,
        b: ValueId,
        shape: &[usize],
    ) -> Option<ValueId> {
        let (from_a, from_b) = (self.importer.value(a), self.importer.value(b));
        let row: Vec<usize> = from_b
            .shape
            .iter()
            .copied()
            .skip_while(|n| *n == 1)
            .collect();
        let Source::F32(numbers) = &from_a.source else {
            return None;
        };
        let others = from_b.constant()?;
        if from_a.shape != shape || !shape.ends_with(&row) || others.is_empty() {
            return None;
        }
        if let (Binary::Mul, Numbers::Int8 { integers, scales }) = (op, numbers)
            && scales.is_none()
            && shape.last() == Some(&others.len())
        {
            let source = Source::F32(Numbers::Int8 {
                integers,
                scales: Some(others),
            });
            return Some(self.importer.add(shape.to_vec(), source));
        }
        let mut numbers = self.importer.take_numbers(self.node.inputs[0], a)?;
        for row in Arc::make_mut(&mut numbers).chunks_exact_mut(others.len()) {
            for (number, other) in row.iter_mut().zip(&*others) {
                *number = op.apply(*number, *other);
            }
        }
        let source = Source::F32(numbers.into());
        Some(self.importer.add(shape.to_vec(), source))
    }

    /// The shape to which both values are broadcast.
    fn common_shape(&self, a: ValueId, b: ValueId) -> Result<Vec<usize>, Unsupported> {
        let (shape_a, shape_b) = (&self.importer.value(a).shape, &self.importer.value(b).shape);
        let rank = shape_a.len().max(shape_b.len());
        let size = |shape: &[usize], axis: usize| {
            let from_start = (axis + shape.len()).checked_sub(rank);
            from_start.map_or(1, |axis| shape[axis])
        };
        let mut shape = Vec::with_capacity(rank);
        for axis in 0..rank {
            shape.push(match (size(shape_a, axis), size(shape_b, axis)) {
                (a, b) if a == b => a,
                (1, other) | (other, 1) => other,
                _ => return self.fail(format!("{shape_a:?} and {shape_b:?}")),
            });
        }
        // The axis of the streams stays first, and no operand has different numbers for each stream but
        // those that are computed for each.
        for (value, own) in [(a, shape_a), (b, shape_b)] {
            let is_fit = if self.is_batched(value) {
                own.len() == rank && own[0] == shape[0]
            } else {
                own.len() < rank || own.first().is_none_or(|size| *size == 1)
            };
            if self.importer.batched && (self.is_batched(a) || self.is_batched(b)) && !is_fit {
                return self.fail(format!("{shape_a:?} and {shape_b:?} of several streams"));
            }
        }
        self.check_len(&shape)?;
        Ok(shape)
    }

    fn broadcast(&mut self, value: ValueId, shape: &[usize]) -> Result<ValueId, Unsupported> {
        let own = &self.importer.value(value).shape;
        if own == shape {
            return Ok(value);
        }
        let mut steps = vec![0; shape.len() - own.len()];
        let own_steps = own.iter().zip(strides(own));
        steps.extend(own_steps.map(|(size, step)| if *size == 1 { 0 } else { step }));
        let index = strided(shape, &steps, 0);
        Ok(self.importer.select(value, index, shape.to_vec()))
    }

    pub(super) fn unary(&mut self, op: Unary) -> Result<ValueId, Unsupported> {
        self.expect([1, 1], &[])?;
        let input = self.input(0)?;
        let value = self.importer.value(input);
        if value.is_constant() {
            return self.fail("of a constant");
        }
        let shape = value.shape.clone();
        Ok(self.importer.add_node(Op::Unary(op), &[input], shape))
    }
}
