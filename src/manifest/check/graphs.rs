//! The rules of each graph and its tensors.

use super::require::{require, require_in_range};
use crate::error::Error;
use crate::manifest::raw::RawManifest;
use crate::manifest::tensors::{Axis, BATCH, GraphSpec, HOPS, Role, TensorSpec};

const MAX_GRAPHS: usize = 8;
/// Hops.
const MAX_TAP_ORDER: usize = 16;
/// Elements of a tensor.
const MAX_ELEMENTS: usize = (1 << 28) - 1;

/// The side of a graph.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Inputs,
    Outputs,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Inputs => "graph.inputs",
            Self::Outputs => "graph.outputs",
        }
    }
}

pub(super) fn check(raw: &RawManifest) -> Result<(), Error> {
    require_in_range(
        "graph, number of tables",
        raw.graphs.len(),
        &(1..=MAX_GRAPHS),
    )?;
    let mut intermediates: Vec<&TensorSpec> = Vec::new();
    for graph in &raw.graphs {
        check_file(&graph.file)?;
        for (side, tensors) in [
            (Side::Inputs, &graph.inputs),
            (Side::Outputs, &graph.outputs),
        ] {
            check_names(side, tensors)?;
            for tensor in tensors {
                check_shape(tensor)?;
                check_role(side, tensor)?;
                check_length(side, tensor, raw, &intermediates)?;
                check_layout(side, tensor)?;
            }
        }
        check_states(graph)?;
        let outputs = graph.outputs.iter();
        intermediates.extend(outputs.filter(|t| t.role == Role::Intermediate));
    }
    Ok(())
}

/// The file must be in the folder of the manifest.
fn check_file(file: &str) -> Result<(), Error> {
    require(
        !file.is_empty() && file != ".." && !file.contains(['/', '\\']),
        "graph.file",
        "the name of a file in the folder of the manifest",
        format!("`{file}`"),
    )
}

fn check_names(side: Side, tensors: &[TensorSpec]) -> Result<(), Error> {
    for (at, tensor) in tensors.iter().enumerate() {
        let is_repeated = tensors[..at].iter().any(|t| t.name == tensor.name);
        require(
            !is_repeated,
            side.name(),
            "different names",
            format!("`{}` twice", tensor.name),
        )?;
    }
    Ok(())
}

fn check_shape(tensor: &TensorSpec) -> Result<(), Error> {
    let is_valid = tensor.shape.iter().all(|axis| match axis {
        Axis::Size(size) => *size > 0,
        Axis::Symbol(name) => name == BATCH || name == HOPS,
    });
    let mut axes = tensor.shape.iter();
    let elements = axes.try_fold(1usize, |elements, axis| match axis {
        Axis::Size(size) => elements.checked_mul(*size),
        Axis::Symbol(_) => Some(elements),
    });
    require(
        is_valid && elements.is_some_and(|elements| elements <= MAX_ELEMENTS),
        &format!("graph, shape of `{}`", tensor.name),
        format!(
            "sizes above 0, \"{BATCH}\" for the batch or \"{HOPS}\" for the hops, at most {MAX_ELEMENTS} elements"
        ),
        shape_text(tensor),
    )
}

fn shape_text(tensor: &TensorSpec) -> String {
    let axes = tensor.shape.iter().map(|axis| match axis {
        Axis::Size(size) => size.to_string(),
        Axis::Symbol(name) => format!("\"{name}\""),
    });
    format!("[{}]", axes.collect::<Vec<_>>().join(", "))
}

/// The role must exist on this side of a graph.
fn check_role(side: Side, tensor: &TensorSpec) -> Result<(), Error> {
    use Role::{
        BandLevels, Features, Gain, Intermediate, LogPower, Magnitude, Snr, Spectrum, State, Taps,
        UnitSpectrum, Unused, Vad, Windowed,
    };
    let (fits, expected) = match tensor.role {
        Features | BandLevels | UnitSpectrum | Magnitude | LogPower => {
            (side == Side::Inputs, "this role only for an input")
        }
        Gain | Taps | Vad | Snr | Unused => (side == Side::Outputs, "this role only for an output"),
        Spectrum | Windowed | Intermediate | State => (true, ""),
    };
    let found = match side {
        Side::Inputs => "an input",
        Side::Outputs => "an output",
    };
    require(fits, &field(side, tensor), expected, found)
}

fn field(side: Side, tensor: &TensorSpec) -> String {
    let (side, role) = (side.name(), tensor.role.name());
    format!("{side}, `{}`, role {role}", tensor.name)
}

