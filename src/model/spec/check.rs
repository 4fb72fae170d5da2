//! What a manifest may say: no contradictions, nothing that cannot be run.

use super::{Axis, Features, Role, Spec, TensorSpec, WindowShape};
use crate::Error;

/// Shortest and longest hop that a manifest may ask for, samples at the model's rate.
const HOP_RANGE: std::ops::RangeInclusive<usize> = 16..=16_384;
const RATE_RANGE_HZ: std::ops::RangeInclusive<u32> = 8_000..=192_000;
const MAX_LOOKAHEAD: usize = 16;
const MAX_TAP_ORDER: usize = 16;

impl Spec {
    /// Every rule that a manifest must keep by itself; the graph is checked against it on load.
    pub(super) fn check(&self) -> Result<(), Error> {
        let front = &self.front_end;
        let WindowShape::SqrtHann = front.window_shape;
        in_range("front_end.rate_hz", front.rate_hz, &RATE_RANGE_HZ)?;
        in_range("front_end.hop", front.hop, &HOP_RANGE)?;
        in_range("front_end.lookahead", front.lookahead, &(0..=MAX_LOOKAHEAD))?;
        let fits = front.window.is_multiple_of(2 * front.hop)
            && (2 * front.hop..=16 * front.hop).contains(&front.window);
        ensure(
            fits,
            "front_end.window",
            "2 to 16 hops, an even number of them",
            front.window,
        )?;
        let [low, high] = self.domain.input_rates_hz;
        ensure(
            low <= high,
            "domain.input_rates_hz",
            "lowest, then highest",
            format!("[{low}, {high}]"),
        )?;

        let file = &self.graph.file;
        ensure(
            !file.is_empty() && file != ".." && !file.contains(['/', '\\']),
            "graph.file",
            "the name of a file in the manifest's folder",
            file,
        )?;

        let bins = self.bins();
        let Features {
            bands,
            phase_advance,
            level,
        } = &self.features;
        let rising = bands.centres.windows(2).all(|pair| pair[0] < pair[1]);
        let whole = bands.centres.first() == Some(&0) && bands.centres.last() == Some(&(bins - 1));
        ensure(
            rising && whole,
            "features.bands.centres",
            format!("bins that rise from 0 to {}", bins - 1),
            format!("{:?} .. {:?}", bands.centres.first(), bands.centres.last()),
        )?;
        let numbers = [
            bands.range_low_db,
            bands.range_high_db,
            bands.range_step_db,
            bands.range_offset,
        ];
        ensure(
            numbers.iter().all(|n| n.is_finite())
                && bands.range_low_db < bands.range_high_db
                && bands.range_step_db > 0.0,
            "features.bands.range_*",
            "finite numbers, low below high, a step above 0",
            format!("{numbers:?}"),
        )?;
        if let Some(phase) = phase_advance {
            let end = phase.first_bin.saturating_add(phase.bins);
            ensure(
                phase.bins > 0 && end <= bins,
                "features.phase_advance",
                format!("at least one bin, inside {bins}"),
                format!("bins {} to {end}", phase.first_bin),
            )?;
        }
        ensure(
            level.first_bin < bins,
            "features.level.first_bin",
            format!("below {bins}"),
            level.first_bin,
        )?;
        ensure(
            level.attack > 0.0 && level.attack <= 1.0,
            "features.level.attack",
            "above 0, at most 1",
            level.attack,
        )?;
        ensure(
            level.release_db > 0.0 && level.release_db.is_finite(),
            "features.level.release_db",
            "a number above 0",
            level.release_db,
        )?;
        ensure(
            (-160.0..=0.0).contains(&level.floor_db),
            "features.level.floor_db",
            "-160 to 0",
            level.floor_db,
        )?;
        self.check_tensors()
    }

