//! State changes that clients can follow.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::stream_info::State;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    Created,
    /// a client changed settings
    Changed,
    /// the state changed
    State,
    /// `last_error` has an error of another kind
    Error,
    Removed,
    /// removed because no packet was received for `idle_timeout_s`
    Expired,
    /// the relay received a signal and ends; no stream has this id
    Draining,
}

impl EventKind {
    /// The name in the event stream.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::State => "state",
            Self::Error => "error",
            Self::Removed => "removed",
            Self::Expired => "expired",
            Self::Draining => "draining",
        }
    }
}

/// One event.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Event {
    /// consecutive since the start of the relay
    #[schema(minimum = 1)]
    pub number: u64,
    /// seconds since 1970-01-01 00:00 UTC
    #[schema(example = 1_790_000_000.25)]
    pub unix_s: f64,
    pub kind: EventKind,
    /// id of the stream; empty for `draining`
    pub stream: String,
    /// the state after a `state` event
    pub state: Option<State>,
    /// the active model after a `state` event; null while the output is the input
    pub active_model: Option<String>,
    /// the text of an `error` event
    pub error: Option<String>,
}
