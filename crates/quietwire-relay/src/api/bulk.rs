//! Bodies of requests for several streams.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::new_stream::NewStream;
use crate::api::stream_info::StreamInfo;

/// Streams to be created. Each has a result of its own: an error of one does not affect the others.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkCreate {
    // Read one by one, so that an error concerns one stream only.
    #[schema(value_type = Vec<NewStream>, max_items = 1000)]
    pub streams: Vec<serde_json::Value>,
}

/// Streams to be removed: by their ids, or all streams that have these labels.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkDelete {
    /// the ids; an error if `labels` is there too
    #[schema(max_items = 1000)]
    pub ids: Option<Vec<String>>,
    /// at least one label
    pub labels: Option<BTreeMap<String, String>>,
}

/// What happened to one stream of a bulk request.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResult {
    pub id: Option<String>,
    /// the HTTP status of the same request for this stream alone
    #[schema(minimum = 100, maximum = 599, example = 201)]
    pub status: u16,
    /// the new stream
    pub stream: Option<StreamInfo>,
    pub error: Option<String>,
}

/// One result for each stream, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResults {
    pub results: Vec<BulkResult>,
}
