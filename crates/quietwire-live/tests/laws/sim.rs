//! A simulated audio system: devices with clocks of their own, and the worker between them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use quietwire::Model;
use quietwire_live::{
    Backend, CaptureCallback, Command, DeviceRole, Engine, Link, LiveError, OpenFailure, Opened,
    PlayoutCallback, Processor, Settings, Status, StreamFormat, Supervisor, WhileLoading,
    capture_link, playout_link,
};

/// A device of the simulation.
#[derive(Debug, Clone, Copy)]
pub struct SimDevice {
    pub rate_hz: u32,
    pub channels: usize,
    /// Frames of the blocks that it really moves; a list is used in turn.
    pub block_frames: &'static [usize],
    /// Difference of its clock from the time of the simulation.
    pub ppm: f64,
    pub is_present: bool,
}

impl Default for SimDevice {
    fn default() -> Self {
        Self {
            rate_hz: 48_000,
            channels: 1,
            block_frames: &[480],
            ppm: 0.0,
            is_present: true,
        }
    }
}

enum Side {
    Capture(CaptureCallback),
    Playout(PlayoutCallback),
}

struct Running {
    device: SimDevice,
    side: Side,
    next_s: f64,
    blocks: usize,
    /// frames since it was opened
    frames: u64,
    start_s: f64,
}

/// The devices and the time.
pub struct World {
    pub now_s: f64,
    /// Time that passes at each look at the clock: the cost of the computation.
    pub cost_s: f64,
    /// The sound at the microphone, by time.
    pub source: Box<dyn Fn(f64) -> f32>,
    running: HashMap<u64, Running>,
    /// What the output device played since the start, and the time of its first frame.
    pub played: Vec<f32>,
    pub played_from_s: Option<f64>,
    pub keep_played: bool,
    /// Largest second difference of the played signal.
    pub max_bend: f32,
    /// Largest difference of two samples of the played signal.
    pub max_step: f32,
    tail: [f32; 2],
}

impl World {
    /// Runs all callbacks until `seconds` from now.
    pub fn advance(&mut self, seconds: f64) {
        let end = self.now_s + seconds;
        loop {
            let next = self
                .running
                .iter()
                .min_by(|a, b| a.1.next_s.total_cmp(&b.1.next_s));
            let Some((&id, _)) = next.filter(|(_, r)| r.next_s <= end) else {
                break;
            };
            let mut running = self.running.remove(&id).unwrap();
            self.now_s = running.next_s;
            self.callback(&mut running);
            self.running.insert(id, running);
        }
        self.now_s = end;
    }

    fn callback(&mut self, running: &mut Running) {
        let device = running.device;
        let block = device.block_frames[running.blocks % device.block_frames.len()];
        let frame_s = 1.0 / (f64::from(device.rate_hz) * (1.0 + 1e-6 * device.ppm));
        let at = Duration::from_secs_f64(self.now_s);
        let mut samples = vec![0.0f32; block * device.channels];
        match &mut running.side {
            Side::Capture(callback) => {
                // The block ends now.
                for (n, frame) in samples.chunks_exact_mut(device.channels).enumerate() {
                    let time = self.now_s - (block - n) as f64 * frame_s;
                    frame.fill((self.source)(time));
                }
                callback.on_block(&samples, |s| s, at, Duration::ZERO);
            }
            Side::Playout(callback) => {
                callback.on_block(&mut samples, |s| s, at, Duration::ZERO);
                for frame in samples.chunks_exact(device.channels) {
                    let bend = frame[0] - 2.0 * self.tail[1] + self.tail[0];
                    self.max_bend = self.max_bend.max(bend.abs());
                    self.max_step = self.max_step.max((frame[0] - self.tail[1]).abs());
                    self.tail = [self.tail[1], frame[0]];
                }
                if self.keep_played {
                    self.played_from_s.get_or_insert(self.now_s);
                    self.played.extend(samples.iter().step_by(device.channels));
                }
            }
        }
        running.frames += block as u64;
        running.blocks += 1;
        let next_block = match running.side {
            // A capture callback comes at the end of its block, a playout callback at its start.
            Side::Capture(_) => {
                device.block_frames[running.blocks % device.block_frames.len()] as u64
            }
            Side::Playout(_) => 0,
        };
        running.next_s = running.start_s + (running.frames + next_block) as f64 * frame_s;
    }
}

