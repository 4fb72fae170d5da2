//! What a manifest may say: no contradictions, nothing that cannot be run.

use super::{
    Axis, BATCH, Bands, Features, Gate, GraphSpec, HOPS, Manifest, Role, TapLayout, TensorSpec,
};
use crate::error::Error;

/// Shortest and longest hop that a manifest may ask for, samples at the model's rate.
const HOP_RANGE: std::ops::RangeInclusive<usize> = 16..=16_384;
const RATE_RANGE_HZ: std::ops::RangeInclusive<u32> = 8_000..=192_000;
const MAX_LOOKAHEAD: usize = 16;
const MAX_TAP_ORDER: usize = 16;
const MAX_GRAPHS: usize = 8;

impl Manifest {
    /// Every rule that a manifest must keep by itself; the graphs are checked against it on load.
    pub(super) fn check(&self) -> Result<(), Error> {
        let front = &self.front_end;
        in_range("front_end.rate_hz", front.rate_hz, &RATE_RANGE_HZ)?;
        in_range("front_end.hop", front.hop, &HOP_RANGE)?;
        in_range("front_end.lookahead", front.lookahead, &(0..=MAX_LOOKAHEAD))?;
        ensure(
            front.window.is_multiple_of(2)
                && (front.hop..=16 * front.hop).contains(&front.window)
                // A window of one hop would leave its edges, where it is zero, unheard.
                && front.window > front.hop,
            "front_end.window",
            "an even number, longer than a hop, at most 16 hops",
            front.window,
        )?;
        let transform = self.transform();
        ensure(
            transform.is_multiple_of(2) && (front.window..=4 * front.window).contains(&transform),
            "front_end.transform",
            "an even number from the window to four windows",
            transform,
        )?;
        ensure(
            front.spectrum_scale.is_finite() && front.spectrum_scale > 0.0,
            "front_end.spectrum_scale",
            "a number above 0",
            front.spectrum_scale,
        )?;
        let [low, high] = self.domain.input_rates_hz;
        ensure(
            low <= high,
            "domain.input_rates_hz",
            "lowest, then highest",
            format!("[{low}, {high}]"),
        )?;
        if let Some(features) = &self.features {
            self.check_features(features)?;
        }
        self.check_tables()?;
        ensure(
            (1..=MAX_GRAPHS).contains(&self.graphs.len()),
            "graph",
            format!("1 to {MAX_GRAPHS} tables"),
            self.graphs.len(),
        )?;
        let mut links: Vec<&TensorSpec> = Vec::new();
        for graph in &self.graphs {
            self.check_graph(graph, &links)?;
            links.extend(
                graph
                    .outputs
                    .iter()
                    .filter(|t| t.role == Role::Intermediate),
            );
        }
        self.check_flow()
    }

    fn check_features(&self, features: &Features) -> Result<(), Error> {
        let bins = self.bins();
        let Features {
            bands,
            phase_advance,
            level,
        } = features;
        let rising = bands.centers.windows(2).all(|pair| pair[0] < pair[1]);
        let whole = bands.centers.first() == Some(&0) && bands.centers.last() == Some(&(bins - 1));
        ensure(
            rising && whole,
            "features.bands.centers",
            format!("bins that rise from 0 to {}", bins - 1),
            format!("{:?} .. {:?}", bands.centers.first(), bands.centers.last()),
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
        )
    }

    /// `[bands]`, `[band_levels]`, `[unit_spectrum]`, `[gate]`.
    fn check_tables(&self) -> Result<(), Error> {
        if let Some(Bands { widths }) = &self.bands {
            let sum = widths
                .iter()
                .try_fold(0usize, |sum, w| sum.checked_add(*w))
                .filter(|_| widths.iter().all(|w| *w > 0));
            ensure(
                sum == Some(self.bins()) && self.features.is_none(),
                "bands.widths",
                format!("bins above 0, {} together, and no [features]", self.bins()),
                format!("{sum:?} together"),
            )?;
        }
        let kept = |keep: f32| keep > 0.0 && keep < 1.0;
        if let Some(levels) = &self.band_levels {
            ensure(
                kept(levels.smoothing)
                    && levels.step_db > 0.0
                    && levels.step_db.is_finite()
                    && levels.initial_db.iter().all(|db| db.is_finite())
                    && self.bands.is_some(),
                "band_levels",
                "[bands], `keep` between 0 and 1, `start_db` finite, `step_db` above 0",
                format!("{levels:?}"),
            )?;
        }
        if let Some(unit) = &self.unit_spectrum {
            ensure(
                kept(unit.smoothing)
                    && (1..=self.bins()).contains(&unit.bins)
                    && unit.initial.iter().all(|x| x.is_finite() && *x > 0.0),
                "unit_spectrum",
                format!(
                    "1 to {} bins, `keep` between 0 and 1, `start` above 0",
                    self.bins()
                ),
                format!("{unit:?}"),
            )?;
        }
        if let Some(Gate {
            noise_below_db,
            no_taps_above_db,
            clean_above_db,
        }) = self.gate
        {
            let has = |role| self.outputs().any(|t| t.role == role);
            let snr = has(Role::Snr);
            ensure(
                // A frame that was not made would be the last one again.
                snr && !has(Role::Windowed)
                    && noise_below_db < no_taps_above_db
                    && no_taps_above_db <= clean_above_db,
                "gate",
                "rising thresholds, an output with the role `snr`, none with `frame`",
                format!("{noise_below_db}, {no_taps_above_db}, {clean_above_db}, snr: {snr}"),
            )?;
        }
        Ok(())
    }

