//! Microphones and loudspeakers that every program can choose, on PulseAudio and PipeWire (through
//! pipewire-pulse).
//!
//! A virtual microphone is a null sink that gets the clean signal, and a source with the requested name
//! that carries its monitor. A virtual loudspeaker is a null sink with the requested name, whose monitor
//! is the input of a path. They are modules of the sound server, loaded with `pactl`.

use std::process::{Command, Stdio};

use crate::error::LiveError;

/// Text before the process id in the properties of the sink.
const OWNER: &str = "quietwire.pid=";

/// A virtual device of this process. Dropping it removes it.
#[derive(Debug)]
pub struct VirtualDevice {
    name: String,
    sink_name: String,
    /// of a microphone
    source_name: Option<String>,
    /// module ids, newest last
    modules: Vec<u32>,
}

impl VirtualDevice {
    /// Creates a microphone with a name for people. Removes a microphone of the same name that an
    /// ended process left.
    ///
    /// # Errors
    /// [`LiveError::VirtualDevice`] when there is no `pactl`, the sound server does not answer or refuses,
    /// or a running process has a device of this name.
    pub fn microphone(name: &str) -> Result<Self, LiveError> {
        let source_name = slug(name);
        let sink_name = format!("{source_name}_sink");
        Self::create(name, sink_name, Some(source_name))
    }

    /// Creates a loudspeaker with a name for people. Removes a loudspeaker of the same name that an
    /// ended process left.
    ///
    /// # Errors
    /// As [`microphone`](Self::microphone).
    pub fn loudspeaker(name: &str) -> Result<Self, LiveError> {
        Self::create(name, format!("{}_speaker", slug(name)), None)
    }

    fn create(
        name: &str,
        sink_name: String,
        source_name: Option<String>,
    ) -> Result<Self, LiveError> {
        let mut device = Self {
            name: name.to_owned(),
            sink_name,
            source_name,
            modules: Vec::new(),
        };
        device.load()?;
        Ok(device)
    }

    /// The name of its sink. A path writes to the sink of a microphone.
    pub fn sink_name(&self) -> &str {
        &self.sink_name
    }

    /// The name of its source, as `pactl list sources` shows it. A path reads the source of a
    /// loudspeaker.
    pub fn source_name(&self) -> String {
        match &self.source_name {
            Some(name) => name.clone(),
            None => format!("{}.monitor", self.sink_name),
        }
    }

    /// Creates it again if the sound server has lost it, as after a restart of the server.
    ///
    /// # Errors
    /// As [`microphone`](Self::microphone).
    pub fn ensure(&mut self) -> Result<(), LiveError> {
        let sources = self.pactl(&["list", "short", "sources"])?;
        let source_name = self.source_name();
        let is_there = sources
            .lines()
            .any(|line| line.split('\t').nth(1) == Some(source_name.as_str()));
        if is_there {
            return Ok(());
        }
        self.unload();
        self.load()
    }

    fn load(&mut self) -> Result<(), LiveError> {
        self.remove_orphan()?;
        let result = self.load_sink().and_then(|()| self.load_source());
        if result.is_err() {
            self.unload();
        }
        result
    }

    fn load_sink(&mut self) -> Result<(), LiveError> {
        let mut description = self.description();
        if self.source_name.is_some() {
            description += " (quietwire)";
        }
        let pid = std::process::id();
        self.load_module(&[
            "module-null-sink",
            &format!("sink_name={}", self.sink_name),
            "rate=48000",
            "channels=1",
            "channel_map=mono",
            &format!("sink_properties='device.description=\"{description}\" {OWNER}{pid}'"),
        ])
    }

    fn load_source(&mut self) -> Result<(), LiveError> {
        let Some(source_name) = &self.source_name else {
            return Ok(());
        };
        let source_name = format!("source_name={source_name}");
        self.load_module(&[
            "module-remap-source",
            &source_name,
            &format!("master={}.monitor", self.sink_name),
            "channels=1",
            "channel_map=mono",
            &format!(
                "source_properties='device.description=\"{}\"'",
                self.description()
            ),
        ])
    }

    /// The name for people, without the quotes that the server reads in arguments of modules.
    fn description(&self) -> String {
        self.name.replace(['"', '\'', '\\'], "_")
    }

    fn load_module(&mut self, module: &[&str]) -> Result<(), LiveError> {
        let mut arguments = vec!["load-module"];
        arguments.extend(module);
        let output = self.pactl(&arguments)?;
        match output.trim().parse() {
            Ok(id) => {
                self.modules.push(id);
                Ok(())
            }
            Err(_) => Err(self.failed(format!("pactl printed `{}`", output.trim()))),
        }
    }

    /// Unloads the modules of a process that has ended without doing so.
    fn remove_orphan(&self) -> Result<(), LiveError> {
        let modules = self.pactl(&["list", "short", "modules"])?;
        let sink = format!("sink_name={}", self.sink_name);
        let source = self.source_name.as_ref();
        let source = source.map(|name| format!("source_name={name}"));
        for line in modules.lines().rev() {
            let mut fields = line.split('\t');
            let (Some(id), Some(_), Some(arguments)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let has = |text: &str| arguments.split_whitespace().any(|word| word == text);
            if !has(&sink) && !source.as_deref().is_some_and(has) {
                continue;
            }
            let owner = arguments.split_once(OWNER).map(|(_, rest)| {
                rest.chars()
                    .take_while(char::is_ascii_digit)
                    .collect::<String>()
            });
            if let Some(pid) = owner.and_then(|pid| pid.parse().ok())
                && pid != std::process::id()
                && is_running(pid)
            {
                return Err(self.failed(format!("process {pid} has a device of this name")));
            }
            self.pactl(&["unload-module", id])?;
        }
        Ok(())
    }

    fn unload(&mut self) {
        for id in std::mem::take(&mut self.modules).iter().rev() {
            // The server may have restarted and given the id to another module: check the name.
            let Ok(modules) = self.pactl(&["list", "short", "modules"]) else {
                return;
            };
            let is_ours = modules.lines().any(|line| {
                line.split('\t').next() == Some(&id.to_string()) && line.contains(&self.sink_name)
            });
            if is_ours {
                let _ = self.pactl(&["unload-module", &id.to_string()]);
            }
        }
    }

    fn pactl(&self, arguments: &[&str]) -> Result<String, LiveError> {
        pactl(arguments).map_err(|reason| self.failed(reason))
    }

    fn failed(&self, reason: String) -> LiveError {
        LiveError::VirtualDevice {
            name: self.name.clone(),
            reason,
        }
    }
}

impl Drop for VirtualDevice {
    fn drop(&mut self) {
        self.unload();
    }
}

/// The sound server and its version, as `pactl info` shows it.
///
/// # Errors
/// Why there is no answer.
pub fn sound_server() -> Result<String, String> {
    let info = pactl(&["info"])?;
    let field = |name: &str| {
        let mut lines = info.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or("unknown").to_owned()
    };
    Ok(format!(
        "{} {}",
        field("Server Name"),
        field("Server Version")
    ))
}

fn pactl(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("pactl")
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("pactl does not run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn is_running(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// A name of letters, digits and underscores for the sound server.
fn slug(name: &str) -> String {
    let slug: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("quietwire_{}", slug.trim_matches('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_safe_for_the_sound_server() {
        assert_eq!(slug("Clean Mic 2"), "quietwire_clean_mic_2");
        assert_eq!(slug("\"; rm -rf"), "quietwire_rm__rf");
    }
}
