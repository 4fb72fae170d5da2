//! What the user can do about a failure of a device or the sound server.

use quietwire_live::{LiveError, OpenFailure};

pub(crate) fn remedy(error: &LiveError) -> Option<&'static str> {
    match error {
        LiveError::NoHost { .. } => Some(
            "start PipeWire or PulseAudio (systemctl --user start pipewire-pulse), \
             and check with quietwire live doctor",
        ),
        LiveError::NoDevice { .. } => Some("connect one; quietwire live devices lists all"),
        LiveError::UnknownDevice { .. } => Some("quietwire live devices lists all"),
        LiveError::AmbiguousDevice { .. } => {
            Some("give more of the name, or the id that quietwire live devices shows")
        }
        LiveError::Open { failure, .. } => match failure {
            OpenFailure::Busy => Some("close the program that uses it, or choose another device"),
            OpenFailure::Absent => Some("connect it again; quietwire live devices lists all"),
            OpenFailure::PermissionDenied => Some(
                "allow this program to use the microphone; on Linux without a sound server, add \
                 the user to the group audio",
            ),
            OpenFailure::Format => Some("choose another device, or its plain format in the mixer"),
            OpenFailure::NoServer => Some("start the sound server again"),
            _ => Some("quietwire live doctor checks the devices"),
        },
        LiveError::VirtualDevice { .. } => Some(
            "it needs a running PulseAudio or PipeWire with pipewire-pulse, and the program pactl \
             (package pulseaudio-utils); quietwire live doctor checks both",
        ),
        LiveError::Feedback { .. } => Some(
            "choose the real loudspeaker as the default output of the system, or name it with \
             --speaker-output",
        ),
        LiveError::Record { .. } => Some("free some space or choose another file"),
        _ => None,
    }
}
