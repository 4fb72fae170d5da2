//! Operators that move numbers.

use super::Call;
use crate::engine::onnx::Attribute;
use crate::engine::plan::ir::{Op, Source, ValueId, ZERO, strided, strides};
use crate::engine::plan::unsupported::Unsupported;

impl Call<'_, '_> {
    /// Elements at constant indices along an axis.
    pub(super) fn gather(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([2, 2], &["axis"])?;
        let input = self.input(0)?;
        let axis = self.moved_axis(self.int("axis", 0)?, input)?;
        let own = self.importer.value(input).shape.clone();
        let Some(indices) = self.integers(1)? else {
            return self.fail("no indices");
        };
        let mut along = Vec::with_capacity(indices.len());
        for index in indices {
            along.push(self.axis(index, own[axis])?);
        }
        let shape = [&own[..axis], &self.value(1)?.shape, &own[axis + 1..]].concat();
        self.check_len(&shape)?;
        let inner: usize = own[axis + 1..].iter().product();
        let mut index = Vec::new();
        for outer in 0..own[..axis].iter().product::<usize>() {
            for at in &along {
                let begin = (outer * own[axis] + at) * inner;
                index.extend((begin..begin + inner).map(|at| at as u32));
            }
        }
        Ok(self.importer.select(input, index, shape))
    }

    /// Zeros around a value.
    pub(super) fn pad(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([2, 3], &["mode"])?;
        let input = self.input(0)?;
        let own = self.importer.value(input).shape.clone();
        let is_zero = match self.inputs.get(2).copied().flatten() {
            None => true,
            Some(value) => {
                let zero = self.importer.value(value).constant();
                zero.is_some_and(|numbers| *numbers == [0.0])
            }
        };
        if self.text("mode", "constant")? != "constant" || !is_zero {
            return self.fail("with other numbers than zeros");
        }
        let pads = self.integers(1)?.unwrap_or_default();
        let pads: Option<Vec<usize>> = pads.iter().map(|n| usize::try_from(*n).ok()).collect();
        let Some(pads) = pads.filter(|pads| pads.len() == 2 * own.len()) else {
            return self.fail("negative padding, or of another number of axes");
        };
        let (before, after) = pads.split_at(own.len());
        if self.is_batched(input) && (before[0], after[0]) != (0, 0) {
            return self.fail("it combines streams");
        }
        let sizes = own.iter().zip(before.iter().zip(after));
        let sizes = sizes.map(|(own, (a, b))| own.saturating_add(*a).saturating_add(*b));
        let shape: Vec<usize> = sizes.collect();
        self.check_len(&shape)?;
        let mut index = vec![ZERO; shape.iter().product()];
        let steps = strides(&shape);
        let begin = before.iter().zip(&steps).map(|(n, step)| n * step).sum();
        for (from, to) in strided(&own, &steps, begin).into_iter().enumerate() {
            index[to as usize] = from as u32;
        }
        Ok(self.importer.select(input, index, shape))
    }