/// The audio system that the supervisor sees.
pub struct SimBackend {
    pub input: SimDevice,
    pub output: SimDevice,
    pub default_name: HashMap<&'static str, String>,
    pub opens: u64,
    next_id: u64,
    started: Vec<(u64, Running)>,
    closed: std::rc::Rc<std::cell::RefCell<Vec<u64>>>,
    losses: Vec<DeviceRole>,
}

pub struct SimStream {
    id: u64,
    closed: std::rc::Rc<std::cell::RefCell<Vec<u64>>>,
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.closed.borrow_mut().push(self.id);
    }
}

impl Backend for SimBackend {
    type Stream = SimStream;

    fn open(&mut self, role: DeviceRole) -> Result<Opened<SimStream>, LiveError> {
        let device = if role == DeviceRole::Input {
            self.input
        } else {
            self.output
        };
        self.opens += 1;
        if !device.is_present {
            return Err(LiveError::Open {
                direction: role.direction(),
                device: "simulated".into(),
                failure: OpenFailure::Absent,
                reason: "it is not present".into(),
            });
        }
        let format = StreamFormat {
            rate_hz: device.rate_hz,
            channels: device.channels,
            block_frames: device.block_frames[0],
        };
        let (side, link) = if role == DeviceRole::Input {
            let (callback, reader) = capture_link(format, 1.0);
            (Side::Capture(callback), Link::Capture(reader))
        } else {
            let (callback, writer) = playout_link(format, 1.0);
            (Side::Playout(callback), Link::Playout(writer))
        };
        self.next_id += 1;
        let running = Running {
            device,
            side,
            next_s: f64::NAN,
            blocks: 0,
            frames: 0,
            start_s: 0.0,
        };
        self.started.push((self.next_id, running));
        Ok(Opened {
            stream: SimStream {
                id: self.next_id,
                closed: self.closed.clone(),
            },
            link,
            id: self.default_name[role.direction()].clone(),

            name: "simulated".into(),
        })
    }

    fn take_loss(&mut self, role: DeviceRole) -> Option<String> {
        let at = self.losses.iter().position(|lost| *lost == role)?;
        self.losses.swap_remove(at);
        Some("the device is gone".into())
    }

    fn device_id(&mut self, role: DeviceRole) -> Option<String> {
        // As an audio system that is connected with the first device.
        let name = self.default_name[role.direction()].clone();
        (self.opens > 0).then_some(name)
    }
}

/// A path between two simulated devices.
pub struct Sim {
    pub world: World,
    pub engine: Engine,
    pub supervisor: Supervisor<SimBackend>,
    pub settings: Arc<Settings>,
    pub models: Vec<Arc<Model>>,
    closed: std::rc::Rc<std::cell::RefCell<Vec<u64>>>,
    next_poll_s: f64,
    built_rate_hz: u32,
    /// Largest and smallest queue since the last reset of these, ms.
    pub queue_ms: (f64, f64),
}

/// A tone of 440 Hz at -6 dBFS. Its largest second difference is 0.00166 at 48 kHz.
pub fn tone(time: f64) -> f32 {
    0.5 * (std::f64::consts::TAU * 440.0 * time).sin() as f32
}
pub const TONE_BEND: f32 = 0.00166;
/// Its largest difference of two samples.
pub const TONE_STEP: f32 = 0.0288;

