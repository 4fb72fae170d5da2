//! A stream as responses show it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::media::{Attenuation, CodecName, Suite};
use crate::api::packets::PacketStats;

/// State of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// no packet was received for one second
    Idle,
    Denoising,
    /// off: packets pass unchanged
    #[serde(rename = "relaying")]
    Passthrough,
    /// overload: a cheaper model than the requested one is active, or none
    SteppedDown,
}

/// Levels of the latest hop of a stream.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Levels {
    pub input_dbfs: f32,
    pub output_dbfs: f32,
    /// power that the model keeps over the power that it removes, dB
    pub snr_db: f32,
    /// power of the output over the power of the input, dB
    pub gain_db: f32,
    /// probability of speech, 0 to 1; null: the model has no such output
    pub speech_probability: Option<f32>,
    /// part of the denoised packets with speech, 0 to 1
    pub speech_share: f32,
}

/// Processor time of a stream, by what it was spent on.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub struct CpuStages {
    /// receiving, decrypting, encrypting and sending
    #[schema(minimum = 0)]
    pub socket: f64,
    /// ordering and decoding
    #[schema(minimum = 0)]
    pub decode: f64,
    /// the model and its filters
    #[schema(minimum = 0)]
    pub denoise: f64,
    /// encoding
    #[schema(minimum = 0)]
    pub encode: f64,
}

/// A stream: its settings, its state and its counts.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Stream)]
pub struct StreamInfo {
    #[schema(example = "alice")]
    pub id: String,
    #[schema(example = json!({"call": "42"}))]
    pub labels: BTreeMap<String, String>,
    #[schema(value_type = String, example = "127.0.0.1:6000")]
    pub listen: SocketAddr,
    #[schema(value_type = String, example = "127.0.0.1:5002")]
    pub send_to: SocketAddr,
    /// accepted senders; null: every address except `send_to`
    #[schema(example = "127.0.0.1")]
    pub accept_from: Option<String>,
    pub srtp_in: Option<Suite>,
    pub srtp_out: Option<Suite>,
    pub codec: CodecName,
    #[schema(minimum = 0, maximum = 127, example = 111)]
    pub payload_type: u8,
    #[schema(minimum = 1, maximum = 2)]
    pub channels: usize,
    pub on: bool,
    /// largest attenuation, dB; null: no limit
    #[schema(value_type = Option<f32>, minimum = 0, maximum = 200)]
    pub attenuation_db: Attenuation,
    /// the requested model
    #[schema(example = "base")]
    pub model: String,
    /// the active model: a cheaper one during overload, null while the output is the input
    #[schema(example = "base")]
    pub active_model: Option<String>,
    /// false: payloads pass unchanged, because the stream is off or an overload stopped its codec
    pub codec_active: bool,
    /// delay from a received to a sent packet; the same on and off
    #[schema(minimum = 0, example = 20.0)]
    pub delay_ms: f64,
    pub state: State,
    /// age of the stream
    #[schema(minimum = 0)]
    pub seconds: f64,
    /// the stream is removed after this time without packets; 0: never
    #[schema(minimum = 0, maximum = 86400)]
    pub idle_timeout_s: u32,
    /// null while packets pass unchanged or none are received
    pub levels: Option<Levels>,
    pub packets: PacketStats,
    /// interarrival jitter (RFC 3550)
    #[schema(minimum = 0)]
    pub jitter_ms: f64,
    /// hops without time for a model; their output is the input
    #[schema(minimum = 0)]
    pub missed_deadlines: u64,
    /// processor time of the stream
    #[schema(minimum = 0)]
    pub cpu_seconds: f64,
    /// `cpu_seconds` by what it was spent on
    pub cpu_stage_seconds: CpuStages,
    /// the latest error that an operator can act on
    #[schema(example = "send_to: 127.0.0.1:5002 does not receive: the port is unreachable")]
    pub last_error: Option<String>,
    /// time since the latest error
    #[schema(minimum = 0)]
    pub last_error_age_s: Option<f64>,
}
