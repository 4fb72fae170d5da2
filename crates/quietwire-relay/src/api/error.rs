//! Why a request fails.

use serde::Serialize;
use utoipa::ToSchema;

/// An error.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ErrorBody {
    pub error: String,
}

/// Why a request cannot be fulfilled.
#[derive(Debug)]
pub enum ApiError {
    /// a value is not valid
    Invalid(String),
    /// the id or the address is in use
    Conflict(String),
    /// the stream does not exist
    NotFound(String),
    /// the relay cannot create more streams
    Unavailable(String),
}

impl ApiError {
    pub fn unknown_stream(id: &str) -> Self {
        Self::NotFound(format!("no stream has the id `{id}`"))
    }
}