impl Sim {
    pub fn new(input: SimDevice, output: SimDevice, models: &[&str]) -> Self {
        let settings = Arc::new(Settings::new(40.0, WhileLoading::Raw));
        let closed = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let backend = SimBackend {
            input,
            output,
            default_name: ["input", "output"]
                .map(|name| (name, name.to_owned()))
                .into(),
            opens: 0,
            next_id: 0,
            started: Vec::new(),
            closed: closed.clone(),
            losses: Vec::new(),
        };
        let models = models.iter().map(|id| Model::embedded(id).unwrap());
        Self {
            world: World {
                now_s: 0.0,
                cost_s: 0.0,
                source: Box::new(tone),
                running: HashMap::new(),
                played: Vec::new(),
                played_from_s: None,
                keep_played: false,
                max_bend: 0.0,
                max_step: 0.0,
                tail: [0.0; 2],
            },
            engine: Engine::new(settings.clone(), 1),
            supervisor: Supervisor::new(backend, &[DeviceRole::Input, DeviceRole::Output]),
            settings,
            models: models.collect(),
            closed,
            next_poll_s: 0.0,
            built_rate_hz: 0,
            queue_ms: (f64::INFINITY, 0.0),
        }
    }

    pub fn run(&mut self, seconds: f64) {
        let end = self.world.now_s + seconds;
        while self.world.now_s < end {
            if self.world.now_s >= self.next_poll_s {
                self.next_poll_s = self.world.now_s + 0.05;
                self.poll();
            }
            let world = &mut self.world;
            let mut now = || {
                if world.cost_s > 0.0 {
                    world.advance(world.cost_s);
                }
                Duration::from_secs_f64(world.now_s)
            };
            if self.engine.step(&mut now) > 0 {
                let queue_ms = self.status().playout.queue_ms;
                if queue_ms > 0.0 {
                    self.queue_ms.0 = self.queue_ms.0.min(queue_ms);
                    self.queue_ms.1 = self.queue_ms.1.max(queue_ms);
                }
            }
            self.world.advance(0.001);
        }
    }

    fn poll(&mut self) {
        let engine = &mut self.engine;
        let now = Duration::from_secs_f64(self.world.now_s);
        let _ = self
            .supervisor
            .poll(now, &mut |command| engine.apply(command));
        for id in self.closed.borrow_mut().drain(..) {
            self.world.running.remove(&id);
        }
        let now_s = self.world.now_s;
        for (id, mut running) in self.supervisor.backend_mut().started.drain(..) {
            // Devices start at some phase of their block.
            running.start_s = now_s + 0.0037 * (id % 3) as f64;
            let first = match running.side {
                Side::Capture(_) => running.device.block_frames[0],
                Side::Playout(_) => 0,
            };
            running.next_s = running.start_s + first as f64 / f64::from(running.device.rate_hz);
            self.world.running.insert(id, running);
        }
        let Some(rate_hz) = self.supervisor.input_rate_hz() else {
            return;
        };
        if rate_hz != self.built_rate_hz && !self.models.is_empty() {
            self.built_rate_hz = rate_hz;
            let processor = Processor::new(&self.models, rate_hz, 1).unwrap();
            self.engine.apply(Command::Processor(Box::new(processor)));
        }
    }

    /// The device of a role disappears: its callbacks stop, and it reports the loss or not.
    pub fn unplug(&mut self, role: DeviceRole, reports: bool) {
        let is_input = role == DeviceRole::Input;
        let backend = self.supervisor.backend_mut();
        let device = if is_input {
            &mut backend.input
        } else {
            &mut backend.output
        };
        device.is_present = false;
        if reports {
            backend.losses.push(role);
        }
        self.world
            .running
            .retain(|_, r| matches!(r.side, Side::Capture(_)) != is_input);
    }

    pub fn plug(&mut self, role: DeviceRole, device: SimDevice) {
        let backend = self.supervisor.backend_mut();
        let place = if role == DeviceRole::Input {
            &mut backend.input
        } else {
            &mut backend.output
        };
        *place = device;
    }

    pub fn status(&self) -> Status {
        let mut status = Status::default();
        self.supervisor.update_status(&mut status);
        self.engine.update_status(&mut status);
        status
    }

    pub fn reset_extremes(&mut self) {
        self.world.max_bend = 0.0;
        self.world.max_step = 0.0;
        self.queue_ms = (f64::INFINITY, 0.0);
    }
}
