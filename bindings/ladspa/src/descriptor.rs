//! The two plugins of the library.

use std::ffi::{CStr, c_ulong};

use crate::abi::{Descriptor, PROPERTY_HARD_RT_CAPABLE};
use crate::instance::{activate, cleanup, connect_port, instantiate, run};
use crate::ports::{MONO, PortTables, STEREO, port_count};

static MONO_PORTS: PortTables<{ port_count(1) }> = PortTables::new(&MONO);
static STEREO_PORTS: PortTables<{ port_count(2) }> = PortTables::new(&STEREO);

/// The numbers are not in the register of ladspa.org. They never change.
static PLUGINS: Plugins = Plugins([
    plugin::<1, _>(
        5_330_689,
        c"quietwire_mono",
        c"Quietwire noise suppressor (mono)",
        &MONO_PORTS,
    ),
    plugin::<2, _>(
        5_330_690,
        c"quietwire_stereo",
        c"Quietwire noise suppressor (stereo, linked)",
        &STEREO_PORTS,
    ),
]);

struct Plugins([Descriptor; 2]);

// SAFETY: the pointers are to constant texts and arrays.
unsafe impl Sync for Plugins {}

const fn plugin<const CHANNELS: usize, const PORTS: usize>(
    unique_id: c_ulong,
    label: &'static CStr,
    name: &'static CStr,
    ports: &'static PortTables<PORTS>,
) -> Descriptor {
    Descriptor {
        unique_id,
        label: label.as_ptr(),
        properties: PROPERTY_HARD_RT_CAPABLE,
        name: name.as_ptr(),
        maker: c"The quietwire developers".as_ptr(),
        copyright: c"MIT OR Apache-2.0".as_ptr(),
        port_count: PORTS as c_ulong,
        port_descriptors: ports.kinds.as_ptr(),
        port_names: ports.names.as_ptr(),
        port_range_hints: ports.ranges.as_ptr(),
        implementation_data: std::ptr::null_mut(),
        instantiate: Some(instantiate::<CHANNELS>),
        connect_port: Some(connect_port),
        activate: Some(activate),
        run: Some(run),
        run_adding: None,
        set_run_adding_gain: None,
        deactivate: None,
        cleanup: Some(cleanup),
    }
}

/// The function that hosts look up: the plugin with this index, mono, then stereo, then null.
#[unsafe(no_mangle)]
pub extern "C" fn ladspa_descriptor(index: c_ulong) -> *const Descriptor {
    let plugin = usize::try_from(index).ok().and_then(|at| PLUGINS.0.get(at));
    plugin.map_or(std::ptr::null(), std::ptr::from_ref)
}
