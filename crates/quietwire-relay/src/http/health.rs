//! Whether the relay lives and creates streams.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::relay::Health;
use crate::control::Relay;

type Shared = State<Arc<Relay>>;

fn response(relay: &Relay, status: &'static str) -> Response {
    let health = Health {
        status,
        streams: relay.stream_count(),
        version: env!("CARGO_PKG_VERSION"),
        start_id: relay.start_id.clone(),
    };
    let status = if status == "ok" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health)).into_response()
}

/// Whether the relay creates streams. As `/readyz`, except that a relay at its limit of streams is `ok`.
#[utoipa::path(get, path = "/health", tag = "health", responses(
    (status = 200, body = Health), (status = 503, body = Health, description = "the relay is draining")))]
pub async fn health(State(relay): Shared) -> Response {
    let status = if relay.is_draining() {
        "draining"
    } else {
        "ok"
    };
    response(&relay, status)
}

/// Whether all worker threads answer. If not, restart the relay.
#[utoipa::path(get, path = "/livez", tag = "health", responses(
    (status = 200, body = Health),
    (status = 503, body = Health, description = "a worker thread has ended or does not answer")))]
pub async fn livez(State(relay): Shared) -> Response {
    let status = if relay.is_alive().await {
        "ok"
    } else {
        "a worker does not answer"
    };
    response(&relay, status)
}

/// Whether the relay creates streams now. If not, use another relay for new streams.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, body = Health),
    (status = 503, body = Health, description = "the relay is draining, or at its limit of streams")))]
pub async fn readyz(State(relay): Shared) -> Response {
    let status = if relay.is_draining() {
        "draining"
    } else if relay.stream_count() >= relay.max_streams() {
        "at the limit of streams"
    } else {
        "ok"
    };
    response(&relay, status)
}
