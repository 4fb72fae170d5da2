//! Codecs, keys and limits in JSON.

use std::fmt;

use quietwire::{AttenuationLimit, DenoiserOptions};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

/// Codec of a stream.
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
    /// linear 16-bit samples; needs `rate_hz`
    L16,
}

/// SRTP crypto suite, by its name in SDP (RFC 4568).
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

/// SRTP of one direction, as in a line of SDP: `a=crypto:1 SUITE inline:KEY`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Srtp {
    pub suite: Suite,
    /// master key and salt in base64; no response contains it
    #[schema(value_type = String, format = "byte", example = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz")]
    pub key: Secret,
}

/// A text that debug output does not contain.
#[derive(Clone, PartialEq, Eq, Deserialize)]
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

/// An attenuation limit in JSON: a number of dB, null or "unlimited".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attenuation(pub AttenuationLimit);

impl Default for Attenuation {
    fn default() -> Self {
        Self(DenoiserOptions::default().attenuation)
    }
}

impl<'de> Deserialize<'de> for Attenuation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a number of dB, null or \"unlimited\"")]
        enum Limit {
            Db(f32),
            Word(Word),
            Null(()),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Word {
            Unlimited,
        }
        Ok(Self(match Limit::deserialize(from)? {
            Limit::Db(db) => AttenuationLimit::Db(db),
            Limit::Word(Word::Unlimited) | Limit::Null(()) => AttenuationLimit::Unlimited,
        }))
    }
}

impl Serialize for Attenuation {
    /// A number of dB, or null for no limit.
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            AttenuationLimit::Db(db) => to.serialize_f32(db),
            AttenuationLimit::Unlimited => to.serialize_none(),
        }
    }
}

/// The schema of an [`Attenuation`] in a request.
pub fn attenuation_schema() -> RefOr<Schema> {
    let number = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Number))
        .minimum(Some(0.0))
        .maximum(Some(200.0));
    let unlimited = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .enum_values(Some(["unlimited"]));
    let null = ObjectBuilder::new().schema_type(SchemaType::new(Type::Null));
    let any = AnyOfBuilder::new()
        .item(number)
        .item(unlimited)
        .item(null)
        .description(Some(
            "largest attenuation, dB; \"unlimited\": no limit. Null: no limit in a new stream, no change in a \
             change. Default: 40",
        ));
    RefOr::T(Schema::AnyOf(any.build()))
}

/// The schema of a list of RTP payload types in a request.
pub fn payload_types_schema() -> RefOr<Schema> {
    let payload_type = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Integer))
        .minimum(Some(0))
        .maximum(Some(127));
    let list = ArrayBuilder::new()
        .items(payload_type)
        .unique_items(true)
        .description(Some(
            "payload types that pass unchanged, for example telephone events; default: none",
        ));
    RefOr::T(Schema::Array(list.build()))
}