    fn check_graph(&self, graph: &GraphSpec, links: &[&TensorSpec]) -> Result<(), Error> {
        let file = &graph.file;
        ensure(
            !file.is_empty() && file != ".." && !file.contains(['/', '\\']),
            "graph.file",
            "the name of a file in the manifest's folder",
            file,
        )?;
        for tensor in graph.inputs.iter().chain(&graph.outputs) {
            let right = tensor.shape.iter().all(|axis| match axis {
                Axis::Size(size) => *size > 0,
                Axis::Symbol(name) => name == BATCH || name == HOPS,
            });
            let size = tensor
                .shape
                .iter()
                .try_fold(1usize, |all, axis| match axis {
                    Axis::Size(size) => all.checked_mul(*size),
                    Axis::Symbol(_) => Some(all),
                });
            ensure(
                right && size.is_some_and(|size| size < 1 << 28),
                &format!("graph, shape of `{}`", tensor.name),
                "sizes above 0, \"N\" for the batch, \"S\" for the hops",
                format!("{:?}", tensor.shape),
            )?;
        }
        for (side, list) in [
            ("graph.inputs", &graph.inputs),
            ("graph.outputs", &graph.outputs),
        ] {
            let mut unique: Vec<&str> = list.iter().map(|t| t.name.as_str()).collect();
            unique.sort_unstable();
            unique.dedup();
            ensure(
                unique.len() == list.len(),
                side,
                "every name once",
                format!("{:?}", list.iter().map(|t| &t.name).collect::<Vec<_>>()),
            )?;
            for tensor in list {
                self.check_tensor(side, tensor, links)?;
            }
        }
        check_states(graph)
    }

    /// That a tensor stands on the right side, and has as many numbers as its role needs.
    fn check_tensor(
        &self,
        side: &str,
        tensor: &TensorSpec,
        links: &[&TensorSpec],
    ) -> Result<(), Error> {
        use Role::{
            BandLevels, Features, Gain, Intermediate, LogPower, Magnitude, Snr, Spectrum, State,
            Taps, UnitSpectrum, Unused, Vad, Windowed,
        };
        let goes_in = side == "graph.inputs";
        let fits = match tensor.role {
            Features | BandLevels | UnitSpectrum | Magnitude | LogPower => goes_in,
            Gain | Taps | Vad | Snr | Unused => !goes_in,
            Spectrum | Windowed | Intermediate | State => true,
        };
        ensure(
            fits,
            side,
            "a role that belongs on this side",
            format!("{:?}", tensor.role),
        )?;
        let (bins, window) = (self.bins(), self.window());
        let expected = match tensor.role {
            Features => Some((self.feature_count(), "[features]")),
            BandLevels => {
                let bands = self.bands.as_ref().filter(|_| self.band_levels.is_some());
                Some((bands.map_or(0, |b| b.widths.len()), "[band_levels]"))
            }
            UnitSpectrum => Some((
                self.unit_spectrum.as_ref().map_or(0, |u| 2 * u.bins),
                "[unit_spectrum]",
            )),
            Spectrum => Some((2 * bins, "the bins")),
            Magnitude | LogPower => Some((bins, "the bins")),
            Windowed => Some((window, "the window")),
            Gain => Some((self.gain_count(), "the bands")),
            Vad | Snr => Some((1, "one number")),
            Taps => {
                let taps = tensor.taps().filter(|taps| {
                    (1..=MAX_TAP_ORDER).contains(&taps.order)
                        && (1..=bins).contains(&taps.bins)
                        && taps.ahead < taps.order
                        && taps.ahead <= self.lookahead()
                });
                Some((
                    taps.map_or(0, |t| t.order * 2 * t.bins),
                    "its `taps`: order to 16, bins to all, `ahead` to the lookahead",
                ))
            }
            Intermediate if goes_in => {
                let from = tensor.source.as_ref().unwrap_or(&tensor.name);
                let one = links.iter().filter(|link| link.name == *from).count() == 1;
                let size = links.iter().find(|link| link.name == *from);
                Some((
                    size.filter(|_| one).map_or(0, |link| link.elements()),
                    "one output of an earlier graph with the role `link`",
                ))
            }
            Intermediate | State | Unused => None,
        };
        if let Some((size, of)) = expected {
            let found = tensor.elements();
            ensure(
                size > 0 && found == size,
                &format!("{side}, `{}`, role {:?}", tensor.name, tensor.role),
                if size == 0 {
                    format!("what the role needs: {of}")
                } else {
                    format!("{size} numbers, from {of}")
                },
                format!("{found} numbers"),
            )?;
        }
        let complex = matches!(tensor.role, Spectrum | UnitSpectrum);
        ensure(
            tensor.layout.is_some() == complex,
            &format!("{side}, `{}`, layout", tensor.name),
            if complex {
                "a layout, for the role is complex"
            } else {
                "none for this role"
            },
            format!("{:?}", tensor.layout),
        )
    }

