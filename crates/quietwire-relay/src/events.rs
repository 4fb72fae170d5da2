//! The latest events of the relay, for clients that follow them and for the log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::api::event::{Event, EventKind};
use crate::api::stream_info::State;

/// Events that are kept for clients that connect again.
const MAX_KEPT: usize = 1024;

/// The latest events.
pub struct Events {
    kept: Mutex<VecDeque<Event>>,
    /// number of the latest event
    latest: watch::Sender<u64>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            latest: watch::Sender::new(0),
        }
    }
}

impl Events {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Event>> {
        // A panic of another thread leaves the queue complete: each change is one call.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event to the events and to the log.
    pub fn add(&self, kind: EventKind, stream: &str) {
        match kind {
            EventKind::Expired => tracing::info!(stream, "stream expired without packets"),
            _ => tracing::info!(stream, "stream {}", kind.name()),
        }
        self.push(kind, stream, None, None, None);
    }

    /// The state of a stream changed.
    pub fn add_state(&self, stream: &str, state: State, active_model: Option<String>) {
        let model = active_model.as_deref().unwrap_or("none");
        if state == State::SteppedDown {
            tracing::warn!(stream, model, "stream stepped down by an overload");
        } else {
            tracing::info!(stream, ?state, model, "stream changed state");
        }
        self.push(EventKind::State, stream, Some(state), active_model, None);
    }

    /// A stream has an error of a new kind.
    pub fn add_error(&self, stream: &str, error: String) {
        tracing::warn!(stream, error, "stream error");
        self.push(EventKind::Error, stream, None, None, Some(error));
    }

    /// The relay ends.
    pub fn add_draining(&self) {
        self.push(EventKind::Draining, "", None, None, None);
    }

    fn push(
        &self,
        kind: EventKind,
        stream: &str,
        state: Option<State>,
        active_model: Option<String>,
        error: Option<String>,
    ) {
        let mut kept = self.kept();
        let number = *self.latest.borrow() + 1;
        if kept.len() == MAX_KEPT {
            kept.pop_front();
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        kept.push_back(Event {
            number,
            unix_s: now.map_or(0.0, |now| now.as_secs_f64()),
            kind,
            stream: stream.to_owned(),
            state,
            active_model,
            error,
        });
        self.latest.send_replace(number);
    }

    /// The first kept event after `number`. A client that is too slow misses events; their numbers
    /// show it.
    pub fn after(&self, number: u64) -> Option<Event> {
        let kept = self.kept();
        let first = kept.front()?.number;
        let index = (number + 1).saturating_sub(first);
        kept.get(usize::try_from(index).ok()?).cloned()
    }

    /// Changes when there is a new event. Its value is the number of the latest.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_kept_in_order_up_to_a_limit() {
        let events = Events::default();
        assert!(events.after(0).is_none());
        for n in 0..MAX_KEPT + 10 {
            events.add(EventKind::Created, &n.to_string());
        }
        assert_eq!(*events.watch().borrow(), MAX_KEPT as u64 + 10);
        assert_eq!(
            events.after(0).unwrap().number,
            11,
            "the oldest that is kept"
        );
        assert_eq!(events.after(500).unwrap().stream, "500");
        assert!(events.after(MAX_KEPT as u64 + 10).is_none());
        assert!(events.after(u64::MAX - 1).is_none());
    }
}
