//! Which requests are answered.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::control::Relay;
use crate::http::connections::Connection;
use crate::http::response::error_response;

/// Requests need a token, if the relay has any.
pub async fn require_token(
    State(relay): State<Arc<Relay>>,
    request: Request,
    next: Next,
) -> Response {
    if relay.access.has_tokens() {
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        if !given.is_some_and(|(_, token)| relay.access.accepts(token.trim())) {
            let (method, path) = (request.method(), request.uri().path());
            tracing::warn!(%method, path, "request without a valid token");
            let mut response = error_response(
                StatusCode::UNAUTHORIZED,
                "expected `Authorization: Bearer TOKEN` with a token of the relay",
            );
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
            return response;
        }
    }
    let connection = request.extensions().get::<Arc<Connection>>();
    let _in_use = connection.map(Connection::start_request);
    next.run(request).await
}

/// A relay on a loopback address without a token accepts only host names of this computer. Otherwise a
/// web page of another site could control it through the user's browser (DNS rebinding).
pub async fn require_local_host(
    State(relay): State<Arc<Relay>>,
    request: Request,
    next: Next,
) -> Response {
    if relay.access.needs_local_name() && !is_local_name(request.headers()) {
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
