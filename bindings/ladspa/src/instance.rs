//! The functions of a plugin that a host calls. A host calls them for one instance one after another, on any
//! thread.

use std::ffi::c_ulong;
use std::io::Write as _;
use std::ptr::{null, null_mut};

use crate::abi::{Descriptor, Handle};
use crate::audio::Audio;
use crate::controls::Settings;
use crate::guarded;
use crate::ports::{CONTROLS, LATENCY, REPORTS};

/// Channels of the plugin with the most.
const MAX_CHANNELS: usize = 2;

/// An instance: its sound, and where the host has the data of its ports. A port without a place is null.
pub(crate) struct Instance {
    audio: Audio,
    channels: usize,
    /// [channels], then unused
    inputs: [*const f32; MAX_CHANNELS],
    outputs: [*mut f32; MAX_CHANNELS],
    controls: [*const f32; CONTROLS],
    reports: [*mut f32; REPORTS],
}

impl Instance {
    fn connect(&mut self, port: usize, data: *mut f32) {
        let (channels, controls) = (self.channels, 2 * self.channels);
        if port < channels {
            self.inputs[port] = data;
        } else if port < controls {
            self.outputs[port - channels] = data;
        } else if port < controls + CONTROLS {
            self.controls[port - controls] = data;
        } else if let Some(report) = self.reports.get_mut(port - controls - CONTROLS) {
            *report = data;
        }
    }

    /// # Safety
    /// Each audio port is null or has `frames` samples, each control port is null or has a value, and no
    /// other thread uses them. Ports may share their memory.
    unsafe fn run(&mut self, frames: usize) {
        let controls = self.controls.map(|control| {
            // SAFETY: not null; the host has a value there.
            (!control.is_null()).then(|| unsafe { control.read_unaligned() })
        });
        let settings = Settings::new(controls);
        let (channels, hop) = (self.channels, self.audio.hop_frames());
        for at in (0..frames).step_by(hop) {
            let frames = hop.min(frames - at);
            let block = self.audio.block(frames);
            for (n, frame) in block.chunks_exact_mut(channels).enumerate() {
                for (sample, input) in frame.iter_mut().zip(self.inputs) {
                    *sample = if input.is_null() {
                        0.0
                    } else {
                        // SAFETY: not null, and within the samples of the port.
                        unsafe { input.add(at + n).read_unaligned() }
                    };
                }
            }
            self.audio.process(frames, settings);
            let block = self.audio.block(frames);
            for (n, frame) in block.chunks_exact(channels).enumerate() {
                for (sample, output) in frame.iter().zip(self.outputs) {
                    if !output.is_null() {
                        // SAFETY: not null, and within the samples of the port.
                        unsafe { output.add(at + n).write_unaligned(*sample) };
                    }
                }
            }
        }
        let telemetry = self.audio.telemetry();
        let speech = telemetry.speech_probability.unwrap_or(0.0);
        let latency = self.audio.latency() as f32;
        for (report, value) in self.reports.iter().zip([latency, telemetry.snr_db, speech]) {
            if !report.is_null() {
                // SAFETY: not null; the host has room for a value there.
                unsafe { report.write_unaligned(value) };
            }
        }
    }
}

/// Creates an instance and allocates all its memory. Null for a rate that is not supported; the reason goes
/// to standard error.
pub(crate) unsafe extern "C" fn instantiate<const CHANNELS: usize>(
    _descriptor: *const Descriptor,
    rate_hz: c_ulong,
) -> Handle {
    let instance = guarded(|| {
        let rate_hz = u32::try_from(rate_hz).unwrap_or(u32::MAX);
        let audio = match Audio::new(rate_hz, CHANNELS) {
            Ok(audio) => audio,
            Err(error) => {
                // LADSPA has no way to pass a reason.
                let _ = writeln!(std::io::stderr(), "quietwire_ladspa: {error}");
                return None;
            }
        };
        Some(Box::into_raw(Box::new(Instance {
            audio,
            channels: CHANNELS,
            inputs: [null(); MAX_CHANNELS],
            outputs: [null_mut(); MAX_CHANNELS],
            controls: [null(); CONTROLS],
            reports: [null_mut(); REPORTS],
        })))
    });
    instance.map_or(null_mut(), |instance| instance.cast())
}

/// Runs `call` with the instance of a handle. A null handle does nothing.
///
/// # Safety
/// `handle` is null or from [`instantiate`], was not freed, and no other call uses it.
unsafe fn with_instance(handle: Handle, call: impl FnOnce(&mut Instance)) {
    guarded(|| {
        // SAFETY: as the caller states.
        unsafe { handle.cast::<Instance>().as_mut() }.map(call)
    });
}

/// Sets where the data of a port is. Null: the port has no data. Ports that do not exist are ignored.
pub(crate) unsafe extern "C" fn connect_port(handle: Handle, port: c_ulong, data: *mut f32) {
    let connect = |instance: &mut Instance| {
        if let Ok(port) = usize::try_from(port) {
            instance.connect(port, data);
        }
    };
    // SAFETY: the host passes an instance of this library, and makes one call at a time.
    unsafe { with_instance(handle, connect) };
}

/// Empties the instance: another signal follows.
pub(crate) unsafe extern "C" fn activate(handle: Handle) {
    let activate = |instance: &mut Instance| {
        instance.audio.restart();
        // PipeWire reads the latency after this call and before the first block.
        let report = instance.reports[LATENCY];
        if !report.is_null() {
            // SAFETY: not null; the host has room for a value there.
            unsafe { report.write_unaligned(instance.audio.latency() as f32) };
        }
    };
    // SAFETY: as above.
    unsafe { with_instance(handle, activate) };
}

/// Processes a block of any number of frames. Input and output ports may have the same memory.
///
/// # Real-time
/// No allocation, lock or system call.
pub(crate) unsafe extern "C" fn run(handle: Handle, frames: c_ulong) {
    let run = |instance: &mut Instance| {
        let frames = usize::try_from(frames).unwrap_or(usize::MAX);
        // SAFETY: the host has connected the ports to as many samples and values, or to null.
        unsafe { instance.run(frames) };
    };
    // SAFETY: as above.
    unsafe { with_instance(handle, run) };
}

/// Frees the instance.
pub(crate) unsafe extern "C" fn cleanup(handle: Handle) {
    guarded(|| {
        if !handle.is_null() {
            // SAFETY: the host passes an instance of this library and does not use it afterwards.
            drop(unsafe { Box::from_raw(handle.cast::<Instance>()) });
        }
        Some(())
    });
}
