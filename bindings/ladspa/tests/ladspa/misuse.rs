//! Hosts that do what they should not, or what few do: nothing ends the process, and the sound goes on.

use std::ptr::null_mut;

use quietwire_testing::signal::voice;

use crate::host::{Host, descriptor, planes};

#[test]
fn rates_out_of_range_give_no_instance() {
    for channels in [1, 2] {
        let plugin = descriptor(channels);
        for rate_hz in [0, 1, 7_999, 192_001, 384_000, std::ffi::c_ulong::MAX] {
            // SAFETY: the descriptor is that of the function.
            let handle = unsafe { plugin.instantiate.unwrap()(plugin, rate_hz) };
            assert!(handle.is_null(), "{rate_hz} Hz");
        }
    }
}

#[test]
fn a_null_instance_does_nothing() {
    let plugin = descriptor(1);
    let mut value = 0.0;
    // SAFETY: null.
    unsafe {
        plugin.connect_port.unwrap()(null_mut(), 0, &raw mut value);
        plugin.activate.unwrap()(null_mut());
        plugin.run.unwrap()(null_mut(), 64);
        plugin.cleanup.unwrap()(null_mut());
    }
}

#[test]
fn ports_without_data_are_left_out() {
    let channels = 2;
    let ports = descriptor(channels).port_count as usize;
    let host = Host::new(channels, 48_000);
    for port in 0..ports {
        host.connect(port, null_mut());
    }
    for port in [ports, ports + 1, usize::MAX] {
        host.connect(port, null_mut());
    }
    host.activate();
    host.run_connected(5_000);

    // Audio first, controls later: the defaults until then.
    let signal = voice(48_000, channels, 1.0, 2);
    let complete = Host::new(channels, 48_000);
    let mut expected = planes(&signal, channels);
    complete.run(&mut expected);
    host.activate();
    let mut found = planes(&signal, channels);
    host.run(&mut found);
    assert!(found == expected);

    // One output alone has the same sound.
    host.activate();
    let mut left = planes(&signal, channels).swap_remove(0);
    let mut right = planes(&signal, channels).swap_remove(1);
    host.connect(0, left.as_mut_ptr());
    host.connect(1, right.as_mut_ptr());
    host.connect(2, left.as_mut_ptr());
    host.connect(3, null_mut());
    host.run_connected(left.len());
    assert!(left == expected[0] && right == planes(&signal, channels)[1]);

    // A report that is connected in the middle of a signal.
    let mut latency = -1.0;
    host.connect(2 * channels + 4, &raw mut latency);
    host.run_connected(0);
    assert_eq!(latency as usize, complete.latency());
}

#[test]
fn ports_may_share_their_memory() {
    let frames = 3_000;
    let left: Vec<f32> = voice(48_000, 1, 1.0, 2)[..frames].to_vec();
    let right: Vec<f32> = voice(48_000, 1, 1.0, 9)[..frames].to_vec();
    let mut expected = [left.clone(), right.clone()];
    Host::new(2, 48_000).run(&mut expected);

    // In place, with the outputs exchanged.
    let (mut a, mut b) = (left.clone(), right.clone());
    let host = Host::new(2, 48_000);
    host.connect(0, a.as_mut_ptr());
    host.connect(1, b.as_mut_ptr());
    host.connect(2, b.as_mut_ptr());
    host.connect(3, a.as_mut_ptr());
    host.run_connected(frames);
    assert!(b == expected[0] && a == expected[1]);

    // Both outputs are discarded into one buffer.
    let mut discarded = vec![0.0; frames];
    host.activate();
    let (mut a, mut b) = (left, right);
    host.connect(0, a.as_mut_ptr());
    host.connect(1, b.as_mut_ptr());
    host.connect(2, discarded.as_mut_ptr());
    host.connect(3, discarded.as_mut_ptr());
    host.run_connected(frames);
    assert!(discarded == expected[1]);
}

#[test]
fn samples_and_controls_of_any_value_give_finite_output() {
    let hostile = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        1e-42,
        -1e-45,
        f32::MIN_POSITIVE,
        0.5,
    ];
    for rate_hz in [48_000, 16_000] {
        let mut host = Host::new(1, rate_hz);
        for (n, control) in hostile.iter().chain(&[-5.0, 2.0]).enumerate() {
            host.controls.fill(*control);
            let sample = |at: usize| hostile[(at * 7 + n) % hostile.len()];
            let mut block = [(0..4_800).map(sample).collect::<Vec<f32>>()];
            host.run(&mut block);
            assert!(block[0].iter().all(|x| x.is_finite() && x.abs() <= 128.0));
            assert!(host.reports.iter().all(|x| x.is_finite()));
        }
    }
    // After them, the sound of a new instance.
    let mut host = Host::new(1, 48_000);
    host.run(&mut [vec![f32::NAN; 48_000]]);
    host.controls[0] = f32::NAN;
    host.activate();
    let mut found = [voice(48_000, 1, 0.5, 2)];
    let mut expected = found.clone();
    host.run(&mut found);
    Host::new(1, 48_000).run(&mut expected);
    assert!(found == expected);
}
