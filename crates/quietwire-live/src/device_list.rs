//! Which devices there are, and which one a name means.

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{Device, Host, HostId, SampleFormat, SupportedStreamConfig, SupportedStreamConfigRange};

use crate::error::LiveError;
use crate::supervisor::DeviceRole;

/// Names that an error lists at most.
const MAX_NAMES: usize = 20;

/// Which device to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DeviceSelector {
    /// The default device, and the new one when the default changes.
    #[default]
    Default,
    /// The device with this id or name, or the only one with this text in its id or name.
    Name(String),
}

/// A device of this computer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// "input" or "output".
    pub direction: &'static str,
    /// The audio system: "pulseaudio", "alsa", ...
    pub host: String,
    /// The identifier of the audio system.
    pub id: String,
    /// The name for people.
    pub name: String,
    /// Whether it is the default device.
    pub is_default: bool,
    /// Sample rate, Hz; 0 when the device does not report it.
    pub rate_hz: u32,
    /// Channels; 0 when the device does not report them.
    pub channels: usize,
}

/// All devices of the preferred audio system.
///
/// # Errors
/// [`LiveError::NoHost`] when no audio system answers.
pub fn list_devices() -> Result<Vec<DeviceInfo>, LiveError> {
    let host = open_host()?;
    let mut devices = Vec::new();
    for role in [DeviceRole::Input, DeviceRole::Output] {
        let default = default_device(&host, role).map(|device| id(&device));
        for device in devices_of(&host, role)? {
            let config = default_config(&device, role).ok();
            let id = id(&device);
            devices.push(DeviceInfo {
                direction: role.direction(),
                host: host.id().name().to_lowercase(),
                name: name(&device),
                is_default: Some(&id) == default.as_ref(),
                rate_hz: config
                    .as_ref()
                    .map_or(0, SupportedStreamConfig::sample_rate),
                channels: config.as_ref().map_or(0, |c| c.channels().into()),
                id,
            });
        }
    }
    Ok(devices)
}

/// The name of the preferred audio system that answers.
///
/// # Errors
/// [`LiveError::NoHost`] when none does.
pub fn host_name() -> Result<String, LiveError> {
    Ok(open_host()?.id().name().to_owned())
}

/// The sound server where there is one: its devices can be shared and have names.
fn open_host() -> Result<Host, LiveError> {
    open_host_of(None)
}

/// The audio system `only`, or the preferred one.
pub(crate) fn open_host_of(only: Option<HostId>) -> Result<Host, LiveError> {
    let mut hosts: Vec<HostId> = cpal::available_hosts();
    hosts.retain(|host| only.is_none_or(|only| *host == only));
    hosts.sort_by_key(|host| host.name() != "PulseAudio");
    let mut reasons = Vec::new();
    for id in hosts {
        match cpal::host_from_id(id) {
            Ok(host) => return Ok(host),
            Err(error) => reasons.push(format!("{}: {error}", id.name())),
        }
    }
    if reasons.is_empty() {
        let name = only.map_or("an audio system", |id| id.name());
        reasons.push(format!("{name} was not found"));
    }
    Err(LiveError::NoHost {
        reason: reasons.join(", "),
    })
}

pub(crate) fn default_device(host: &Host, role: DeviceRole) -> Option<Device> {
    match role {
        DeviceRole::Input => host.default_input_device(),
        DeviceRole::Output | DeviceRole::Monitor => host.default_output_device(),
        DeviceRole::EchoReference => {
            let source = format!("{}.monitor", id(&host.default_output_device()?));
            let mut devices = host.devices().ok()?;
            devices.find(|device| device.supports_input() && id(device) == source)
        }
    }
}

fn default_config(device: &Device, role: DeviceRole) -> Result<SupportedStreamConfig, cpal::Error> {
    if role.is_input() {
        device.default_input_config()
    } else {
        device.default_output_config()
    }
}