    /// That the graphs together make sound of sound.
    fn check_flow(&self) -> Result<(), Error> {
        let inputs = || self.graphs.iter().flat_map(|g| &g.inputs);
        let count = |role: Role| self.outputs().filter(|t| t.role == role).count();
        let hears = inputs().any(|t| !matches!(t.role, Role::State | Role::Intermediate));
        ensure(
            hears,
            "graph.inputs",
            "a tensor that hears the sound (`features`, `spectrum`, ...)",
            "states and links alone",
        )?;
        let makers = [Role::Gain, Role::Taps, Role::Spectrum, Role::Windowed];
        let found: Vec<_> = makers.iter().map(|role| (role, count(*role))).collect();
        let makes = |role| count(role) > 0;
        ensure(
            found.iter().all(|(_, n)| *n <= 1)
                && makers.into_iter().any(makes)
                && !(makes(Role::Spectrum) && (makes(Role::Gain) || makes(Role::Taps)))
                && count(Role::Vad) <= 1
                && count(Role::Snr) <= 1,
            "graph.outputs",
            "one `gain` with or without `taps`, or one `spectrum`, or one `frame`, each once",
            format!("{found:?}"),
        )?;
        // Bins above the taps need a gain.
        if let Some(taps) = self.taps() {
            ensure(
                makes(Role::Gain) || taps.bins == self.bins(),
                "graph.outputs, role Taps",
                format!("all {} bins, or a gain for the others", self.bins()),
                taps.bins,
            )?;
            ensure(
                taps.layout == TapLayout::NewestPartBin || taps.order > 1,
                "graph.outputs, role Taps",
                "an order above 1 for a layout with an order of hops",
                taps.order,
            )?;
        }
        // The frame stage comes last, and hears no future: its dry part has no such delay.
        let last = self.graphs.iter().rposition(|g| {
            let heard = [Role::Gain, Role::Taps, Role::Spectrum];
            g.outputs.iter().any(|t| heard.contains(&t.role))
        });
        let frame = self
            .graphs
            .iter()
            .position(|g| g.outputs.iter().any(|t| t.role == Role::Windowed));
        ensure(
            frame.is_none_or(|at| last.is_none_or(|last| last < at) && self.lookahead() == 0),
            "graph.outputs, role Windowed",
            "after every gain, taps and spectrum, with no lookahead",
            format!("graph {frame:?} of {}", self.graphs.len()),
        )?;
        let hears_frame = |g: &GraphSpec| g.inputs.iter().any(|t| t.role == Role::Windowed);
        let ears = self.graphs.iter().filter(|g| hears_frame(g)).count();
        ensure(
            ears == 0 || (ears == 1 && frame.is_some_and(|at| hears_frame(&self.graphs[at]))),
            "graph.inputs, role Windowed",
            "once, in the graph that gives a frame",
            format!("{ears} graphs, out of {frame:?}"),
        )
    }
}

fn check_states(graph: &GraphSpec) -> Result<(), Error> {
    let states = |list: &'_ [TensorSpec]| -> Vec<TensorSpec> {
        list.iter()
            .filter(|t| t.role == Role::State)
            .cloned()
            .collect()
    };
    let (into, out) = (states(&graph.inputs), states(&graph.outputs));
    for state in &into {
        ensure(
            state.initial.is_some_and(f32::is_finite) && state.source.is_none(),
            &format!("graph.inputs, state `{}`", state.name),
            "`initial`, a finite number, and no `of`",
            format!("initial {:?}, of {:?}", state.initial, state.source),
        )?;
        let nexts = out
            .iter()
            .filter(|next| next.source.as_ref() == Some(&state.name));
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
            .source
            .as_ref()
            .is_some_and(|of| into.iter().any(|s| s.name == *of));
        ensure(
            known && next.initial.is_none(),
            &format!("graph.outputs, state `{}`", next.name),
            "`of`, the name of a state that goes in, and no `initial`",
            format!("of {:?}, initial {:?}", next.source, next.initial),
        )?;
    }
    Ok(())
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
