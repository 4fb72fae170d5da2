//! A running path: threads around the engine, the supervisor and the loader of models.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quietwire::Model;
use rtrb::{Consumer, RingBuffer};

use crate::device_list::DeviceSelector;
use crate::device_stream::lock;
use crate::devices::CpalBackend;
use crate::engine::{Command, Engine};
use crate::error::LiveError;
use crate::processor::Processor;
use crate::realtime::{request_priority, with_flush_to_zero};
use crate::record::{Recording, part_path};
use crate::settings::{Settings, WhileLoading};
use crate::status::Status;
use crate::supervisor::{DeviceRole, Supervisor};
use crate::virtual_device::VirtualDevice;

/// Pause of the worker between two looks at the capture ring. The callback cannot wake the worker
/// without a system call.
const WORKER_PAUSE: Duration = Duration::from_micros(700);
/// Time between two updates of the status.
const STATUS_EVERY: Duration = Duration::from_millis(50);
/// Pause of the supervisor.
const SUPERVISOR_PAUSE: Duration = Duration::from_millis(50);

/// How to run a path.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LiveOptions {
    /// The microphone. Default: the default input.
    pub input: DeviceSelector,
    /// The device that gets the clean signal. Default: the default output.
    pub output: DeviceSelector,
    /// A second output, to listen to. Default: none.
    pub monitor: Option<DeviceSelector>,
    /// What the loudspeaker plays: its echo is removed from the microphone (AEC3). Default: none.
    /// [`DeviceSelector::Default`] is the monitor source of the default output.
    pub echo_reference: Option<DeviceSelector>,
    /// Creates a microphone of this name, which replaces `output`. PulseAudio and PipeWire only.
    pub virtual_mic: Option<String>,
    /// Creates a loudspeaker of this name, which replaces `input`: the path cleans what programs play to
    /// it, as the voice of the far end of a call. PulseAudio and PipeWire only.
    pub virtual_speaker: Option<String>,
    /// Device buffers, ms. Default: 10.
    pub buffer_ms: f64,
    /// Channels between the devices, 1 or 2. Default: 1.
    pub channels: usize,
    /// The attenuation limit, dB. Default: 40.
    pub attenuation_db: f32,
    /// The attenuation limit follows the noise. Default: false.
    pub auto_attenuation: bool,
    /// What plays while the model loads. Default: the delayed input.
    pub while_loading: WhileLoading,
    /// Records input (left) and output (right), aligned, to a WAV file.
    pub record: Option<PathBuf>,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            input: DeviceSelector::Default,
            output: DeviceSelector::Default,
            monitor: None,
            echo_reference: None,
            virtual_mic: None,
            virtual_speaker: None,
            buffer_ms: 10.0,
            channels: 1,
            attenuation_db: 40.0,
            auto_attenuation: false,
            while_loading: WhileLoading::Raw,
            record: None,
        }
    }
}

/// The models of a path, the best first, and why they were chosen.
pub type LoadedModels = (Vec<Arc<Model>>, String);

/// A running path. Dropping it closes the devices and removes the virtual microphone.
#[derive(Debug)]
pub struct Live {
    settings: Arc<Settings>,
    status: Arc<Mutex<Status>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    commands: Sender<Command>,
}

