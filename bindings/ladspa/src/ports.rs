//! The ports of both plugins: first the audio ports, then the controls, then the reports.
//!
//! Names, order and ranges are part of the interface: presets and configuration files contain them.

use std::ffi::{CStr, c_char, c_int};

use crate::abi::{
    HINT_BOUNDED_ABOVE, HINT_BOUNDED_BELOW, HINT_DEFAULT_1, HINT_DEFAULT_MIDDLE,
    HINT_DEFAULT_MINIMUM, HINT_INTEGER, HINT_TOGGLED, PORT_AUDIO, PORT_CONTROL, PORT_INPUT,
    PORT_OUTPUT, PortRangeHint,
};

/// Largest value of the port "Attenuation (dB)". The default is half of it.
pub(crate) const MAX_ATTENUATION_DB: f32 = 80.0;
/// Largest value of the port "Level".
pub(crate) const MAX_LEVEL: f32 = 4.0;
/// Largest value of the port "Model".
pub(crate) const MAX_MODEL: f32 = 1.0;

/// Input control ports of each plugin.
pub(crate) const CONTROLS: usize = 4;
/// Output control ports of each plugin.
pub(crate) const REPORTS: usize = 3;
/// Index of the report whose port is "latency".
pub(crate) const LATENCY: usize = 0;

/// Ports of a plugin with this many channels.
pub(crate) const fn port_count(channels: usize) -> usize {
    2 * channels + CONTROLS + REPORTS
}

pub(crate) struct Port {
    kind: c_int,
    name: &'static CStr,
    range: PortRangeHint,
}

const fn port(kind: c_int, name: &'static CStr, hints: c_int, lower: f32, upper: f32) -> Port {
    let range = PortRangeHint {
        hints,
        lower,
        upper,
    };
    Port { kind, name, range }
}

const fn audio(kind: c_int, name: &'static CStr) -> Port {
    port(kind | PORT_AUDIO, name, 0, 0.0, 0.0)
}

const BOUNDED: c_int = HINT_BOUNDED_BELOW | HINT_BOUNDED_ABOVE;
const CONTROL: c_int = PORT_INPUT | PORT_CONTROL;
const REPORT: c_int = PORT_OUTPUT | PORT_CONTROL;

const ATTENUATION: Port = port(
    CONTROL,
    c"Attenuation (dB)",
    BOUNDED | HINT_DEFAULT_MIDDLE,
    0.0,
    MAX_ATTENUATION_DB,
);
const LEVEL: Port = port(
    CONTROL,
    c"Level",
    BOUNDED | HINT_INTEGER | HINT_DEFAULT_MINIMUM,
    0.0,
    MAX_LEVEL,
);
const ON: Port = port(CONTROL, c"On", HINT_TOGGLED | HINT_DEFAULT_1, 0.0, 1.0);
const MODEL: Port = port(
    CONTROL,
    c"Model",
    BOUNDED | HINT_INTEGER | HINT_DEFAULT_MINIMUM,
    0.0,
    MAX_MODEL,
);
/// Hosts find the latency by this name.
const LATENCY_FRAMES: Port = port(
    REPORT,
    c"latency",
    HINT_BOUNDED_BELOW | HINT_INTEGER,
    0.0,
    0.0,
);
const SNR: Port = port(REPORT, c"SNR (dB)", BOUNDED, -30.0, 60.0);
const SPEECH: Port = port(REPORT, c"Speech", BOUNDED, 0.0, 1.0);

pub(crate) const MONO: [Port; port_count(1)] = [
    audio(PORT_INPUT, c"Input"),
    audio(PORT_OUTPUT, c"Output"),
    ATTENUATION,
    LEVEL,
    ON,
    MODEL,
    LATENCY_FRAMES,
    SNR,
    SPEECH,
];

pub(crate) const STEREO: [Port; port_count(2)] = [
    audio(PORT_INPUT, c"Input (Left)"),
    audio(PORT_INPUT, c"Input (Right)"),
    audio(PORT_OUTPUT, c"Output (Left)"),
    audio(PORT_OUTPUT, c"Output (Right)"),
    ATTENUATION,
    LEVEL,
    ON,
    MODEL,
    LATENCY_FRAMES,
    SNR,
    SPEECH,
];

/// Kinds, names and ranges of ports in the arrays of a descriptor.
pub(crate) struct PortTables<const N: usize> {
    pub(crate) kinds: [c_int; N],
    pub(crate) names: [*const c_char; N],
    pub(crate) ranges: [PortRangeHint; N],
}

// SAFETY: the pointers are to constant texts.
unsafe impl<const N: usize> Sync for PortTables<N> {}

impl<const N: usize> PortTables<N> {
    pub(crate) const fn new(ports: &[Port; N]) -> Self {
        let mut tables = Self {
            kinds: [0; N],
            names: [std::ptr::null(); N],
            ranges: [ports[0].range; N],
        };
        let mut at = 0;
        while at < N {
            tables.kinds[at] = ports[at].kind;
            tables.names[at] = ports[at].name.as_ptr();
            tables.ranges[at] = ports[at].range;
            at += 1;
        }
        tables
    }
}