/// The default format, with f32 samples where the device has them.
pub(crate) fn preferred_config(
    device: &Device,
    role: DeviceRole,
) -> Result<SupportedStreamConfig, cpal::Error> {
    let config = default_config(device, role)?;
    let has_f32 = |mut ranges: Box<dyn Iterator<Item = SupportedStreamConfigRange>>| {
        ranges.any(|range| {
            range.sample_format() == SampleFormat::F32
                && range.channels() == config.channels()
                && (range.min_sample_rate()..=range.max_sample_rate())
                    .contains(&config.sample_rate())
        })
    };
    let f32_is_supported = if role.is_input() {
        has_f32(Box::new(device.supported_input_configs()?))
    } else {
        has_f32(Box::new(device.supported_output_configs()?))
    };
    Ok(if f32_is_supported {
        SupportedStreamConfig::new(
            config.channels(),
            config.sample_rate(),
            *config.buffer_size(),
            SampleFormat::F32,
        )
    } else {
        config
    })
}

fn devices_of(host: &Host, role: DeviceRole) -> Result<Vec<Device>, LiveError> {
    let no_host = |error: cpal::Error| LiveError::NoHost {
        reason: error.to_string(),
    };
    let devices = host.devices().map_err(no_host)?;
    let fits = |device: &Device| {
        if role.is_input() {
            device.supports_input()
        } else {
            device.supports_output()
        }
    };
    Ok(devices.filter(fits).collect())
}

pub(crate) fn find(host: &Host, role: DeviceRole, wanted: &str) -> Result<Device, LiveError> {
    let devices = devices_of(host, role)?;
    let names: Vec<[String; 2]> = devices.iter().map(|d| [id(d), name(d)]).collect();
    let at = choose(&names, wanted).map_err(|found| {
        let (direction, name) = (role.direction(), wanted.to_owned());
        match found {
            Some(found) => LiveError::AmbiguousDevice {
                direction,
                name,
                found,
            },
            None => LiveError::UnknownDevice {
                direction,
                name,
                found: list(names.iter().map(|[_, name]| name.as_str())),
            },
        }
    })?;
    Ok(devices.into_iter().nth(at).expect("an index of this list"))
}

/// The index of the device with this id or name. Otherwise the names that contain it, if any.
fn choose(names: &[[String; 2]], wanted: &str) -> Result<usize, Option<String>> {
    if let Some(at) = names
        .iter()
        .position(|n| n.iter().any(|name| name == wanted))
    {
        return Ok(at);
    }
    let wanted = wanted.to_lowercase();
    let contains = |names: &[String; 2]| names.iter().any(|n| n.to_lowercase().contains(&wanted));
    let found: Vec<usize> = (0..names.len())
        .filter(|at| contains(&names[*at]))
        .collect();
    match found[..] {
        [] => Err(None),
        [at] => Ok(at),
        _ => Err(Some(list(found.iter().map(|at| names[*at][1].as_str())))),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.take(MAX_NAMES).collect();
    if names.is_empty() {
        return "none".into();
    }
    names.join(", ")
}

pub(crate) fn id(device: &Device) -> String {
    device
        .id()
        .map_or_else(|_| String::new(), |id| id.id().to_owned())
}

pub(crate) fn name(device: &Device) -> String {
    let description = device.description();
    description.map_or_else(|_| id(device), |description| description.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_found_by_id_name_or_unique_text() {
        let names = [
            ["alsa_input.usb", "USB Headset"],
            ["alsa_input.pci", "Built-in Audio"],
            ["usb", "Other"],
        ];
        let names = names.map(|n| n.map(str::to_owned));
        assert_eq!(choose(&names, "headset"), Ok(0));
        assert_eq!(choose(&names, "Built-in Audio"), Ok(1));
        assert_eq!(choose(&names, "usb"), Ok(2));
        assert_eq!(
            choose(&names, "alsa"),
            Err(Some("USB Headset, Built-in Audio".into()))
        );
        assert_eq!(choose(&names, "webcam"), Err(None));
    }
}
