//! The structures and numbers of the LADSPA 1.1 interface, as plugins and hosts share them.
//!
//! The layout and the values are those of `ladspa.h`, which <https://www.ladspa.org> describes.

use std::ffi::{c_char, c_int, c_ulong, c_void};

/// A plugin instance: a pointer that only the plugin reads.
pub type Handle = *mut c_void;

/// [`Descriptor::properties`]: `run` allocates nothing, calls nothing that waits, and takes a bounded time.
pub const PROPERTY_HARD_RT_CAPABLE: c_int = 0x4;

/// A port that the plugin reads.
pub const PORT_INPUT: c_int = 0x1;
/// A port that the plugin writes.
pub const PORT_OUTPUT: c_int = 0x2;
/// A port with one value for each block.
pub const PORT_CONTROL: c_int = 0x4;
/// A port with one value for each frame.
pub const PORT_AUDIO: c_int = 0x8;

/// [`PortRangeHint::lower`] is valid.
pub const HINT_BOUNDED_BELOW: c_int = 0x1;
/// [`PortRangeHint::upper`] is valid.
pub const HINT_BOUNDED_ABOVE: c_int = 0x2;
/// A switch: above 0 is on.
pub const HINT_TOGGLED: c_int = 0x4;
/// Only whole numbers.
pub const HINT_INTEGER: c_int = 0x20;
/// The default is the lower bound.
pub const HINT_DEFAULT_MINIMUM: c_int = 0x40;
/// The default is the middle between the bounds.
pub const HINT_DEFAULT_MIDDLE: c_int = 0xC0;
/// The default is 1.
pub const HINT_DEFAULT_1: c_int = 0x240;

/// The range of a port and how a host shows it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PortRangeHint {
    /// the `HINT_` bits
    pub hints: c_int,
    /// smallest value, with [`HINT_BOUNDED_BELOW`]
    pub lower: f32,
    /// largest value, with [`HINT_BOUNDED_ABOVE`]
    pub upper: f32,
}

/// A plugin: its names, its ports, and the functions that a host calls.
#[repr(C)]
#[derive(Debug)]
pub struct Descriptor {
    /// number of the plugin among all LADSPA plugins
    pub unique_id: c_ulong,
    /// name for programs
    pub label: *const c_char,
    /// the `PROPERTY_` bits
    pub properties: c_int,
    /// name for people
    pub name: *const c_char,
    /// who made the plugin
    pub maker: *const c_char,
    /// the license
    pub copyright: *const c_char,
    /// number of ports
    pub port_count: c_ulong,
    /// \[ports\] the `PORT_` bits
    pub port_descriptors: *const c_int,
    /// \[ports\]
    pub port_names: *const *const c_char,
    /// \[ports\]
    pub port_range_hints: *const PortRangeHint,
    /// not used
    pub implementation_data: *mut c_void,
    /// creates an instance for a sample rate in Hz; null after a failure
    pub instantiate: Option<unsafe extern "C" fn(*const Descriptor, c_ulong) -> Handle>,
    /// sets where the data of a port is
    pub connect_port: Option<unsafe extern "C" fn(Handle, c_ulong, *mut f32)>,
    /// empties an instance before the first block of a signal
    pub activate: Option<unsafe extern "C" fn(Handle)>,
    /// processes a block of this many frames
    pub run: Option<unsafe extern "C" fn(Handle, c_ulong)>,
    /// as `run`, and adds to the output
    pub run_adding: Option<unsafe extern "C" fn(Handle, c_ulong)>,
    /// sets the gain of `run_adding`
    pub set_run_adding_gain: Option<unsafe extern "C" fn(Handle, f32)>,
    /// ends a signal
    pub deactivate: Option<unsafe extern "C" fn(Handle)>,
    /// frees an instance
    pub cleanup: Option<unsafe extern "C" fn(Handle)>,
}
