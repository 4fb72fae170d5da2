//! Keeps the devices of a path open. Takes the time and the audio system as arguments.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::engine::Command;
use crate::error::LiveError;
use crate::lifecycle::{DeviceAction, DeviceEvent, DeviceState, Lifecycle};
use crate::link::{CaptureReader, LinkCounters, PlayoutWriter, StreamFormat};
use crate::status::{DeviceStatus, Status};

/// Time between two looks at which device would be opened.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The place of a device in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceRole {
    /// The microphone.
    Input,
    /// The device that gets the clean signal.
    Output,
    /// A second output, to listen to.
    Monitor,
    /// What the loudspeaker plays: an input.
    EchoReference,
}

impl DeviceRole {
    /// Whether its device is an input.
    pub fn is_input(self) -> bool {
        matches!(self, Self::Input | Self::EchoReference)
    }

    /// "input" or "output".
    pub fn direction(self) -> &'static str {
        match self {
            Self::Input | Self::EchoReference => "input",
            Self::Output | Self::Monitor => "output",
        }
    }
}

/// The worker's side of an opened device.
#[derive(Debug)]
pub enum Link {
    /// Of an input.
    Capture(CaptureReader),
    /// Of an output.
    Playout(PlayoutWriter),
}

impl Link {
    fn format(&self) -> StreamFormat {
        match self {
            Self::Capture(reader) => reader.format(),
            Self::Playout(writer) => writer.format(),
        }
    }

    fn counters(&self) -> Arc<LinkCounters> {
        match self {
            Self::Capture(reader) => reader.counters().clone(),
            Self::Playout(writer) => writer.counters().clone(),
        }
    }
}

/// An opened device. Dropping the stream closes it.
#[derive(Debug)]
pub struct Opened<S> {
    /// The stream of the audio system.
    pub stream: S,
    /// The worker's side of its link.
    pub link: Link,
    /// Its identifier, as [`Backend::device_id`] gives it.
    pub id: String,
    /// Its name for reports.
    pub name: String,
}

/// An audio system.
pub trait Backend {
    /// A running stream.
    type Stream;

    /// Opens the device of a role.
    ///
    /// # Errors
    /// [`LiveError::NoHost`], [`LiveError::NoDevice`], [`LiveError::UnknownDevice`],
    /// [`LiveError::AmbiguousDevice`] or [`LiveError::Open`].
    fn open(&mut self, role: DeviceRole) -> Result<Opened<Self::Stream>, LiveError>;

    /// Whether the device of a role reported, since the latest call, that it cannot continue.
    fn take_loss(&mut self, role: DeviceRole) -> Option<String>;

    /// An identifier of the device that [`open`](Self::open) would open now; empty for a named device
    /// that is not there. `None` when the audio system does not answer.
    fn device_id(&mut self, role: DeviceRole) -> Option<String>;
}

struct Endpoint<S> {
    role: DeviceRole,
    lifecycle: Lifecycle,
    stream: Option<S>,
    counters: Option<Arc<LinkCounters>>,
    callbacks: u64,
    xruns: u64,
    device_id: Option<String>,
    name: String,
    format: Option<StreamFormat>,
}

/// The devices of one path.
pub struct Supervisor<B: Backend> {
    backend: B,
    endpoints: Vec<Endpoint<B::Stream>>,
    next_look: Duration,
    message: String,
}

impl<B: Backend> std::fmt::Debug for Supervisor<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").finish_non_exhaustive()
    }
}

impl<B: Backend> Supervisor<B> {
    /// Opens nothing yet.
    pub fn new(backend: B, roles: &[DeviceRole]) -> Self {
        let endpoint = |role: &DeviceRole| Endpoint {
            role: *role,
            lifecycle: Lifecycle::new(),
            stream: None,
            counters: None,
            callbacks: 0,
            xruns: 0,
            device_id: None,
            name: String::new(),
            format: None,
        };
        Self {
            backend,
            endpoints: roles.iter().map(endpoint).collect(),
            next_look: Duration::ZERO,
            message: String::new(),
        }
    }

