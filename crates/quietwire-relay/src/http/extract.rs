//! Parts of requests, with errors that name them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::object::Object;
use crate::api::stream_info::State;
use crate::http::response::error_response;

/// Longest time for the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The id in a URL.
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(rejection) => Err(error_response(rejection.status(), rejection.body_text())),
        }
    }
}

/// A body: a JSON object with the fields of `T`.
pub struct Fields<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Fields<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let body = Json::<Object<T>>::from_request(request, state);
        match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(Json(Object(fields)))) => Ok(Self(fields)),
            Ok(Err(rejection)) => Err(error_response(
                rejection.status(),
                format!("body: {}", rejection.body_text()),
            )),
            Err(_) => Err(error_response(
                StatusCode::REQUEST_TIMEOUT,
                format!("body: not received within {} s", BODY_TIMEOUT.as_secs()),
            )),
        }
    }
}

/// The fields of a query.
pub struct Fielded<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Fielded<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        match query {
            Ok(Query(fields)) => Ok(Self(fields)),
            Err(rejection) => Err(error_response(rejection.status(), rejection.body_text())),
        }
    }
}

/// Which streams a list contains.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    pub limit: Option<usize>,
    pub after: Option<String>,
    pub labels: Option<String>,
    pub state: Option<State>,
}

impl Filter {
    /// Largest value of `limit`.
    pub const MAX_LIMIT: usize = 1000;

    /// The number of streams of a page.
    ///
    /// # Errors
    /// The text of the error.
    pub fn page_len(&self) -> Result<usize, String> {
        match self.limit {
            None => Ok(usize::MAX - 1),
            Some(limit) if (1..=Self::MAX_LIMIT).contains(&limit) => Ok(limit),
            Some(limit) => Err(format!(
                "limit: {limit} is out of range: expected 1 to {}",
                Self::MAX_LIMIT
            )),
        }
    }

    /// `labels` as names and values.
    ///
    /// # Errors
    /// The text of the error.
    pub fn labels(&self) -> Result<BTreeMap<String, String>, String> {
        let pairs = self.labels.iter().flat_map(|labels| labels.split(','));
        pairs
            .map(|pair| match pair.split_once(':') {
                Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                None => Err(format!(
                    "labels: {pair:?} is not valid: expected NAME:VALUE, several with commas between them"
                )),
            })
            .collect()
    }
}