impl Live {
    /// Opens the devices and starts. Returns when the devices run; the raw signal passes until `load`
    /// has returned the models.
    ///
    /// # Errors
    /// The first failure to open a device, to create the virtual microphone or the recording. Nothing
    /// is left then.
    pub fn start(
        options: LiveOptions,
        load: impl FnOnce() -> Result<LoadedModels, String> + Send + 'static,
    ) -> Result<Self, LiveError> {
        let epoch = Instant::now();
        let settings = Arc::new(Settings::new(options.attenuation_db, options.while_loading));
        settings.set_monitor(options.monitor.is_some());
        if options.auto_attenuation {
            settings.set_auto_attenuation();
        }
        let (commands, received) = mpsc::channel();
        let mut live = Self {
            settings: settings.clone(),
            status: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
            commands: commands.clone(),
        };
        let (rates, requested) = mpsc::channel();
        let (started, result) = mpsc::channel();

        let engine = Engine::new(settings, options.channels);
        let (status, stop) = (live.status.clone(), live.stop.clone());
        live.spawn("quietwire-worker", move || {
            let priority = request_priority();
            lock(&status).realtime = priority;
            with_flush_to_zero(|| work(engine, &received, &status, &stop, epoch));
        })?;
        let loader = Loader {
            commands: commands.clone(),
            requested,
            status: live.status.clone(),
            channels: options.channels.clamp(1, 2),
        };
        live.spawn("quietwire-loader", move || loader.run(load))?;
        let (status, stop) = (live.status.clone(), live.stop.clone());
        live.spawn("quietwire-devices", move || {
            let mut watch = match Watch::start(options, epoch, commands, rates, status) {
                Ok(watch) => watch,
                Err(error) => return drop(started.send(Err(error))),
            };
            let opened = watch.poll();
            let is_opened = opened.is_ok();
            let _ = started.send(opened);
            while is_opened && !stop.load(Relaxed) {
                std::thread::sleep(SUPERVISOR_PAUSE);
                // Later failures are in the status; the attempts go on.
                let _ = watch.poll();
            }
            watch.close();
        })?;
        match result.recv() {
            Ok(Ok(())) => Ok(live),
            // Dropping `live` stops the threads.
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LiveError::NoHost {
                reason: "the thread of the devices ended".into(),
            }),
        }
    }

    /// The settings, to change them.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Both sides of the path for a display: input, output, input, ... one channel each, aligned. The
    /// ring holds `capacity_s` seconds at 48 kHz; hops for which it has no room are left out.
    pub fn display(&self, capacity_s: f64) -> Consumer<f32> {
        let (ring, reader) = RingBuffer::new((2.0 * 48_000.0 * capacity_s) as usize);
        let _ = self.commands.send(Command::Display(Some(ring)));
        reader
    }

    /// The latest measurements, at most 100 ms old.
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// Stops and waits until the devices are closed, the virtual microphone is removed and the
    /// recording is complete. Returns the final status.
    pub fn stop(mut self) -> Status {
        self.join();
        self.status()
    }

    fn join(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..).rev() {
            let _ = thread.join();
        }
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), LiveError> {
        let builder = std::thread::Builder::new().name(name.into());
        let thread = builder.spawn(work).map_err(LiveError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.join();
    }
}

/// The loop of the worker thread.
fn work(
    mut engine: Engine,
    commands: &Receiver<Command>,
    status: &Mutex<Status>,
    stop: &AtomicBool,
    epoch: Instant,
) {
    let mut next_status = Duration::ZERO;
    let mut now = || epoch.elapsed();
    while !stop.load(Relaxed) {
        while let Ok(command) = commands.try_recv() {
            engine.apply(command);
        }
        engine.step(&mut now);
        let time = now();
        if time >= next_status
            && let Ok(mut status) = status.try_lock()
        {
            next_status = time + STATUS_EVERY;
            status.uptime_s = time.as_secs_f64();
            engine.update_status(&mut status);
        }
        std::thread::sleep(WORKER_PAUSE);
    }
}

/// Loads the models, then makes a processor for each rate that is requested.
struct Loader {
    commands: Sender<Command>,
    requested: Receiver<u32>,
    status: Arc<Mutex<Status>>,
    channels: usize,
}

