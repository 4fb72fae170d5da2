//! The control interface: streams as resources, health, metrics, and the page.

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

use super::stream::Refusal;
use super::strips::{COLUMN_MS, bands_hz};
use super::view::{self, Change, Fault, Health, Models, NewStream, Object, Streams, Strips};
use super::{Relay, metrics};

/// Longest body that is read: many times the longest that makes sense.
const MAX_BODY: usize = 64 * 1024;
const PAGE: &str = include_str!("page.html");
/// The page's own script and style, and nothing from elsewhere.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

type Shared = State<Arc<Relay>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "quietwire relay",
        description = "RTP streams in, clean RTP streams out. With a token, every request but those for the page and the health needs `Authorization: Bearer TOKEN`."
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
    let guarded = Router::new()
        .route("/v1/streams", get(list).post(create))
        .route("/v1/streams/{id}", get(show).patch(change).delete(remove))
        .route("/v1/models", get(models))
        .route("/v1/strips", get(strips))
        .route("/metrics", get(metrics_text))
        .route("/openapi.json", get(async || Json(Api::openapi())))
        .layer(from_fn_with_state(relay.clone(), guard));
    Router::new()
        .route("/", get(page))
        .route("/health", get(health))
        .merge(guarded)
        .fallback(async || fault(StatusCode::NOT_FOUND, "no such resource; see /openapi.json"))
        .method_not_allowed_fallback(async || {
            fault(
                StatusCode::METHOD_NOT_ALLOWED,
                "not this method; see /openapi.json",
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(relay.clone(), same_host))
        .with_state(relay)
}

fn fault(status: StatusCode, error: impl Into<String>) -> Response {
    let error = error.into();
    (status, Json(Fault { error })).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Invalid(error) => fault(StatusCode::UNPROCESSABLE_ENTITY, error),
            Self::Taken(error) => fault(StatusCode::CONFLICT, error),
            Self::Unknown(error) => fault(StatusCode::NOT_FOUND, error),
            Self::Full(error) => fault(StatusCode::SERVICE_UNAVAILABLE, error),
        }
    }
}

/// Does a thing to its end, even if who asked for it hangs up meanwhile.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(Refusal::Full("the relay is ending".into())))
}

/// The id in an address.
struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(rejection) => Err(fault(rejection.status(), rejection.body_text())),
        }
    }
}

/// What axum says of a body, in our form.
fn body_fault(rejection: &JsonRejection) -> Response {
    fault(
        rejection.status(),
        format!("body: {}", rejection.body_text()),
    )
}

/// Whether two tokens are one, in a time that does not tell how much of them is.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && differences == 0
}

async fn guard(State(relay): Shared, request: Request, next: Next) -> Response {
    if let Some(token) = &relay.token {
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let given = given.map(|(_, token)| token);
        if !given.is_some_and(|given| is_same(given.trim().as_bytes(), token.as_bytes())) {
            let mut refused = fault(
                StatusCode::UNAUTHORIZED,
                "expected `Authorization: Bearer TOKEN` with the relay's token",
            );
            let scheme = HeaderValue::from_static("Bearer");
            refused
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
            return refused;
        }
    }
    next.run(request).await
}

/// A relay without a token that only this computer reaches answers to this computer's names alone:
/// else a web page elsewhere could ask it in the name of whoever looks at the page.
async fn same_host(State(relay): Shared, request: Request, next: Next) -> Response {
    if relay.is_local && relay.token.is_none() && !is_local_name(request.headers()) {
        return fault(
            StatusCode::FORBIDDEN,
            "Host: expected localhost or a loopback address; a relay for others needs a token",
        );
    }
    next.run(request).await
}

fn is_local_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true; // no browser leaves it out
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

/// Whether the relay takes streams.
#[utoipa::path(get, path = "/health", responses(
    (status = 200, body = Health), (status = 503, body = Health, description = "draining")))]
