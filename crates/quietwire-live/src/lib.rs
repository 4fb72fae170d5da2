#![doc = include_str!("../README.md")]

// In the order in which samples flow.
mod levels;
mod link;
mod splice;
mod wait;

mod drift;
mod lifecycle;
mod playout;
mod processor;
mod raw_path;
mod settings;

mod auto_attenuation;
mod auto_model;
mod echo;
mod engine;
mod status;
mod supervisor;

mod device_list;
mod device_stream;
mod devices;
mod live;
mod realtime;
mod record;
mod virtual_device;

mod error;

pub use auto_model::auto_models;
pub use device_list::{DeviceInfo, DeviceSelector, host_name, list_devices};
pub use devices::CpalBackend;
pub use drift::DriftControl;
pub use echo::EchoPath;
pub use engine::{Command, Engine};
pub use error::{LiveError, OpenFailure};
pub use lifecycle::{DeviceAction, DeviceEvent, DeviceState, Lifecycle};
pub use link::{
    CaptureCallback, CaptureReader, LinkCounters, PlayoutCallback, PlayoutWriter, StreamFormat,
    capture_link, playout_link,
};
pub use live::{Live, LiveOptions, LoadedModels};
pub use processor::Processor;
pub use realtime::realtime_priority;
pub use settings::{Settings, WhileLoading};
pub use status::{DeviceStatus, LatencyParts, Levels, PlayoutStatus, Status};
pub use supervisor::{Backend, DeviceRole, Link, Opened, Supervisor};
pub use virtual_device::{VirtualDevice, sound_server};