    /// Ranges of elements along axes.
    pub(super) fn slice(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([3, 5], &[])?;
        let input = self.input(0)?;
        let own = self.importer.value(input).shape.clone();
        let starts = self.integers(1)?.unwrap_or_default();
        let ends = self.integers(2)?.unwrap_or_default();
        let axes = self.integers(3)?;
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let by = self.integers(4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), by.len()] != [starts.len(); 3] {
            return self.fail("different numbers of starts, ends, axes and steps");
        }
        let (mut shape, mut steps, mut begin) = (own.clone(), strides(&own), 0);
        for (at, axis) in axes.iter().enumerate() {
            let axis = self.moved_axis(*axis, input)?;
            let size = own[axis] as i64;
            let clamp =
                |at: i64| (if at < 0 { at.saturating_add(size) } else { at }).clamp(0, size);
            let (start, end) = (clamp(starts[at]), clamp(ends[at]));
            if by[at] < 1 || end <= start || shape[axis] != own[axis] {
                return self.fail("backward, empty, or twice along an axis");
            }
            begin += start as usize * steps[axis];
            shape[axis] = ((end - start) as usize).div_ceil(by[at] as usize);
            steps[axis] *= by[at] as usize;
        }
        let index = strided(&shape, &steps, begin);
        Ok(self.importer.select(input, index, shape))
    }

    pub(super) fn transpose(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([1, 1], &["perm"])?;
        let input = self.input(0)?;
        let own = self.importer.value(input).shape.clone();
        let order: Vec<i64> = match self.node.attribute("perm") {
            None => (0..own.len() as i64).rev().collect(),
            Some(Attribute::Ints(order)) => order.clone(),
            Some(found) => return self.fail(format!("attribute perm is {found:?}")),
        };
        let mut axes = Vec::with_capacity(own.len());
        for axis in order {
            axes.push(self.axis(axis, own.len())?);
        }
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..own.len()) {
            return self.fail(format!("axes {axes:?}"));
        }
        if self.is_batched(input) && axes.first() != Some(&0) {
            return self.fail("it moves the axis of the streams");
        }
        let steps = strides(&own);
        let shape: Vec<usize> = axes.iter().map(|axis| own[*axis]).collect();
        let steps: Vec<usize> = axes.iter().map(|axis| steps[*axis]).collect();
        let index = strided(&shape, &steps, 0);
        Ok(self.importer.select(input, index, shape))
    }

    pub(super) fn reshape(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([2, 2], &["allowzero"])?;
        let input = self.input(0)?;
        let sizes = self.integers(1)?.unwrap_or_default();
        let value = self.importer.value(input);
        let (own, len) = (value.shape.clone(), value.len());
        if self.int("allowzero", 0)? != 0 || len == 0 {
            return self.fail("with sizes of zero");
        }
        // -1 or 0: other sizes are right for one stream only.
        if self.is_batched(input) && sizes.first().is_none_or(|size| *size > 0) {
            return self.fail("the first size is not that of the streams");
        }
        let mut shape = Vec::with_capacity(sizes.len());
        let mut rest = None;
        for (axis, size) in sizes.iter().enumerate() {
            shape.push(match (*size, own.get(axis)) {
                (-1, _) if rest.is_none() => {
                    rest = Some(axis);
                    1
                }
                (0, Some(own)) => *own,
                (1.., _) => *size as usize,
                _ => return self.fail(format!("sizes {sizes:?}")),
            });
        }
        let others = shape
            .iter()
            .try_fold(1usize, |n, size| n.checked_mul(*size))
            .unwrap_or(usize::MAX);
        if let Some(axis) = rest {
            shape[axis] = len / others;
        }
        let is_complete = rest.map_or(others == len, |_| len % others == 0);
        if !is_complete {
            return self.fail(format!("{own:?} to {sizes:?}"));
        }
        Ok(self.importer.reshape(input, shape))
    }

    pub(super) fn flatten(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([1, 1], &["axis"])?;
        let input = self.input(0)?;
        let own = &self.importer.value(input).shape;
        let axis = self.axis(self.int("axis", 1)?, own.len())?;
        if axis == 0 && self.is_batched(input) {
            return self.fail("it combines streams");
        }
        let shape = vec![own[..axis].iter().product(), own[axis..].iter().product()];
        Ok(self.importer.reshape(input, shape))
    }

    pub(super) fn squeeze(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([2, 2], &[])?;
        let input = self.input(0)?;
        let mut shape = self.importer.value(input).shape.clone();
        let mut axes = Vec::new();
        for axis in self.integers(1)?.unwrap_or_default() {
            axes.push(self.moved_axis(axis, input)?);
        }
        axes.sort_unstable();
        axes.dedup();
        for axis in axes.into_iter().rev() {
            if shape.remove(axis) != 1 {
                return self.fail(format!("axis {axis} has not the size 1"));
            }
        }
        Ok(self.importer.reshape(input, shape))
    }

    pub(super) fn unsqueeze(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([2, 2], &[])?;
        let input = self.input(0)?;
        let mut shape = self.importer.value(input).shape.clone();
        let added = self.integers(1)?.unwrap_or_default();
        let rank = shape.len() + added.len();
        let mut axes = Vec::new();
        for axis in added {
            axes.push(self.axis(axis, rank)?);
        }
        axes.sort_unstable();
        if axes.windows(2).any(|pair| pair[0] == pair[1]) {
            return self.fail("an axis twice");
        }
        if axes.first() == Some(&0) && self.is_batched(input) {
            return self.fail("it moves the axis of the streams");
        }
        for axis in axes {
            shape.insert(axis, 1);
        }
        Ok(self.importer.reshape(input, shape))
    }

    pub(super) fn concat(&mut self) -> Result<ValueId, Unsupported> {
        self.expect([1, usize::MAX], &["axis"])?;
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for at in 0..self.inputs.len() {
            inputs.push(self.input(at)?);
        }
        let axis = self.moved_axis(self.int("axis", 0)?, inputs[0])?;
        let mut shape = self.importer.value(inputs[0]).shape.clone();
        shape[axis] = 0;
        let mut blocks = Vec::with_capacity(inputs.len());
        for input in &inputs {
            let value = self.importer.value(*input);
            let is_fit = value.shape.len() == shape.len()
                && (0..shape.len()).all(|at| at == axis || value.shape[at] == shape[at]);
            if !is_fit || matches!(value.source, Source::I64(_) | Source::Narrow(_)) {
                return self.fail("of different types or shapes");
            }
            if value.is_constant() {
                return self.fail("of a constant");
            }
            shape[axis] += value.shape[axis];
            blocks.push(value.shape[axis..].iter().product());
        }
        let op = Op::Interleave { blocks };
        Ok(self.importer.add_node(op, &inputs, shape))
    }
}
