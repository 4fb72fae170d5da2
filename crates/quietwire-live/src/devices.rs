//! The audio devices of this computer, through cpal.

use std::time::Instant;

use cpal::traits::StreamTrait;
use cpal::{BufferSize, ErrorKind, Host, HostId, Stream, StreamConfig, SupportedBufferSize};

use crate::device_list::{
    DeviceSelector, default_device, find, id, name, open_host_of, preferred_config,
};
use crate::device_stream::{Losses, StreamBuilder, lock};
use crate::error::{LiveError, OpenFailure};
use crate::link::{StreamFormat, capture_link, playout_link};
use crate::supervisor::{Backend, DeviceRole, Link, Opened};
use crate::virtual_device::VirtualDevice;

/// Audio that fits into the ring of a link, s.
const LINK_S: f64 = 1.0;

/// Opens devices for a [`Supervisor`](crate::Supervisor).
pub struct CpalBackend {
    /// [roles] one connection for each device: cpal cannot open two outputs of PulseAudio on one
    hosts: [Option<Host>; 4],
    /// the audio system that was used first; after a loss no other one is used
    host_id: Option<HostId>,
    selectors: [DeviceSelector; 4],
    /// the virtual loudspeaker that is the input, the virtual microphone that is the output
    virtual_devices: [Option<VirtualDevice>; 2],
    buffer_s: f64,
    epoch: Instant,
    losses: Losses,
}

impl std::fmt::Debug for CpalBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CpalBackend")
            .field("selectors", &self.selectors)
            .finish_non_exhaustive()
    }
}

impl CpalBackend {
    /// Input, output, monitor and echo reference. A default echo reference is the monitor source of the
    /// default output, as PulseAudio and PipeWire have it. Buffers of `buffer_s` seconds are requested. Times are
    /// counted from `epoch`.
    pub fn new(selectors: [DeviceSelector; 4], buffer_s: f64, epoch: Instant) -> Self {
        Self {
            hosts: [None, None, None, None],
            host_id: None,
            selectors,
            virtual_devices: [None, None],
            buffer_s,
            epoch,
            losses: Losses::default(),
        }
    }

    /// The output is this virtual microphone. It is created again when the sound server has lost it.
    pub fn set_virtual_mic(&mut self, microphone: VirtualDevice) {
        let [_, output, ..] = &mut self.selectors;
        *output = DeviceSelector::Name(microphone.sink_name().to_owned());
        self.virtual_devices[1] = Some(microphone);
    }

    /// The input is what programs play to this virtual loudspeaker. It is created again when the sound
    /// server has lost it.
    pub fn set_virtual_speaker(&mut self, loudspeaker: VirtualDevice) {
        let [input, ..] = &mut self.selectors;
        *input = DeviceSelector::Name(loudspeaker.source_name());
        self.virtual_devices[0] = Some(loudspeaker);
    }

    fn selector(&self, role: DeviceRole) -> &DeviceSelector {
        &self.selectors[index(role)]
    }

