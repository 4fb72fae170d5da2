//! Requests for several streams. Each stream has a result of its own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::api::bulk::{BulkCreate, BulkDelete, BulkResult, BulkResults};
use crate::api::error::{ApiError, ErrorBody};
use crate::api::new_stream::NewStream;
use crate::api::object::Object;
use crate::control::Relay;
use crate::http::extract::Fields;
use crate::http::response::status_and_text;
use crate::http::streams::to_completion;

/// Streams of one request.
const MAX_STREAMS: usize = 1000;

type Shared = State<Arc<Relay>>;

fn check_count(count: usize) -> Result<(), ApiError> {
    if count > MAX_STREAMS {
        return Err(ApiError::Invalid(format!(
            "{count} streams: expected at most {MAX_STREAMS}"
        )));
    }
    Ok(())
}

fn failed(id: Option<String>, error: ApiError) -> BulkResult {
    let (status, error) = status_and_text(error);
    BulkResult {
        id,
        status: status.as_u16(),
        stream: None,
        error: Some(error),
    }
}

async fn create_one(relay: &Relay, options: serde_json::Value) -> BulkResult {
    let id = options.get("id").and_then(|id| id.as_str());
    let id = id.map(str::to_owned);
    let config = match serde_json::from_value::<Object<NewStream>>(options) {
        Ok(Object(config)) => config,
        Err(error) => return failed(id, ApiError::Invalid(error.to_string())),
    };
    match relay.add(config).await {
        Ok(stream) => BulkResult {
            id: Some(stream.id.clone()),
            status: StatusCode::CREATED.as_u16(),
            stream: Some(stream),
            error: None,
        },
        Err(error) => failed(id, error),
    }
}

/// Creates streams, one after another. Errors of one do not affect the others.
#[utoipa::path(post, path = "/v1/bulk/create", operation_id = "bulk_create", tag = "streams", request_body = BulkCreate, responses(
    (status = 200, body = BulkResults, description = "the result of each stream"),
    (status = 413, body = ErrorBody, description = "the body is longer than 2 MiB"),
    (status = 422, body = ErrorBody, description = "the body is not valid; no stream was created")))]
pub async fn create(
    State(relay): Shared,
    Fields(bulk): Fields<BulkCreate>,
) -> Result<Json<BulkResults>, ApiError> {
    check_count(bulk.streams.len())?;
    let results = to_completion(async move {
        let mut results = Vec::with_capacity(bulk.streams.len());
        for options in bulk.streams {
            results.push(create_one(&relay, options).await);
            // Other requests get their turn.
            tokio::task::yield_now().await;
        }
        Ok(results)
    });
    Ok(Json(BulkResults {
        results: results.await?,
    }))
}

/// Removes streams, by their ids or by labels.
#[utoipa::path(post, path = "/v1/bulk/delete", operation_id = "bulk_delete", tag = "streams", request_body = BulkDelete, responses(
    (status = 200, body = BulkResults, description = "the result of each stream"),
    (status = 413, body = ErrorBody, description = "the body is longer than 2 MiB"),
    (status = 422, body = ErrorBody, description = "the body is not valid; no stream was removed")))]
pub async fn delete(
    State(relay): Shared,
    Fields(bulk): Fields<BulkDelete>,
) -> Result<Json<BulkResults>, ApiError> {
    let ids = match (bulk.ids, bulk.labels) {
        (Some(ids), None) => {
            check_count(ids.len())?;
            ids
        }
        (None, Some(labels)) if !labels.is_empty() => relay.ids_with(&labels, None),
        _ => {
            let text = "expected either `ids`, or `labels` with at least one label";
            return Err(ApiError::Invalid(text.into()));
        }
    };
    let results = to_completion(async move {
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            results.push(match relay.remove(&id).await {
                Ok(()) => BulkResult {
                    id: Some(id),
                    status: StatusCode::NO_CONTENT.as_u16(),
                    stream: None,
                    error: None,
                },
                Err(error) => failed(Some(id), error),
            });
        }
        Ok(results)
    });
    Ok(Json(BulkResults {
        results: results.await?,
    }))
}
