//! What the relay shows about itself.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::stream_info::StreamInfo;

/// Streams, by id.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Streams {
    pub streams: Vec<StreamInfo>,
    /// with `limit`: the value of `after` for the next page; null: there are no more streams
    pub next: Option<String>,
}

/// Ids of the models that a stream can have, the default first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Models {
    #[schema(example = json!(["base", "tiny"]))]
    pub models: Vec<String>,
}

/// Whether the relay creates streams.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, `draining`, or why the relay is not available
    #[schema(example = "ok")]
    pub status: &'static str,
    /// streams of the relay
    #[schema(minimum = 0)]
    pub streams: usize,
    #[schema(example = "0.2.0")]
    pub version: &'static str,
    /// identifies this start of the relay: streams of another start are gone
    #[schema(example = "6c62272e07bb0142")]
    pub start_id: String,
}

/// Spectrograms of the latest seconds of all streams, of input and output.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Strips {
    pub column_ms: u64,
    pub bands_hz: Vec<f32>,
    pub streams: BTreeMap<String, Strip>,
}

/// Spectrogram columns of one stream: bytes in base64, [columns][bands]. 0: no audio; 1: -120 dBFS or
/// less; 255: 0 dBFS.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Strip {
    /// number of the newest column, counted since the relay started
    pub newest: u64,
    pub input: String,
    pub output: String,
}
