//! The control interface over HTTP: streams as resources, health, metrics and the page.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use utoipa::OpenApi;

use crate::api::{
    ApiError, Change, ErrorBody, Health, Models, NewStream, Object, StreamInfo, Streams, Strips,
};
use crate::control::Relay;
use crate::metrics;
use crate::spectrogram_feed::{COLUMN_MS, bands_hz};

/// Longest request body, bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
const PAGE: &str = include_str!("page.html");
/// Allows the page's own script and style only.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

type Shared = State<Arc<Relay>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "quietwire relay",
        description = "Removes the noise of RTP streams. If the relay has a token, every request except those for the page and the health needs `Authorization: Bearer TOKEN`."
    ),
    paths(
        health,
        list,
        create,
        show,
        change,
        remove,
        models,
        strips,
        metrics_text
    )
)]
struct Api;

pub fn router(relay: Arc<Relay>) -> Router {
    let with_token = Router::new()
        .route("/v1/streams", get(list).post(create))
        .route("/v1/streams/{id}", get(show).patch(change).delete(remove))
        .route("/v1/models", get(models))
        .route("/v1/strips", get(strips))
        .route("/metrics", get(metrics_text))
        .route("/openapi.json", get(async || Json(Api::openapi())))
        .layer(from_fn_with_state(relay.clone(), require_token));
    Router::new()
        .route("/", get(page))
        .route("/health", get(health))
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
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(relay.clone(), require_local_host))
        .with_state(relay)
}

fn error_response(status: StatusCode, error: impl Into<String>) -> Response {
    let error = error.into();
    (status, Json(ErrorBody { error })).into_response()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Invalid(error) => (StatusCode::UNPROCESSABLE_ENTITY, error),
            Self::Conflict(error) => (StatusCode::CONFLICT, error),
            Self::NotFound(error) => (StatusCode::NOT_FOUND, error),
            Self::Unavailable(error) => (StatusCode::SERVICE_UNAVAILABLE, error),
        };
        error_response(status, error)
    }
}

/// Completes an operation even if its client disconnects meanwhile.
async fn to_completion<T: Send + 'static>(
    operation: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::spawn(operation).await;
    done.unwrap_or_else(|_| Err(ApiError::Unavailable("the relay is ending".into())))
}

/// The id in a URL.
struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(rejection) => Err(error_response(rejection.status(), rejection.body_text())),
        }
    }
}

/// The error of a body that axum rejected.
fn body_error(rejection: &JsonRejection) -> Response {
    error_response(
        rejection.status(),
        format!("body: {}", rejection.body_text()),
    )
}

/// Whether two tokens are equal, in a time that does not depend on where they differ.
fn is_same_token(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && differences == 0
}

async fn require_token(State(relay): Shared, request: Request, next: Next) -> Response {
    if let Some(token) = &relay.access.token {
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let given = given.map(|(_, token)| token);
        if !given.is_some_and(|given| is_same_token(given.trim().as_bytes(), token.as_bytes())) {
            let mut response = error_response(
                StatusCode::UNAUTHORIZED,
                "expected `Authorization: Bearer TOKEN` with the relay's token",
            );
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
            return response;
        }
    }
    next.run(request).await
}

/// A relay on a loopback address without a token accepts only host names of this computer. Otherwise a
/// web page of another site could control it through the user's browser (DNS rebinding).
async fn require_local_host(State(relay): Shared, request: Request, next: Next) -> Response {
    if relay.access.is_loopback && relay.access.token.is_none() && !is_local_name(request.headers())
    {
        return error_response(
            StatusCode::FORBIDDEN,
            "Host: expected localhost or a loopback address; access from other hosts needs a token",
        );
    }
    next.run(request).await
}

fn is_local_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true; // every browser sends it
    };
    let host = host.to_str().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
}

async fn page() -> Response {
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(PAGE)).into_response()
}

/// Whether the relay creates streams.
#[utoipa::path(get, path = "/health", responses(
    (status = 200, body = Health), (status = 503, body = Health, description = "the relay is draining")))]
