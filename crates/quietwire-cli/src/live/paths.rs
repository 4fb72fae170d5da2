//! The paths of one process: the microphone, and what the loudspeaker plays.

use quietwire_live::{Live, Status};
use serde::Serialize;

/// The path that is shown and recorded, and that of the virtual loudspeaker beside it.
pub(crate) struct Paths {
    main: Live,
    speaker: Option<Live>,
}

/// The state of all paths, for programs.
#[derive(Serialize)]
pub(crate) struct PathsStatus {
    #[serde(flatten)]
    pub main: Status,
    /// of the virtual loudspeaker beside a microphone
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker: Option<Status>,
}

impl Paths {
    pub(crate) fn new(main: Live, speaker: Option<Live>) -> Self {
        Self { main, speaker }
    }

    pub(crate) fn main(&self) -> &Live {
        &self.main
    }

    pub(crate) fn speaker(&self) -> Option<&Live> {
        self.speaker.as_ref()
    }

    pub(crate) fn status(&self) -> PathsStatus {
        PathsStatus {
            main: status(&self.main),
            speaker: self.speaker.as_ref().map(status),
        }
    }

    /// Closes all devices. Returns the final state.
    pub(crate) fn stop(self) -> PathsStatus {
        PathsStatus {
            main: self.main.stop(),
            speaker: self.speaker.map(Live::stop),
        }
    }
}

/// With the present switches: the worker reports them some milliseconds later.
fn status(live: &Live) -> Status {
    let mut status = live.status();
    status.bypass = live.settings().bypass();
    status.muted = live.settings().muted();
    status
}
