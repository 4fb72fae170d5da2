//! `quietwire live doctor`.

use std::process::ExitCode;

use anyhow::Result;
use quietwire::Model;
use quietwire_live::{auto_models, host_name, list_devices, realtime_priority, sound_server};

/// Prints one line for each check. The exit code is 1 when `live` will not run.
pub(crate) fn run() -> Result<ExitCode> {
    let mut report = Report { failed: false };
    match host_name() {
        Ok(name) => report.good(&format!("audio system: {name}")),
        Err(error) => report.bad(
            &error.to_string(),
            "start PipeWire or PulseAudio: systemctl --user start pipewire-pulse",
        ),
    }
    match sound_server() {
        Ok(server) => report.good(&format!("sound server: {server}; --virtual-mic works")),
        Err(reason) => report.warn(
            &format!("no sound server for --virtual-mic: {reason}"),
            "install pulseaudio-utils, and start PipeWire with pipewire-pulse, or PulseAudio",
        ),
    }
    if let Ok(devices) = list_devices() {
        for direction in ["input", "output"] {
            let of_direction = || devices.iter().filter(|d| d.direction == direction);
            let Some(default) = of_direction().find(|d| d.is_default) else {
                let count = of_direction().count();
                report.bad(
                    &format!("no default {direction} device among {count}"),
                    "connect a device, or choose a default in the mixer of the system",
                );
                continue;
            };
            report.good(&format!(
                "default {direction}: {} at {} Hz, {} channels",
                default.name, default.rate_hz, default.channels
            ));
            if direction == "input" && default.id.ends_with(".monitor") {
                report.warn(
                    "the default input is the monitor of an output, not a microphone",
                    "choose a microphone with --input",
                );
            }
            if default.rate_hz != 0 && default.rate_hz < 16_000 {
                report.warn(
                    &format!("{direction} at {} Hz: telephone quality", default.rate_hz),
                    "a Bluetooth headset in call mode does this; choose another microphone",
                );
            }
        }
    }
    let priority = realtime_priority();
    if priority.starts_with("normal") {
        report.warn(
            &format!("priority of the worker: {priority}"),
            "under load expect steps to a cheaper model; to grant it, add `@audio - rtprio 20` to \
             /etc/security/limits.d/audio.conf, join the group audio and log in again",
        );
    } else {
        report.good(&format!("priority of the worker: {priority}"));
    }
    let models = ["base", "tiny"].map(Model::embedded);
    let models = models.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (_, choice) = auto_models(&models)?;
    if choice.contains("too slow") {
        report.warn(
            &format!("model {choice}"),
            "use a release build, or close other programs",
        );
    } else {
        report.good(&format!("model {choice}"));
    }
    Ok(ExitCode::from(u8::from(report.failed)))
}

struct Report {
    failed: bool,
}

impl Report {
    #[expect(clippy::unused_self, reason = "the three kinds of lines have one form")]
    fn good(&self, text: &str) {
        println!("ok       {text}");
    }

    #[expect(clippy::unused_self, reason = "the three kinds of lines have one form")]
    fn warn(&self, text: &str, remedy: &str) {
        println!("warning  {text}\n         {remedy}");
    }

    fn bad(&mut self, text: &str, remedy: &str) {
        self.failed = true;
        println!("failure  {text}\n         {remedy}");
    }
}