    fn open_on(&self, host: &Host, role: DeviceRole) -> Result<Opened<Stream>, LiveError> {
        let device = match self.selector(role) {
            DeviceSelector::Default => default_device(host, role).ok_or(LiveError::NoDevice {
                direction: role.direction(),
            })?,
            DeviceSelector::Name(name) => find(host, role, name)?,
        };
        let device_name = name(&device);
        let loudspeaker = self.virtual_devices[0].as_ref();
        if !role.is_input() && loudspeaker.is_some_and(|own| own.sink_name() == id(&device)) {
            return Err(LiveError::Feedback {
                device: device_name,
            });
        }
        let failed = |error: cpal::Error| LiveError::Open {
            direction: role.direction(),
            device: device_name.clone(),
            failure: failure(error.kind()),
            reason: error.to_string(),
        };
        let config = preferred_config(&device, role).map_err(failed)?;
        let rate_hz = config.sample_rate();
        let mut block_frames = (self.buffer_s * f64::from(rate_hz)).round().max(1.0) as u32;
        let is_input = role.is_input();
        if !is_input {
            // Outputs hold two blocks. PipeWire moves blocks of a power of two: with others, as 240 frames
            // of 256, it plays gaps.
            block_frames = 1 << (block_frames / 2).max(1).ilog2();
        }
        let buffer_size = match config.buffer_size() {
            SupportedBufferSize::Range { min, max } => {
                block_frames = block_frames.clamp(*min, *max);
                BufferSize::Fixed(block_frames)
            }
            SupportedBufferSize::Unknown => BufferSize::Default,
        };
        let stream_config = StreamConfig {
            channels: config.channels(),
            sample_rate: rate_hz,
            buffer_size,
        };
        let format = StreamFormat {
            rate_hz,
            channels: usize::from(config.channels()).max(1),
            block_frames: block_frames as usize,
        };
        let build = StreamBuilder {
            device: &device,
            config: stream_config,
            epoch: self.epoch,
            losses: self.losses.clone(),
            role,
        };
        let (stream, link) = if is_input {
            let (callback, reader) = capture_link(format, LINK_S);
            let counters = reader.counters().clone();
            let stream = build.capture(config.sample_format(), callback, counters);
            (stream.map_err(failed)?, Link::Capture(reader))
        } else {
            let (callback, writer) = playout_link(format, LINK_S);
            let counters = writer.counters().clone();
            let stream = build.playout(config.sample_format(), callback, counters);
            (stream.map_err(failed)?, Link::Playout(writer))
        };
        stream.play().map_err(failed)?;
        Ok(Opened {
            stream,
            link,
            id: id(&device),
            name: device_name,
        })
    }
}

impl Backend for CpalBackend {
    type Stream = Stream;

    fn open(&mut self, role: DeviceRole) -> Result<Opened<Stream>, LiveError> {
        // Errors of the stream before this one are no longer of interest.
        lock(&self.losses).retain(|(lost, _)| *lost != role);
        let device = self.virtual_devices.get_mut(index(role));
        if let Some(device) = device.and_then(Option::as_mut) {
            device.ensure()?;
        }
        let host = match self.hosts[index(role)].take() {
            Some(host) => host,
            None => open_host_of(self.host_id)?,
        };
        // After a failure the next attempt connects again: the sound server may have restarted.
        let opened = self.open_on(&host, role)?;
        self.host_id = Some(host.id());
        self.hosts[index(role)] = Some(host);
        Ok(opened)
    }

    fn take_loss(&mut self, role: DeviceRole) -> Option<String> {
        let mut losses = lock(&self.losses);
        let at = losses.iter().position(|(lost, _)| *lost == role)?;
        let (_, reason) = losses.swap_remove(at);
        // The connection to the sound server may be lost too.
        self.hosts[index(role)] = None;
        Some(reason)
    }

    fn device_id(&mut self, role: DeviceRole) -> Option<String> {
        let host = self.hosts[index(role)].as_ref()?;
        match self.selector(role) {
            DeviceSelector::Default => Some(id(&default_device(host, role)?)),
            // Sound servers move a stream to another device when its own disappears.
            DeviceSelector::Name(name) => match find(host, role, name) {
                Ok(device) => Some(id(&device)),
                Err(LiveError::UnknownDevice { .. }) => Some(String::new()),
                Err(_) => None,
            },
        }
    }
}

/// The place of a role in the lists of [`CpalBackend`].
fn index(role: DeviceRole) -> usize {
    match role {
        DeviceRole::Input => 0,
        DeviceRole::Output => 1,
        DeviceRole::Monitor => 2,
        DeviceRole::EchoReference => 3,
    }
}

fn failure(kind: ErrorKind) -> OpenFailure {
    match kind {
        ErrorKind::DeviceBusy => OpenFailure::Busy,
        ErrorKind::DeviceNotAvailable => OpenFailure::Absent,
        ErrorKind::PermissionDenied => OpenFailure::PermissionDenied,
        ErrorKind::UnsupportedConfig | ErrorKind::UnsupportedOperation => OpenFailure::Format,
        ErrorKind::HostUnavailable | ErrorKind::StreamInvalidated => OpenFailure::NoServer,
        _ => OpenFailure::Other,
    }
}