async fn health(State(relay): Shared) -> Response {
    let draining = relay.is_draining();
    let health = Health {
        status: if draining { "draining" } else { "ok" },
        streams: relay.stream_count(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let status = if draining {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    (status, Json(health)).into_response()
}

/// All streams.
#[utoipa::path(get, path = "/v1/streams", responses((status = 200, body = Streams)))]
async fn list(State(relay): Shared) -> Json<Streams> {
    let (streams, _) = relay.snapshot().await;
    Json(Streams { streams })
}

/// Creates a stream.
#[utoipa::path(post, path = "/v1/streams", request_body = NewStream, responses(
    (status = 201, body = StreamInfo),
    (status = 400, body = ErrorBody, description = "the body is not JSON"),
    (status = 409, body = ErrorBody, description = "the id or the address is in use"),
    (status = 413, body = ErrorBody, description = "the body is longer than 64 KiB"),
    (status = 415, body = ErrorBody, description = "the content type is not application/json"),
    (status = 422, body = ErrorBody, description = "a value is not valid"),
    (status = 503, body = ErrorBody, description = "the relay is draining, or the limit of streams or sockets is reached")))]
async fn create(
    State(relay): Shared,
    body: Result<Json<Object<NewStream>>, JsonRejection>,
) -> Result<Response, ApiError> {
    Ok(match body {
        Ok(Json(Object(config))) => {
            let stream = to_completion(async move { relay.add(config).await }).await?;
            (StatusCode::CREATED, Json(stream)).into_response()
        }
        Err(rejection) => body_error(&rejection),
    })
}

/// One stream.
#[utoipa::path(get, path = "/v1/streams/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = StreamInfo), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn show(State(relay): Shared, Id(id): Id) -> Result<Json<StreamInfo>, ApiError> {
    // An empty change returns the stream.
    to_completion(async move { relay.change(&id, Change::default()).await })
        .await
        .map(Json)
}

/// Changes a stream. Missing fields stay.
#[utoipa::path(patch, path = "/v1/streams/{id}", params(("id" = String, Path)),
    request_body = Change, responses(
    (status = 200, body = StreamInfo),
    (status = 400, body = ErrorBody, description = "the body is not JSON"),
    (status = 404, body = ErrorBody),
    (status = 413, body = ErrorBody, description = "the body is longer than 64 KiB"),
    (status = 415, body = ErrorBody, description = "the content type is not application/json"),
    (status = 422, body = ErrorBody, description = "a value is not valid; nothing was changed")))]
async fn change(
    State(relay): Shared,
    Id(id): Id,
    body: Result<Json<Object<Change>>, JsonRejection>,
) -> Result<Response, ApiError> {
    Ok(match body {
        Ok(Json(Object(change))) => {
            Json(to_completion(async move { relay.change(&id, change).await }).await?)
                .into_response()
        }
        Err(rejection) => body_error(&rejection),
    })
}

/// Removes a stream.
#[utoipa::path(delete, path = "/v1/streams/{id}", params(("id" = String, Path)), responses(
    (status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn remove(State(relay): Shared, Id(id): Id) -> Result<StatusCode, ApiError> {
    to_completion(async move { relay.remove(&id).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}

/// The models that streams can use.
#[utoipa::path(get, path = "/v1/models", responses((status = 200, body = Models)))]
async fn models(State(relay): Shared) -> Json<Models> {
    Json(Models {
        models: relay.model_ids(),
    })
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

/// Spectrograms of the latest ten seconds. The relay computes them only while clients request them.
#[utoipa::path(get, path = "/v1/strips",
    params(("since" = Option<u64>, Query, description = "returns only columns after this one")),
    responses((status = 200, body = Strips), (status = 400, body = ErrorBody)))]
async fn strips(State(relay): Shared, since: Result<Query<Since>, QueryRejection>) -> Response {
    match since {
        Ok(Query(Since { since })) => Json(Strips {
            column_ms: COLUMN_MS,
            bands_hz: bands_hz(),
            streams: relay.strips(since).await,
        })
        .into_response(),
        Err(rejection) => error_response(rejection.status(), rejection.body_text()),
    }
}

/// All counts and levels for Prometheus.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, body = String, content_type = "text/plain")))]
async fn metrics_text(State(relay): Shared) -> Response {
    let (streams, workers) = relay.snapshot().await;
    let text = metrics::text(&streams, &workers);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
