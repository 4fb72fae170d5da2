//! The output is that of the core, bit for bit, whatever the host does with its blocks.

use quietwire::{AttenuationLimit, ChannelMode, Denoiser, DenoiserOptions, Model, Strength};
use quietwire_testing::signal::voice;

use crate::host::{Controls, DEFAULTS, Host, planes};

/// Lengths of blocks in their order, again and again: hosts may change them.
const BLOCKS: [usize; 8] = [480, 1, 64, 0, 1024, 33, 441, 8192];

/// The stream of the core that a plugin is equal to.
fn core(channels: usize, rate_hz: u32) -> Denoiser {
    let models = ["base", "tiny"].map(|id| Model::embedded(id).unwrap());
    let mut options = DenoiserOptions::default();
    options.rate_hz = Some(rate_hz);
    options.channels = channels;
    options.channel_mode = ChannelMode::Linked;
    Denoiser::new(&models, &options).unwrap()
}

/// Runs a host and a stream of the core over the same signal, and requires equal bits. `change` sets the
/// controls of the host, and the same for the core, before the block with this number.
fn require_equal(
    channels: usize,
    rate_hz: u32,
    seconds: f32,
    mut change: impl FnMut(usize, &mut Controls, &mut Denoiser),
) {
    let mut host = Host::new(channels, rate_hz);
    let mut core = core(channels, rate_hz);
    assert_eq!(host.latency(), core.latency(), "known after activate");
    let signal = voice(rate_hz, channels, seconds, 7);
    let (mut at, mut number, mut speech) = (0, 0, false);
    while at < signal.len() {
        let len = (BLOCKS[number % BLOCKS.len()] * channels).min(signal.len() - at);
        let mut expected = signal[at..at + len].to_vec();
        let mut found = planes(&expected, channels);
        change(number, &mut host.controls, &mut core);
        host.run(&mut found);
        core.process_in_place(&mut expected).unwrap();
        let expected = planes(&expected, channels);
        assert!(found == expected, "{channels} x {rate_hz} Hz, frame {at}");
        let telemetry = core.telemetry();
        let expected_speech = telemetry.speech_probability.unwrap_or(0.0);
        let reports = [core.latency() as f32, telemetry.snr_db, expected_speech];
        assert_eq!(*host.reports, reports);
        speech |= expected_speech > 0.5;
        at += len;
        number += 1;
    }
    assert!(speech, "speech is reported");
}

#[test]
fn blocks_of_any_length_at_any_rate_equal_the_core() {
    for rate_hz in [8_000, 16_000, 44_100, 47_999, 48_000, 96_000, 192_000] {
        for channels in [1, 2] {
            require_equal(channels, rate_hz, 1.0, |_, _, _| {});
        }
    }
}

#[test]
fn controls_act_between_blocks_as_the_settings_of_the_core() {
    for rate_hz in [48_000, 44_100] {
        require_equal(1, rate_hz, 4.0, |block, controls, core| match block {
            16 => {
                controls[0] = 10.0;
                core.set_attenuation(10.0).unwrap();
            }
            24 => {
                controls[3] = 1.0;
                core.set_model(1).unwrap();
            }
            56 => {
                controls[1] = 2.0;
                core.set_attenuation(Strength::Medium).unwrap();
            }
            72 => {
                controls[2] = 0.0;
                core.set_bypass(true);
            }
            88 => {
                controls[2] = 1.0;
                core.set_bypass(false);
            }
            96 => {
                controls[1] = 4.0;
                core.set_attenuation(AttenuationLimit::Unlimited).unwrap();
            }
            _ => {}
        });
    }
}

#[test]
fn the_latency_port_is_the_delay_of_an_impulse() {
    for rate_hz in [8_000, 11_025, 16_000, 44_100, 48_000, 96_000] {
        for channels in [1, 2] {
            let mut host = Host::new(channels, rate_hz);
            // Off from the first frame: nothing fades.
            host.controls[2] = 0.0;
            let mut block = vec![vec![0.0; rate_hz as usize / 4]; channels];
            let position = 100;
            for plane in &mut block {
                plane[position] = 1.0;
            }
            host.run(&mut block);
            for plane in &block {
                for (at, sample) in plane.iter().enumerate() {
                    let expected = f32::from(at == position + host.latency());
                    assert_eq!(*sample, expected, "{rate_hz} Hz, frame {at}");
                }
            }
        }
    }
}

#[test]
fn speech_is_delayed_by_the_latency_port_while_the_model_runs() {
    for rate_hz in [8_000, 44_100, 48_000] {
        let host = Host::new(1, rate_hz);
        let signal = voice(rate_hz, 1, 2.0, 7);
        let mut block = [signal.clone()];
        host.run(&mut block);
        let correlation = |delay: usize| -> f64 {
            let pairs = block[0][delay..].iter().zip(&signal);
            pairs.map(|(out, x)| f64::from(*out) * f64::from(*x)).sum()
        };
        let delays = 0..2 * host.latency();
        let best = delays.max_by(|a, b| correlation(*a).total_cmp(&correlation(*b)));
        assert_eq!(best, Some(host.latency()), "{rate_hz} Hz");
    }
}

#[test]
fn an_activated_instance_equals_a_new_one() {
    for controls in [DEFAULTS, [40.0, 1.0, 1.0, 1.0], [40.0, 0.0, 0.0, 0.0]] {
        let mut used = Host::new(2, 44_100);
        let signal = voice(44_100, 2, 0.5, 3);
        used.run(&mut planes(&signal, 2));
        let mut new = Host::new(2, 44_100);
        *used.controls = controls;
        *new.controls = controls;
        used.activate();
        let mut found = planes(&signal, 2);
        let mut expected = found.clone();
        used.run(&mut found);
        new.run(&mut expected);
        assert!(found == expected, "{controls:?}");
    }
}

#[test]
fn a_hundred_instances_in_one_process_equal_one_alone() {
    let signal = voice(48_000, 1, 0.3, 5);
    let mut expected = signal.clone();
    core(1, 48_000).process_in_place(&mut expected).unwrap();
    let hosts: Vec<Host> = (0..100).map(|_| Host::new(1, 48_000)).collect();
    for (input, expected) in signal.chunks(960).zip(expected.chunks(960)) {
        for host in &hosts {
            let mut block = [input.to_vec()];
            host.run(&mut block);
            assert!(block[0] == expected);
        }
    }
}