    fn check_tensors(&self) -> Result<(), Error> {
        let (inputs, outputs) = (&self.graph.inputs, &self.graph.outputs);
        for tensor in inputs.iter().chain(outputs) {
            let batched = tensor.shape.first() == Some(&Axis::Symbol("N".into()));
            let sized = tensor
                .shape
                .iter()
                .skip(1)
                .all(|axis| matches!(axis, Axis::Size(1..)));
            ensure(
                batched && sized,
                &format!("graph, shape of `{}`", tensor.name),
                "[\"N\", sizes above 0]",
                format!("{:?}", tensor.shape),
            )?;
        }
        let names =
            |list: &[TensorSpec]| -> Vec<String> { list.iter().map(|t| t.name.clone()).collect() };
        for (side, list) in [
            ("graph.inputs", names(inputs)),
            ("graph.outputs", names(outputs)),
        ] {
            let mut unique = list.clone();
            unique.sort();
            unique.dedup();
            ensure(
                unique.len() == list.len(),
                side,
                "every name once",
                format!("{list:?}"),
            )?;
        }
        self.check_role(
            inputs,
            "graph.inputs",
            Role::Features,
            true,
            &[self.feature_count()],
        )?;
        self.check_role(
            outputs,
            "graph.outputs",
            Role::Gain,
            true,
            &[self.features.bands.centres.len()],
        )?;
        self.check_role(outputs, "graph.outputs", Role::Vad, false, &[1])?;
        if let Some(taps) = outputs.iter().find(|t| t.role == Role::Taps) {
            let sizes = taps.sizes();
            let right = matches!(sizes[..], [order, 2, bins] if order <= MAX_TAP_ORDER && bins <= self.bins());
            ensure(
                right && outputs.iter().filter(|t| t.role == Role::Taps).count() == 1,
                "graph.outputs, role `taps`",
                format!(
                    "one tensor, [N, 1..={MAX_TAP_ORDER}, 2, 1..={}]",
                    self.bins()
                ),
                format!("[N, {sizes:?}]"),
            )?;
        }
        for (side, list, wrong) in [
            (
                "graph.inputs",
                inputs,
                &[Role::Gain, Role::Taps, Role::Vad][..],
            ),
            ("graph.outputs", outputs, &[Role::Features][..]),
        ] {
            if let Some(tensor) = list.iter().find(|t| wrong.contains(&t.role)) {
                return Err(manifest(
                    side,
                    "a role that belongs on this side",
                    format!("{:?}", tensor.role),
                ));
            }
        }
        self.check_states()
    }

    fn check_role(
        &self,
        list: &[TensorSpec],
        side: &str,
        role: Role,
        required: bool,
        sizes: &[usize],
    ) -> Result<(), Error> {
        let found: Vec<&TensorSpec> = list.iter().filter(|t| t.role == role).collect();
        let right = match found[..] {
            [] => !required,
            [one] => one.sizes() == sizes,
            _ => false,
        };
        ensure(
            right,
            &format!("{side}, role {role:?}"),
            format!("one tensor [N, {sizes:?}]"),
            format!("{:?}", found.iter().map(|t| t.sizes()).collect::<Vec<_>>()),
        )
    }

    fn check_states(&self) -> Result<(), Error> {
        let states = |list: &'_ [TensorSpec]| -> Vec<TensorSpec> {
            list.iter()
                .filter(|t| t.role == Role::State)
                .cloned()
                .collect()
        };
        let (into, out) = (states(&self.graph.inputs), states(&self.graph.outputs));
        for state in &into {
            ensure(
                state.initial.is_some_and(f32::is_finite) && state.of.is_none(),
                &format!("graph.inputs, state `{}`", state.name),
                "`initial`, a finite number, and no `of`",
                format!("initial {:?}, of {:?}", state.initial, state.of),
            )?;
            let nexts = out
                .iter()
                .filter(|next| next.of.as_ref() == Some(&state.name));
            let shapes: Vec<_> = nexts.map(|next| next.shape.clone()).collect();
            ensure(
                shapes == [state.shape.clone()],
                &format!("graph.inputs, state `{}`", state.name),
                format!(
                    "one output with `of = \"{}\"` and shape {:?}",
                    state.name, state.shape
                ),
                format!("{shapes:?}"),
            )?;
        }
        for next in &out {
            let known = next
                .of
                .as_ref()
                .is_some_and(|of| into.iter().any(|s| s.name == *of));
            ensure(
                known && next.initial.is_none(),
                &format!("graph.outputs, state `{}`", next.name),
                "`of`, the name of a state that goes in, and no `initial`",
                format!("of {:?}, initial {:?}", next.of, next.initial),
            )?;
        }
        Ok(())
    }
}

fn manifest(field: &str, expected: impl ToString, found: impl ToString) -> Error {
    Error::Manifest {
        field: field.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

fn ensure(
    right: bool,
    field: &str,
    expected: impl ToString,
    found: impl ToString,
) -> Result<(), Error> {
    if right {
        Ok(())
    } else {
        Err(manifest(field, expected, found))
    }
}

fn in_range<T: PartialOrd + ToString + Copy>(
    field: &str,
    found: T,
    range: &std::ops::RangeInclusive<T>,
) -> Result<(), Error> {
    let expected = format!(
        "{} to {}",
        range.start().to_string(),
        range.end().to_string()
    );
    ensure(range.contains(&found), field, expected, found)
}
