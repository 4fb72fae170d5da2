//! What a host reads before it makes an instance. Presets and files of users contain these names and numbers:
//! they never change.

use std::ffi::{CStr, c_char};

use quietwire_ladspa::abi::{
    HINT_BOUNDED_ABOVE, HINT_BOUNDED_BELOW, HINT_DEFAULT_1, HINT_DEFAULT_MIDDLE,
    HINT_DEFAULT_MINIMUM, HINT_INTEGER, HINT_TOGGLED, PORT_AUDIO, PORT_CONTROL, PORT_INPUT,
    PORT_OUTPUT, PROPERTY_HARD_RT_CAPABLE,
};
use quietwire_ladspa::ladspa_descriptor;

use crate::host::descriptor;

fn text(text: *const c_char) -> &'static str {
    // SAFETY: the texts of a descriptor end with NUL and live forever.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap()
}

#[test]
fn the_library_has_two_plugins() {
    for index in [2, 3, std::ffi::c_ulong::MAX] {
        assert!(ladspa_descriptor(index).is_null());
    }
    let plugins = [descriptor(1), descriptor(2)];
    let names = plugins.map(|plugin| (plugin.unique_id, text(plugin.label)));
    assert_eq!(
        names,
        [
            (5_330_689, "quietwire_mono"),
            (5_330_690, "quietwire_stereo")
        ]
    );
    for plugin in plugins {
        assert_eq!(plugin.properties, PROPERTY_HARD_RT_CAPABLE);
        assert!(text(plugin.name).contains("noise suppressor"));
        assert!(!text(plugin.maker).is_empty() && text(plugin.copyright).contains("MIT"));
        assert!(plugin.instantiate.is_some() && plugin.connect_port.is_some());
        assert!(plugin.activate.is_some() && plugin.run.is_some() && plugin.cleanup.is_some());
    }
}

#[test]
fn ports_have_these_names_and_ranges() {
    let bounded = HINT_BOUNDED_BELOW | HINT_BOUNDED_ABOVE;
    let integer = bounded | HINT_INTEGER | HINT_DEFAULT_MINIMUM;
    let input = PORT_INPUT | PORT_CONTROL;
    let output = PORT_OUTPUT | PORT_CONTROL;
    let controls = [
        (
            input,
            "Attenuation (dB)",
            bounded | HINT_DEFAULT_MIDDLE,
            0.0,
            80.0,
        ),
        (input, "Level", integer, 0.0, 4.0),
        (input, "On", HINT_TOGGLED | HINT_DEFAULT_1, 0.0, 1.0),
        (input, "Model", integer, 0.0, 1.0),
        (
            output,
            "latency",
            HINT_BOUNDED_BELOW | HINT_INTEGER,
            0.0,
            0.0,
        ),
        (output, "SNR (dB)", bounded, -30.0, 60.0),
        (output, "Speech", bounded, 0.0, 1.0),
    ];
    let from = |name| (PORT_INPUT | PORT_AUDIO, name, 0, 0.0, 0.0);
    let to = |name| (PORT_OUTPUT | PORT_AUDIO, name, 0, 0.0, 0.0);
    let mono = [from("Input"), to("Output")];
    let stereo = [
        from("Input (Left)"),
        from("Input (Right)"),
        to("Output (Left)"),
        to("Output (Right)"),
    ];
    for (channels, audio) in [(1, &mono[..]), (2, &stereo[..])] {
        let plugin = descriptor(channels);
        let expected: Vec<_> = audio.iter().chain(&controls).copied().collect();
        assert_eq!(plugin.port_count as usize, expected.len());
        for (at, expected) in expected.into_iter().enumerate() {
            // SAFETY: the arrays have an entry for each port.
            let (kind, name, range) = unsafe {
                (
                    *plugin.port_descriptors.add(at),
                    text(*plugin.port_names.add(at)),
                    *plugin.port_range_hints.add(at),
                )
            };
            let found = (kind, name, range.hints, range.lower, range.upper);
            assert_eq!(found, expected);
        }
    }
}
