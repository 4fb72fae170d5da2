//! Events as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::watch;

use crate::api::error::ErrorBody;
use crate::api::event::Event;
use crate::control::Relay;
use crate::http::connections::{Connection, InUse};
use crate::http::extract::Fielded;
use crate::http::response::error_response;

/// Clients that follow the events at the same time.
const MAX_CLIENTS: usize = 16;
/// Interval of comments on a connection without events, so that both sides notice its end.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

static CLIENTS: AtomicUsize = AtomicUsize::new(0);

/// A client among those that are counted.
struct Client {
    relay: Arc<Relay>,
    /// number of the latest event that was sent
    sent: u64,
    latest: watch::Receiver<u64>,
    _in_use: Option<InUse>,
}

impl Client {
    /// `None`: there are too many.
    fn new(relay: Arc<Relay>, after: Option<u64>, in_use: Option<InUse>) -> Option<Self> {
        let latest = relay.events.watch();
        let newest = *latest.borrow();
        let client = Self {
            // A number of an earlier start may be larger.
            sent: after.unwrap_or(newest).min(newest),
            relay,
            latest,
            _in_use: in_use,
        };
        let others = CLIENTS.fetch_add(1, Ordering::Relaxed);
        (others < MAX_CLIENTS).then_some(client)
    }

    /// Waits for the next event.
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.latest.borrow_and_update();
            if let Some(event) = self.relay.events.after(self.sent) {
                self.sent = event.number;
                return Some(event);
            }
            self.latest.changed().await.ok()?;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        CLIENTS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    after: Option<u64>,
}

/// Events of streams as they happen, as server-sent events: each has the number as `id`, the kind as
/// `event` and an `Event` as `data`. The latest 1024 events are kept: a client that connects again with
/// `Last-Event-ID` or `after` misses none of them.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(("after" = Option<u64>, Query, format = "uint64", description = "first the kept events after this number")),
    responses(
    (status = 200, body = Event, content_type = "text/event-stream"),
    (status = 400, body = ErrorBody, description = "the query is not valid"),
    (status = 503, body = ErrorBody, description = "16 clients follow the events already")))]
pub async fn events(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    Fielded(After { after }): Fielded<After>,
    request: axum::extract::Request,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = last.and_then(|id| id.parse().ok()).or(after);
    let connection = request.extensions().get::<Arc<Connection>>();
    let in_use = connection.map(Connection::start_request);
    let Some(client) = Client::new(relay, after, in_use) else {
        return error_response(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{MAX_CLIENTS} clients follow the events already"),
        );
    };
    let events = stream::unfold(client, |mut client| async {
        let event = client.next().await?;
        let data = serde_json::to_string(&event).expect("an event is valid JSON");
        let event = sse::Event::default()
            .id(event.number.to_string())
            .event(event.kind.name())
            .data(data);
        Some((Ok::<_, Infallible>(event), client))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Sse::new(events).keep_alive(keep_alive).into_response()
}