impl Loader {
    fn run(self, load: impl FnOnce() -> Result<LoadedModels, String>) {
        let models = match load() {
            Ok((models, choice)) => {
                lock(&self.status).model_choice = choice;
                models
            }
            Err(reason) => {
                lock(&self.status).message = format!("no model runs: {reason}");
                return;
            }
        };
        while let Ok(rate_hz) = self.requested.recv() {
            match Processor::new(&models, rate_hz, self.channels) {
                Ok(processor) => {
                    let _ = self.commands.send(Command::Processor(Box::new(processor)));
                }
                Err(error) => {
                    lock(&self.status).message = format!("no model runs at {rate_hz} Hz: {error}");
                }
            }
        }
    }
}

/// The work of the thread of the devices.
struct Watch {
    supervisor: Supervisor<CpalBackend>,
    commands: Sender<Command>,
    rates: Sender<u32>,
    status: Arc<Mutex<Status>>,
    epoch: Instant,
    rate_hz: Option<u32>,
    record: Option<PathBuf>,
    recording: Option<(Recording, u32)>,
    parts: u32,
}

impl Watch {
    fn start(
        options: LiveOptions,
        epoch: Instant,
        commands: Sender<Command>,
        rates: Sender<u32>,
        status: Arc<Mutex<Status>>,
    ) -> Result<Self, LiveError> {
        let mut roles = vec![DeviceRole::Input, DeviceRole::Output];
        if options.monitor.is_some() {
            roles.push(DeviceRole::Monitor);
        }
        if options.echo_reference.is_some() {
            roles.push(DeviceRole::EchoReference);
        }
        let selectors = [
            options.input,
            options.output,
            options.monitor.unwrap_or_default(),
            options.echo_reference.unwrap_or_default(),
        ];
        let mut backend = CpalBackend::new(selectors, options.buffer_ms / 1e3, epoch);
        if let Some(name) = &options.virtual_mic {
            backend.set_virtual_mic(VirtualDevice::microphone(name)?);
        }
        if let Some(name) = &options.virtual_speaker {
            backend.set_virtual_speaker(VirtualDevice::loudspeaker(name)?);
        }
        Ok(Self {
            supervisor: Supervisor::new(backend, &roles),
            commands,
            rates,
            status,
            epoch,
            rate_hz: None,
            record: options.record,
            recording: None,
            parts: 0,
        })
    }

    fn poll(&mut self) -> Result<(), LiveError> {
        let commands = &self.commands;
        let mut send = |command| drop(commands.send(command));
        let opened = self.supervisor.poll(self.epoch.elapsed(), &mut send);
        self.supervisor.update_status(&mut lock(&self.status));
        opened?;
        let Some(rate_hz) = self.supervisor.input_rate_hz() else {
            return Ok(());
        };
        if self.rate_hz != Some(rate_hz) {
            self.rate_hz = Some(rate_hz);
            let _ = self.rates.send(rate_hz);
        }
        self.watch_recording(rate_hz)
    }

    /// Starts the recording, and a new file when the rate changes.
    fn watch_recording(&mut self, rate_hz: u32) -> Result<(), LiveError> {
        if let Some((recording, _)) = self
            .recording
            .take_if(|(r, rate)| r.has_ended() || *rate != rate_hz)
        {
            let _ = self.commands.send(Command::Record(None));
            if let Err(error) = recording.join() {
                lock(&self.status).message = error.to_string();
                self.record = None;
            }
        }
        if let Some(path) = &self.record
            && self.recording.is_none()
        {
            self.parts += 1;
            let (recording, ring) = Recording::start(&part_path(path, self.parts), rate_hz)?;
            self.recording = Some((recording, rate_hz));
            let _ = self.commands.send(Command::Record(Some(ring)));
        }
        Ok(())
    }

    fn close(mut self) {
        let commands = self.commands.clone();
        self.supervisor
            .close(&mut |command| drop(commands.send(command)));
        let _ = commands.send(Command::Record(None));
        // The worker may have ended before the last command; its engine drops the ring then.
        drop((commands, self.commands));
        if let Some((recording, _)) = self.recording
            && let Err(error) = recording.join()
        {
            lock(&self.status).message = error.to_string();
        }
    }
}
