//! The rules of the graphs together: audio in, audio out.

use super::require::require;
use crate::error::Error;
use crate::manifest::raw::RawManifest;
use crate::manifest::tensors::{GraphSpec, Role, TapLayout};

pub(super) fn check(raw: &RawManifest) -> Result<(), Error> {
    check_inputs(raw)?;
    check_outputs(raw)?;
    check_taps(raw)?;
    check_windowed(raw)
}

/// At least one input must depend on the audio.
fn check_inputs(raw: &RawManifest) -> Result<(), Error> {
    let mut inputs = raw.graphs.iter().flat_map(|g| &g.inputs);
    let has_audio = inputs.any(|t| !matches!(t.role, Role::State | Role::Intermediate));
    require(
        has_audio,
        "graph.inputs",
        "an input with a role like features, spectrum or magnitude",
        "only the roles state and intermediate",
    )
}

/// The outputs must determine the output spectrum or samples once.
fn check_outputs(raw: &RawManifest) -> Result<(), Error> {
    use Role::{Gain, Snr, Spectrum, Taps, Vad, Windowed};
    for role in [Gain, Taps, Spectrum, Windowed, Vad, Snr] {
        let count = raw.outputs().filter(|t| t.role == role).count();
        let field = format!("graph.outputs, role {}", role.name());
        require(count <= 1, &field, "at most one output", format!("{count}"))?;
    }
    let has = |role| raw.has_output(role);
    let is_mask = has(Gain) || has(Taps);
    require(
        is_mask || has(Spectrum) || has(Windowed),
        "graph.outputs",
        "an output with the role gain, taps, spectrum or windowed",
        "none",
    )?;
    require(
        !(is_mask && has(Spectrum)),
        "graph.outputs",
        "gain and taps, or a spectrum",
        "both",
    )
}

/// The bins above the filter must have a gain.
fn check_taps(raw: &RawManifest) -> Result<(), Error> {
    let Some(taps) = raw.taps() else {
        return Ok(());
    };
    let field = "graph.outputs, role taps";
    require(
        raw.has_output(Role::Gain) || taps.bins == raw.bins(),
        field,
        format!("all {} bins, or an output with the role gain", raw.bins()),
        format!("{} bins", taps.bins),
    )?;
    require(
        taps.layout == TapLayout::NewestPartBin || taps.order > 1,
        field,
        "an order above 1 for the layout bin-oldest-part",
        taps.order,
    )
}

/// Samples of a window must come last and cannot have a lookahead: the attenuation limit mixes them
/// with the undelayed input.
fn check_windowed(raw: &RawManifest) -> Result<(), Error> {
    let takes = |graph: &GraphSpec| graph.inputs.iter().any(|t| t.role == Role::Windowed);
    let gives = |graph: &GraphSpec| graph.outputs.iter().any(|t| t.role == Role::Windowed);
    let gives_spectrum = |graph: &GraphSpec| {
        let mut outputs = graph.outputs.iter();
        outputs.any(|t| matches!(t.role, Role::Gain | Role::Taps | Role::Spectrum))
    };
    let windowed = raw.graphs.iter().position(gives);
    if let Some(windowed) = windowed {
        let field = "graph.outputs, role windowed";
        let last = raw.graphs.iter().rposition(gives_spectrum);
        require(
            last.is_none_or(|last| last < windowed),
            field,
            "a graph after those with the roles gain, taps and spectrum",
            format!("graph {} of {}", windowed + 1, raw.graphs.len()),
        )?;
        require(
            raw.front_end.lookahead == 0,
            field,
            "no lookahead",
            format!("{} hops", raw.front_end.lookahead),
        )?;
    }
    let field = "graph.inputs, role windowed";
    let takers: Vec<_> = (0..raw.graphs.len())
        .filter(|at| takes(&raw.graphs[*at]))
        .collect();
    require(
        takers.is_empty() || windowed.is_some_and(|windowed| takers == [windowed]),
        field,
        "this role only in the graph with an output of the role windowed",
        format!("it in {} graphs", takers.len()),
    )
}