/// The number of elements must be that of the role. `intermediates`: outputs of earlier graphs.
fn check_length(
    side: Side,
    tensor: &TensorSpec,
    raw: &RawManifest,
    intermediates: &[&TensorSpec],
) -> Result<(), Error> {
    let bins = raw.bins();
    // The number of elements, 0 where what determines it is missing, and what determines it.
    let (elements, origin) = match tensor.role {
        Role::Features => (raw.feature_count(), "[features]"),
        Role::BandLevels => {
            let bands = raw.bands.as_ref().filter(|_| raw.band_levels.is_some());
            let count = bands.map_or(0, |bands| bands.widths.len());
            (count, "[band_levels] and [bands]")
        }
        Role::UnitSpectrum => {
            let bins = raw.unit_spectrum.as_ref().map_or(0, |unit| unit.bins);
            (2 * bins, "[unit_spectrum]")
        }
        Role::Spectrum => (2 * bins, "the transform"),
        Role::Magnitude | Role::LogPower => (bins, "the transform"),
        Role::Windowed => (raw.front_end.window, "the window"),
        Role::Gain => (raw.gain_count(), "the bands"),
        Role::Vad | Role::Snr => (1, "one number"),
        Role::Taps => return check_taps(side, tensor, raw),
        Role::Intermediate if side == Side::Inputs => {
            return check_intermediate(side, tensor, intermediates);
        }
        Role::Intermediate | Role::State | Role::Unused => return Ok(()),
    };
    let field = field(side, tensor);
    require(elements > 0, &field, origin, "none")?;
    check_elements(&field, tensor, elements, origin)
}

fn check_elements(
    field: &str,
    tensor: &TensorSpec,
    elements: usize,
    origin: &str,
) -> Result<(), Error> {
    require(
        tensor.elements() == elements,
        field,
        format!("{elements} elements, from {origin}"),
        format!("{} elements", tensor.elements()),
    )
}

fn check_taps(side: Side, tensor: &TensorSpec, raw: &RawManifest) -> Result<(), Error> {
    let field = field(side, tensor);
    let taps = tensor.taps().filter(|taps| {
        (1..=MAX_TAP_ORDER).contains(&taps.order)
            && (1..=raw.bins()).contains(&taps.bins)
            && taps.ahead < taps.order
            && taps.ahead <= raw.front_end.lookahead
    });
    let Some(taps) = taps else {
        return require(
            false,
            &field,
            format!(
                "an order from 1 to {MAX_TAP_ORDER}, 1 to {} bins, and `ahead` below the order and \
                 at most the lookahead, {}",
                raw.bins(),
                raw.front_end.lookahead
            ),
            tensor.taps().map_or("no filter".into(), |taps| {
                let (order, bins, ahead) = (taps.order, taps.bins, taps.ahead);
                format!("the order {order}, {bins} bins and `ahead` {ahead}")
            }),
        );
    };
    check_elements(&field, tensor, taps.order * 2 * taps.bins, "its filter")
}

/// An intermediate input must be one output of an earlier graph.
fn check_intermediate(
    side: Side,
    tensor: &TensorSpec,
    intermediates: &[&TensorSpec],
) -> Result<(), Error> {
    let field = field(side, tensor);
    let name = tensor.source.as_ref().unwrap_or(&tensor.name);
    let sources: Vec<_> = intermediates.iter().filter(|t| t.name == *name).collect();
    let [source] = sources[..] else {
        return require(
            false,
            &field,
            format!("one output `{name}` of an earlier graph with the role intermediate"),
            format!("{} outputs", sources.len()),
        );
    };
    check_elements(
        &field,
        tensor,
        source.elements(),
        "the output of the earlier graph",
    )
}

/// Complex tensors, and only these, must have a layout.
fn check_layout(side: Side, tensor: &TensorSpec) -> Result<(), Error> {
    let is_complex = matches!(tensor.role, Role::Spectrum | Role::UnitSpectrum);
    let (expected, found) = if is_complex {
        ("a layout for this complex tensor", "none")
    } else {
        ("no layout for this role", "one")
    };
    let field = format!("{}, layout", field(side, tensor));
    require(
        tensor.layout.is_some() == is_complex,
        &field,
        expected,
        found,
    )
}

/// Every state must have an initial value, and one output of the same shape.
fn check_states(graph: &GraphSpec) -> Result<(), Error> {
    let inputs = || graph.inputs.iter().filter(|t| t.role == Role::State);
    let outputs = || graph.outputs.iter().filter(|t| t.role == Role::State);
    for state in inputs() {
        let field = field(Side::Inputs, state);
        require(
            state.initial.is_some_and(f32::is_finite),
            &field,
            "`initial`, a finite number",
            state.initial.map_or("none".into(), |x| x.to_string()),
        )?;
        if let Some(source) = &state.source {
            return require(false, &field, "no `source`", format!("`{source}`"));
        }
        let nexts = outputs().filter(|next| next.source.as_ref() == Some(&state.name));
        let nexts: Vec<_> = nexts.collect();
        let shapes = nexts.iter().map(|next| shape_text(next));
        require(
            matches!(nexts[..], [next] if next.shape == state.shape),
            &field,
            format!(
                "one output with `source = \"{}\"` and the shape {}",
                state.name,
                shape_text(state)
            ),
            match nexts.len() {
                0 => "none".into(),
                _ => format!("outputs of {}", shapes.collect::<Vec<_>>().join(", ")),
            },
        )?;
    }
    for next in outputs() {
        let field = field(Side::Outputs, next);
        let source = next.source.as_ref();
        require(
            source.is_some_and(|source| inputs().any(|state| state.name == *source)),
            &field,
            "`source`, the name of an input with the role state",
            source.map_or("none".into(), |source| format!("`{source}`")),
        )?;
        if let Some(initial) = next.initial {
            return require(false, &field, "no `initial`", initial);
        }
    }
    Ok(())
}
