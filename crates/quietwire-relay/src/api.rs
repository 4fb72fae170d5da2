//! What the control interface takes and gives, as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;

use quietwire::rtp::RtpStats;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// A body: by the names of its fields, and not, as serde has it too, by their order.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }
        from.deserialize_map(Fields(PhantomData))
    }
}

/// How sound is coded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CodecName {
    /// RFC 7587, 48 kHz
    #[default]
    Opus,
    /// G.711 mu-law, 8 kHz
    Pcmu,
    /// G.711 A-law, 8 kHz
    Pcma,
    /// 16-bit samples; give `rate_hz`
    L16,
}

/// How packets are put under a key, by the names that SDP has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Suite {
    /// RFC 3711
    #[serde(rename = "AES_CM_128_HMAC_SHA1_80")]
    AesCm128HmacSha1_80,
    #[serde(rename = "AES_CM_128_HMAC_SHA1_32")]
    AesCm128HmacSha1_32,
    /// RFC 6188
    #[serde(rename = "AES_256_CM_HMAC_SHA1_80")]
    Aes256CmHmacSha1_80,
    #[serde(rename = "AES_256_CM_HMAC_SHA1_32")]
    Aes256CmHmacSha1_32,
    /// RFC 7714
    #[serde(rename = "AEAD_AES_128_GCM")]
    AeadAes128Gcm,
    #[serde(rename = "AEAD_AES_256_GCM")]
    AeadAes256Gcm,
}

/// SRTP on one leg, as in a line of SDP: `a=crypto:1 SUITE inline:KEY`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Srtp {
    pub suite: Suite,
    /// master key and salt in base64; never shown again
    #[schema(value_type = String)]
    pub key: Secret,
}

/// What is not shown, not even to those who debug.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A stream to be made. Only `send_to` is required.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStream {
    /// 1 to 64 letters, digits, `-`, `_`, `.`, `~`; chosen by the relay if left out
    pub id: Option<String>,
    /// where noisy RTP comes to; port 0: any that is free. Default: 127.0.0.1:0
    #[schema(value_type = Option<String>)]
    pub listen: Option<SocketAddr>,
    /// where clean RTP goes
    #[schema(value_type = String)]
    pub send_to: SocketAddr,
    /// default: opus
    #[serde(default)]
    pub codec: CodecName,
    /// of L16, Hz
    pub rate_hz: Option<u32>,
    /// default: 0 for pcmu, 8 for pcma, 111 for opus, 96 for l16
    pub payload_type: Option<u8>,
    /// of redundant audio (RFC 2198) that may come in
    pub red_payload_type: Option<u8>,
    /// whether to send redundant audio too
    #[serde(default)]
    pub red_out: bool,
    /// types that pass unchanged, telephone events say
    #[serde(default)]
    pub relayed_payload_types: Vec<u8>,
    /// header extension element of the audio level (RFC 6464)
    pub audio_level_id: Option<u8>,
    /// 1 or 2
    #[serde(default = "one")]
    pub channels: usize,
    /// false: packets pass as they are
    #[serde(default = "yes")]
    pub on: bool,
    /// at most so much is taken away, 0 to 200 dB
    #[serde(default = "forty")]
    pub attenuation_db: f32,
    /// one of those of `/v1/models`; default: the first
    pub model: Option<String>,
    /// Opus bits a second; default: 32000 a channel
    pub bitrate_bps: Option<u32>,
    /// work of the Opus encoder, 0 to 10; default: 5
    pub complexity: Option<u8>,
    /// loss on the way out that Opus is made for, percent; default: 5
    pub expected_loss_percent: Option<u8>,
    /// whether silence need not be sent
    #[serde(default)]
    pub dtx: bool,
    /// the longest that a missing packet is waited for, ms; default: 40
    pub hold_ms: Option<u32>,
    /// packets come under this key; default: in the clear
    pub srtp_in: Option<Srtp>,
    /// packets go under this key; default: in the clear
    pub srtp_out: Option<Srtp>,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

fn forty() -> f32 {
    40.0
}

/// What to change of a stream; the rest stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub on: Option<bool>,
    pub attenuation_db: Option<f32>,
    pub model: Option<String>,
    #[schema(value_type = Option<String>)]
    pub send_to: Option<SocketAddr>,
    /// a new key, from the next packet on
    pub srtp_in: Option<Srtp>,
    /// a new key, from the next packet on
    pub srtp_out: Option<Srtp>,
}

/// What a stream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// no packet for a second
    Idle,
    Denoising,
    /// off: packets pass as they came
    Relaying,
    /// too much to do: a cheaper model than was chosen, or none
    SteppedDown,
}

/// The latest hop of a stream, and its share of speech.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Levels {
    pub input_dbfs: f32,
    pub output_dbfs: f32,
    /// what is kept against what is taken away
    pub snr_db: f32,
    pub gain_db: f32,
    pub speech_probability: f32,
    /// of the packets cleaned so far
    pub speech_share: f32,
}

/// A stream.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Stream {
    pub id: String,
    #[schema(value_type = String)]
    pub listen: SocketAddr,
    #[schema(value_type = String)]
    pub send_to: SocketAddr,
    pub srtp_in: Option<Suite>,
    pub srtp_out: Option<Suite>,
    pub codec: CodecName,
    pub payload_type: u8,
    pub channels: usize,
    pub on: bool,
    pub attenuation_db: f32,
    pub model: String,
    /// the one that is heard now: another while the stream is stepped down, none while its input
    /// passes
    pub model_heard: Option<String>,
    /// constant, on or off
    pub delay_ms: f64,
    pub state: State,
    /// since it was made
    pub seconds: f64,
    /// none while packets pass unchanged or do not come
    pub levels: Option<Levels>,
    pub packets: RtpStats,
    pub jitter_ms: f64,
    /// hops that passed unchanged for want of time
    pub missed_deadlines: u64,
    /// processor time
    pub cpu_seconds: f64,
    pub last_error: Option<String>,
}

/// All streams.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Streams {
    pub streams: Vec<Stream>,
}

/// Ids of the models that a stream can have, the default first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Models {
    pub models: Vec<String>,
}

/// Whether the relay takes streams.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    /// `ok` or `draining`
    pub status: &'static str,
    pub streams: usize,
    pub version: &'static str,
}

/// Spectra of the latest seconds of every stream, before and after.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Strips {
    pub column_ms: u64,
    pub bands_hz: Vec<f32>,
    pub streams: BTreeMap<String, Strip>,
}

/// One stream's: bytes in base64, [columns][bands], 0 for what was not heard, 1 for -120 dBFS and
/// less, to 255 for 0 dBFS.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Strip {
    /// number of the newest column, counted since the relay began
    pub newest: u64,
    pub input: String,
    pub output: String,
}

/// What was wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Fault {
    pub error: String,
}
