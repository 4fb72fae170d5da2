//! The control interface over HTTP: streams as resources, health, metrics and the page.

mod bulk;
pub mod connections;
mod event_stream;
mod extract;
mod guard;
mod health;
mod openapi;
mod response;
mod streams;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use utoipa::OpenApi as _;

use crate::control::Relay;
use guard::{require_local_host, require_token};
use openapi::Api;
use response::error_response;

/// Longest request body, bytes; of requests for several streams.
const MAX_BODY_BYTES: usize = 64 * 1024;
const MAX_BULK_BODY_BYTES: usize = 2 * 1024 * 1024;
const PAGE: &str = include_str!("page.html");
/// Allows the page's own script and style only.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

pub fn router(relay: Arc<Relay>) -> Router {
    let description = Api::openapi();
    let description = serde_json::to_string(&description).expect("a description is valid JSON");
    let json = HeaderValue::from_static("application/json");
    let description = ([(header::CONTENT_TYPE, json)], description);
    let bulk = Router::new()
        .route("/v1/bulk/create", post(bulk::create))
        .route("/v1/bulk/delete", post(bulk::delete))
        .layer(DefaultBodyLimit::max(MAX_BULK_BODY_BYTES));
    let with_token = Router::new()
        .route("/v1/streams", get(streams::list).post(streams::create))
        .route(
            "/v1/streams/{id}",
            get(streams::show)
                .put(streams::put)
                .patch(streams::change)
                .delete(streams::remove),
        )
        .route("/v1/models", get(streams::models))
        .route("/v1/strips", get(streams::strips))
        .route("/v1/events", get(event_stream::events))
        .route("/metrics", get(streams::metrics))
        .route("/openapi.json", get(async move || description))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .merge(bulk)
        .layer(from_fn_with_state(relay.clone(), require_token));
    Router::new()
        .route("/", get(page))
        .route("/health", get(health::health))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .merge(with_token)
        .fallback(async || {
            error_response(StatusCode::NOT_FOUND, "no such resource; see /openapi.json")
        })
        .method_not_allowed_fallback(async || {
            error_response(
                StatusCode::METHOD_NOT_ALLOWED,
                "this resource does not have this method; see /openapi.json",
            )
        })
        .layer(from_fn_with_state(relay.clone(), require_local_host))
        .with_state(relay)
}

async fn page() -> Response {
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(PAGE)).into_response()
}
