//! Errors as responses.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::error::{ApiError, ErrorBody};

pub fn error_response(status: StatusCode, error: impl Into<String>) -> Response {
    let error = error.into();
    (status, Json(ErrorBody { error })).into_response()
}

/// The status and the text of an error.
pub fn status_and_text(error: ApiError) -> (StatusCode, String) {
    match error {
        ApiError::Invalid(error) => (StatusCode::UNPROCESSABLE_ENTITY, error),
        ApiError::Conflict(error) => (StatusCode::CONFLICT, error),
        ApiError::NotFound(error) => (StatusCode::NOT_FOUND, error),
        ApiError::Unavailable(error) => (StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error) = status_and_text(self);
        error_response(status, error)
    }
}