    /// The audio system.
    pub fn backend_mut(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Opens and closes devices. Call it at least every 100 ms. `send` passes the changes to the
    /// worker.
    ///
    /// # Errors
    /// The first failure to open a device. The attempts go on; a caller that starts a path may give up.
    pub fn poll(&mut self, now: Duration, send: &mut impl FnMut(Command)) -> Result<(), LiveError> {
        let look_at_devices = now >= self.next_look;
        if look_at_devices {
            self.next_look = now + LOOK_EVERY;
        }
        let mut first_error = Ok(());
        for endpoint in &mut self.endpoints {
            endpoint.watch(&mut self.backend, look_at_devices, now, &mut self.message);
            match endpoint.lifecycle.poll(now) {
                DeviceAction::None => {}
                DeviceAction::Close => endpoint.close(send),
                DeviceAction::Open => {
                    endpoint.close(send);
                    match endpoint.open(&mut self.backend, now, send) {
                        Err(error) => {
                            self.message = error.to_string();
                            first_error = first_error.and(Err(error));
                        }
                        Ok(()) if endpoint.lifecycle.opened_count() > 1 => {
                            let direction = endpoint.role.direction();
                            self.message =
                                format!("the {direction} device `{}` runs again", endpoint.name);
                        }
                        Ok(()) => {}
                    }
                }
            }
        }
        first_error
    }

    /// Sample rate of the input device, Hz, while it runs.
    pub fn input_rate_hz(&self) -> Option<u32> {
        let input = self
            .endpoints
            .iter()
            .find(|e| e.role == DeviceRole::Input)?;
        Some(input.format?.rate_hz)
    }

    /// Whether all devices run.
    pub fn is_running(&self) -> bool {
        let mut states = self.endpoints.iter().map(|e| e.lifecycle.state());
        states.all(|state| state == DeviceState::Running)
    }

    /// Writes the states of the devices.
    pub fn update_status(&self, status: &mut Status) {
        for endpoint in &self.endpoints {
            let device = match endpoint.role {
                DeviceRole::Input => &mut status.input,
                DeviceRole::Output => &mut status.output,
                DeviceRole::Monitor => status.monitor.get_or_insert_default(),
                DeviceRole::EchoReference => status.echo_reference.get_or_insert_default(),
            };
            endpoint.update_status(device);
        }
        if status.message != self.message {
            status.message.clone_from(&self.message);
        }
    }

    /// Closes all devices.
    pub fn close(&mut self, send: &mut impl FnMut(Command)) {
        for endpoint in &mut self.endpoints {
            endpoint.close(send);
        }
    }
}

impl<S> Endpoint<S> {
    fn watch(
        &mut self,
        backend: &mut impl Backend<Stream = S>,
        look_at_devices: bool,
        now: Duration,
        message: &mut String,
    ) {
        if let Some(counters) = &self.counters {
            let callbacks = counters.callbacks.load(Relaxed);
            if callbacks != self.callbacks {
                self.callbacks = callbacks;
                self.lifecycle.on_event(DeviceEvent::Callback, now);
            }
        }
        if let Some(reason) = backend.take_loss(self.role)
            && self.stream.is_some()
        {
            *message = format!("{} device `{}`: {reason}", self.role.direction(), self.name);
            self.lifecycle.on_event(DeviceEvent::Lost, now);
        }
        if look_at_devices && let Some(id) = backend.device_id(self.role) {
            let is_other = self.device_id.as_ref().is_some_and(|old| *old != id);
            self.device_id = Some(id);
            if is_other {
                self.lifecycle.on_event(DeviceEvent::DeviceChanged, now);
            }
        }
    }

    fn open(
        &mut self,
        backend: &mut impl Backend<Stream = S>,
        now: Duration,
        send: &mut impl FnMut(Command),
    ) -> Result<(), LiveError> {
        let opened = match backend.open(self.role) {
            Ok(opened) => opened,
            Err(error) => {
                self.lifecycle.on_event(DeviceEvent::OpenFailed, now);
                return Err(error);
            }
        };
        self.lifecycle.on_event(DeviceEvent::Opened, now);
        self.stream = Some(opened.stream);
        self.counters = Some(opened.link.counters());
        self.callbacks = 0;
        self.format = Some(opened.link.format());
        self.device_id = Some(opened.id);
        self.name = opened.name;
        send(match (opened.link, self.role) {
            (Link::Capture(reader), DeviceRole::EchoReference) => {
                Command::EchoReference(Some(reader))
            }
            (Link::Capture(reader), _) => Command::Capture(Some(reader)),
            (Link::Playout(writer), DeviceRole::Monitor) => Command::Playout(1, Some(writer)),
            (Link::Playout(writer), _) => Command::Playout(0, Some(writer)),
        });
        Ok(())
    }

    fn close(&mut self, send: &mut impl FnMut(Command)) {
        if self.stream.take().is_none() {
            return;
        }
        if let Some(counters) = self.counters.take() {
            self.xruns += counters.device_xruns.load(Relaxed);
        }
        self.format = None;
        send(match self.role {
            DeviceRole::Input => Command::Capture(None),
            DeviceRole::Output => Command::Playout(0, None),
            DeviceRole::Monitor => Command::Playout(1, None),
            DeviceRole::EchoReference => Command::EchoReference(None),
        });
    }

    fn update_status(&self, device: &mut DeviceStatus) {
        if device.name != self.name {
            device.name.clone_from(&self.name);
        }
        device.state = self.lifecycle.state().name();
        device.opened = self.lifecycle.opened_count();
        if let Some(format) = self.format {
            device.rate_hz = format.rate_hz;
            device.channels = format.channels;
            // The engine measures that of the input.
            if self.role != DeviceRole::Input {
                device.block_frames = format.block_frames;
            }
        }
        let present = self.counters.as_ref();
        device.xruns = self.xruns + present.map_or(0, |c| c.device_xruns.load(Relaxed));
    }
}
