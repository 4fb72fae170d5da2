//! Recurrent operators.

use std::sync::Arc;

use super::Call;
use crate::engine::plan::gru::Gru;
use crate::engine::plan::ir::{Op, ValueId};
use crate::engine::plan::unsupported::Unsupported;

impl Call<'_, '_> {
    /// A gated recurrent unit along the first axis: [steps, rows, inputs] to [steps, directions, rows,
    /// hidden], and the last state of each direction [directions, rows, hidden].
    pub(super) fn gru(&mut self) -> Result<Vec<ValueId>, Unsupported> {
        self.expect(
            [3, 6],
            &["direction", "hidden_size", "linear_before_reset", "layout"],
        )?;
        if self.importer.batched {
            return self.fail("of several streams");
        }
        if self.int("linear_before_reset", 0)? != 1 || self.int("layout", 0)? != 0 {
            return self.fail("with linear_before_reset = 0 or layout = 1");
        }
        if self.inputs.get(4).copied().flatten().is_some() {
            return self.fail("with lengths of sequences");
        }
        let is_reversed: &[bool] = match &self.text("direction", "forward")?[..] {
            "forward" => &[false],
            "reverse" => &[true],
            "bidirectional" => &[false, true],
            other => return self.fail(format!("direction {other}")),
        };
        let directions = is_reversed.len();
        let (x, w, r) = (self.value(0)?, self.value(1)?, self.value(2)?);
        let [steps, rows, inputs] = x.shape[..] else {
            return self.fail(format!("of {:?}", x.shape));
        };
        let hidden = self.int("hidden_size", 0)?;
        let hidden = usize::try_from(hidden).unwrap_or(0);
        let sizes = [directions, 3 * hidden];
        let is_fit = w.shape == [&sizes[..], &[inputs]].concat()
            && r.shape == [&sizes[..], &[hidden]].concat();
        let (Some(w), Some(r), true) = (w.constant(), r.constant(), is_fit) else {
            return self.fail("weights that are not constant or of another shape");
        };
        let bias = match self.inputs.get(3).copied().flatten() {
            None => vec![0.0; directions * 6 * hidden].into(),
            Some(_) => {
                let value = self.value(3)?;
                match value.constant() {
                    Some(bias) if value.shape == [directions, 6 * hidden] => bias,
                    _ => return self.fail("a bias that is not constant or of another shape"),
                }
            }
        };
        let mut from = vec![self.input(0)?];
        if let Some(initial) = self.inputs.get(5).copied().flatten() {
            let value = self.importer.value(initial);
            if value.shape != [directions, rows, hidden] || value.is_constant() {
                return self.fail("an initial state that is constant or of another shape");
            }
            from.push(initial);
        }
        if [steps, rows, inputs, hidden].contains(&0) {
            return self.fail("a size of 0");
        }
        let gru = Gru::new([steps, rows, inputs, hidden], is_reversed, [&w, &r, &bias]);
        let Some(gru) = gru else {
            return Err(Unsupported::NonFinite);
        };
        let shape = vec![steps, directions, rows, hidden];
        let all = self.importer.add_node(Op::Gru(Arc::new(gru)), &from, shape);
        let state = rows * hidden;
        let last = is_reversed.iter().enumerate().flat_map(|(at, reversed)| {
            let step = if *reversed { 0 } else { steps - 1 };
            let begin = (step * directions + at) * state;
            (begin..begin + state).map(|at| at as u32)
        });
        let last = last.collect();
        let last = self
            .importer
            .select(all, last, vec![directions, rows, hidden]);
        Ok(vec![all, last])
    }
}
