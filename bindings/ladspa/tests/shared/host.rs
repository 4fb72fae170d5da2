//! A small host.

use std::ffi::c_ulong;

use quietwire_ladspa::abi::{Descriptor, Handle};
use quietwire_ladspa::ladspa_descriptor;

/// Values of the control ports, in their order.
pub type Controls = [f32; 4];
/// The defaults: 40 dB, level by the attenuation, on, `base`.
pub const DEFAULTS: Controls = [40.0, 0.0, 1.0, 0.0];

/// The plugin with this many channels.
pub fn descriptor(channels: usize) -> &'static Descriptor {
    // SAFETY: the library has a plugin with one and one with two channels, which live forever.
    unsafe { ladspa_descriptor(channels as c_ulong - 1).as_ref() }.unwrap()
}

/// An instance with connected control ports.
pub struct Host {
    pub plugin: &'static Descriptor,
    pub handle: Handle,
    pub channels: usize,
    pub controls: Box<Controls>,
    /// latency, SNR, speech
    pub reports: Box<[f32; 3]>,
}

impl Host {
    /// A new instance that was activated.
    pub fn new(channels: usize, rate_hz: u32) -> Self {
        let plugin = descriptor(channels);
        // SAFETY: the descriptor is that of the function.
        let handle = unsafe { plugin.instantiate.unwrap()(plugin, rate_hz.into()) };
        assert!(!handle.is_null(), "{rate_hz} Hz");
        let mut host = Self {
            plugin,
            handle,
            channels,
            controls: Box::new(DEFAULTS),
            reports: Box::new([f32::NAN; 3]),
        };
        for at in 0..4 {
            let data = &raw mut host.controls[at];
            host.connect(2 * channels + at, data);
        }
        for at in 0..3 {
            let data = &raw mut host.reports[at];
            host.connect(2 * channels + 4 + at, data);
        }
        host.activate();
        host
    }

    pub fn connect(&self, port: usize, data: *mut f32) {
        // SAFETY: a live instance.
        unsafe { self.plugin.connect_port.unwrap()(self.handle, port as _, data) };
    }

    pub fn activate(&self) {
        // SAFETY: a live instance.
        unsafe { self.plugin.activate.unwrap()(self.handle) };
    }

    /// Connects the audio ports and processes a block in place, `[channels][frames]`.
    pub fn run(&self, block: &mut [Vec<f32>]) {
        assert_eq!(block.len(), self.channels);
        let frames = block[0].len();
        for (channel, samples) in block.iter_mut().enumerate() {
            assert_eq!(samples.len(), frames);
            self.connect(channel, samples.as_mut_ptr());
            self.connect(self.channels + channel, samples.as_mut_ptr());
        }
        self.run_connected(frames);
    }

    /// Processes a block of the connected ports.
    pub fn run_connected(&self, frames: usize) {
        // SAFETY: a live instance, and the test connected the ports to as many frames.
        unsafe { self.plugin.run.unwrap()(self.handle, frames as _) };
    }

    pub fn latency(&self) -> usize {
        self.reports[0] as usize
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: a live instance, which is not used afterwards.
        unsafe { self.plugin.cleanup.unwrap()(self.handle) };
    }
}

/// A block of an interleaved signal as `[channels][frames]`.
pub fn planes(interleaved: &[f32], channels: usize) -> Vec<Vec<f32>> {
    let plane = |channel| interleaved.iter().skip(channel).step_by(channels);
    (0..channels).map(|c| plane(c).copied().collect()).collect()
}
