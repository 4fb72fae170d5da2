//! Streams as resources, and what they can use.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::api::error::{ApiError, ErrorBody};
use crate::api::new_stream::{Change, NewStream};
use crate::api::relay::{Models, Streams, Strips};
use crate::api::stream_info::{State as StreamState, StreamInfo};
use crate::control::Relay;
use crate::http::extract::{Fielded, Fields, Filter, Id};
use crate::http::response::error_response;
use crate::metrics;
use crate::spectrogram_feed::{COLUMN_MS, bands_hz};

type Shared = State<Arc<Relay>>;

/// Completes an operation even if its client disconnects meanwhile.
pub async fn to_completion<T: Send + 'static>(
    operation: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::spawn(operation).await;
    done.unwrap_or_else(|_| Err(ApiError::Unavailable("the relay is ending".into())))
}

/// Streams by id: all, or those that a query selects.
#[utoipa::path(get, path = "/v1/streams", tag = "streams",
    params(
    ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "streams of a page; default: all"),
    ("after" = Option<String>, Query, description = "only streams whose id is after this one"),
    ("labels" = Option<String>, Query, example = "call:42,side:a",
        description = "only streams with all of these labels: `NAME:VALUE`, several with commas between them"),
    ("state" = Option<StreamState>, Query, description = "only streams in this state")),
    responses(
    (status = 200, body = Streams),
    (status = 400, body = ErrorBody, description = "the query is not valid")))]
pub async fn list(State(relay): Shared, Fielded(filter): Fielded<Filter>) -> Response {
    let parsed = filter
        .page_len()
        .and_then(|page_len| Ok((page_len, filter.labels()?)));
    let (page_len, labels) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return error_response(StatusCode::BAD_REQUEST, error),
    };
    let mut ids = relay.ids_with(&labels, filter.after.as_deref());
    if filter.state.is_none() {
        // One more shows whether there is another page.
        ids.truncate(page_len + 1);
    }
    let mut streams = relay.show_all(ids).await;
    if let Some(state) = filter.state {
        streams.retain(|stream| stream.state == state);
    }
    let has_more = streams.len() > page_len;
    streams.truncate(page_len);
    let next = streams.last().filter(|_| has_more).map(|s| s.id.clone());
    Json(Streams { streams, next }).into_response()
}

/// Creates a stream.
#[utoipa::path(post, path = "/v1/streams", tag = "streams", request_body = NewStream, responses(
    (status = 201, body = StreamInfo),
    (status = 409, body = ErrorBody, description = "the id or the address is in use"),
    (status = 422, body = ErrorBody, description = "a value is not valid"),
    (status = 503, body = ErrorBody, description = "the relay is draining, or the limit of streams or sockets is reached")))]
pub async fn create(
    State(relay): Shared,
    Fields(config): Fields<NewStream>,
) -> Result<Response, ApiError> {
    let stream = to_completion(async move { relay.add(config).await }).await?;
    Ok((StatusCode::CREATED, Json(stream)).into_response())
}

/// One stream.
#[utoipa::path(get, path = "/v1/streams/{id}", tag = "streams",
    params(("id" = String, Path, example = "alice")), responses(
    (status = 200, body = StreamInfo), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn show(State(relay): Shared, Id(id): Id) -> Result<Json<StreamInfo>, ApiError> {
    relay.show(&id).await.map(Json)
}

/// Creates a stream with this id or, if it exists, changes it to these options. The same request again
/// changes nothing. Fields that are missing have their defaults. The fields of `Change` can change;
/// `accept_from`, `srtp_in` and `srtp_out` cannot be removed.
#[utoipa::path(put, path = "/v1/streams/{id}", tag = "streams",
    params(("id" = String, Path, example = "alice")),
    request_body = NewStream, responses(
    (status = 200, body = StreamInfo, description = "the stream existed"),
    (status = 201, body = StreamInfo, description = "the stream was created"),
    (status = 409, body = ErrorBody, description = "the address is in use, or the stream exists with options that cannot change"),
    (status = 422, body = ErrorBody, description = "a value is not valid"),
    (status = 503, body = ErrorBody, description = "the relay is draining, or the limit of streams or sockets is reached")))]
pub async fn put(
    State(relay): Shared,
    Id(id): Id,
    Fields(config): Fields<NewStream>,
) -> Result<Response, ApiError> {
    let (is_new, stream) = to_completion(async move { relay.put(&id, config).await }).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(stream)).into_response())
}

/// Changes a stream. Missing fields stay.
#[utoipa::path(patch, path = "/v1/streams/{id}", tag = "streams",
    params(("id" = String, Path, example = "alice")),
    request_body = Change, responses(
    (status = 200, body = StreamInfo),
    (status = 404, body = ErrorBody),
    (status = 422, body = ErrorBody, description = "a value is not valid; nothing was changed")))]
pub async fn change(
    State(relay): Shared,
    Id(id): Id,
    Fields(change): Fields<Change>,
) -> Result<Json<StreamInfo>, ApiError> {
    to_completion(async move { relay.change(&id, change).await })
        .await
        .map(Json)
}

/// Removes a stream.
#[utoipa::path(delete, path = "/v1/streams/{id}", tag = "streams",
    params(("id" = String, Path, example = "alice")), responses(
    (status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn remove(State(relay): Shared, Id(id): Id) -> Result<StatusCode, ApiError> {
    to_completion(async move { relay.remove(&id).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}

/// The models that streams can use.
#[utoipa::path(get, path = "/v1/models", tag = "streams", responses((status = 200, body = Models)))]
pub async fn models(State(relay): Shared) -> Json<Models> {
    Json(Models {
        models: relay.model_ids(),
    })
}

#[derive(Deserialize)]
pub struct Since {
    #[serde(default)]
    since: u64,
}

/// Spectrograms of the latest ten seconds. The relay computes them only while clients request them.
#[utoipa::path(get, path = "/v1/strips", tag = "streams",
    params(("since" = Option<u64>, Query, format = "uint64", description = "returns only columns after this one")),
    responses((status = 200, body = Strips), (status = 400, body = ErrorBody)))]
pub async fn strips(
    State(relay): Shared,
    Fielded(Since { since }): Fielded<Since>,
) -> Json<Strips> {
    Json(Strips {
        column_ms: COLUMN_MS,
        bands_hz: bands_hz(),
        streams: relay.strips(since).await,
    })
}

/// All counts and levels for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(relay): Shared) -> Response {
    let (streams, workers) = relay.snapshot().await;
    let text = metrics::text(
        &relay.start_id,
        relay.uptime(),
        relay.max_streams(),
        &streams,
        &workers,
    );
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