async fn health(State(relay): Shared) -> Response {
    let draining = relay.is_draining();
    let health = Health {
        status: if draining { "draining" } else { "ok" },
        streams: relay.places().len(),
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
    let (streams, _) = relay.look().await;
    Json(Streams { streams })
}

/// Makes a stream.
#[utoipa::path(post, path = "/v1/streams", request_body = NewStream, responses(
    (status = 201, body = view::Stream),
    (status = 400, body = Fault, description = "no JSON"),
    (status = 409, body = Fault, description = "the id or the port is taken"),
    (status = 413, body = Fault, description = "more than 64 KiB"),
    (status = 415, body = Fault, description = "not application/json"),
    (status = 422, body = Fault, description = "a value that cannot be"),
    (status = 503, body = Fault, description = "draining, or as many streams as there may be")))]
async fn create(
    State(relay): Shared,
    body: Result<Json<Object<NewStream>>, JsonRejection>,
) -> Result<Response, Refusal> {
    Ok(match body {
        Ok(Json(Object(wish))) => {
            let stream = whole(async move { relay.add(wish).await }).await?;
            (StatusCode::CREATED, Json(stream)).into_response()
        }
        Err(rejection) => body_fault(&rejection),
    })
}

/// One stream.
#[utoipa::path(get, path = "/v1/streams/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = view::Stream), (status = 400, body = Fault), (status = 404, body = Fault)))]
async fn show(State(relay): Shared, Id(id): Id) -> Result<Json<view::Stream>, Refusal> {
    // A change of nothing.
    whole(async move { relay.change(&id, Change::default()).await })
        .await
        .map(Json)
}

/// Changes a stream; what is left out stays.
#[utoipa::path(patch, path = "/v1/streams/{id}", params(("id" = String, Path)),
    request_body = Change, responses(
    (status = 200, body = view::Stream),
    (status = 400, body = Fault, description = "no JSON"),
    (status = 404, body = Fault),
    (status = 413, body = Fault, description = "more than 64 KiB"),
    (status = 415, body = Fault, description = "not application/json"),
    (status = 422, body = Fault, description = "a value that cannot be; nothing was changed")))]
async fn change(
    State(relay): Shared,
    Id(id): Id,
    body: Result<Json<Object<Change>>, JsonRejection>,
) -> Result<Response, Refusal> {
    Ok(match body {
        Ok(Json(Object(change))) => {
            Json(whole(async move { relay.change(&id, change).await }).await?).into_response()
        }
        Err(rejection) => body_fault(&rejection),
    })
}

/// Ends a stream.
#[utoipa::path(delete, path = "/v1/streams/{id}", params(("id" = String, Path)), responses(
    (status = 204), (status = 400, body = Fault), (status = 404, body = Fault)))]
async fn remove(State(relay): Shared, Id(id): Id) -> Result<StatusCode, Refusal> {
    whole(async move { relay.remove(&id).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}

/// The models that a stream can have.
#[utoipa::path(get, path = "/v1/models", responses((status = 200, body = Models)))]
async fn models(State(relay): Shared) -> Json<Models> {
    let ids = relay
        .models
        .iter()
        .map(|model| model.manifest().id().to_owned());
    Json(Models {
        models: ids.collect(),
    })
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

/// Spectra of the latest ten seconds. They are made only while somebody asks.
#[utoipa::path(get, path = "/v1/strips",
    params(("since" = Option<u64>, Query, description = "only columns after this one")),
    responses((status = 200, body = Strips), (status = 400, body = Fault)))]
async fn strips(State(relay): Shared, since: Result<Query<Since>, QueryRejection>) -> Response {
    match since {
        Ok(Query(Since { since })) => Json(Strips {
            column_ms: COLUMN_MS,
            bands_hz: bands_hz(),
            streams: relay.strips(since).await,
        })
        .into_response(),
        Err(rejection) => fault(rejection.status(), rejection.body_text()),
    }
}

/// The same for Prometheus.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, body = String, content_type = "text/plain")))]
async fn metrics_text(State(relay): Shared) -> Response {
    let (streams, workers) = relay.look().await;
    let text = metrics::text(&streams, &workers);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
