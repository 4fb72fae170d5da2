//! Checks the options of a stream and creates its parts from them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quietwire::{AttenuationLimit, Model};
use quietwire_rtp::{Codec, RtpBuildError, RtpDenoiser};

use crate::api::error::ApiError;
use crate::api::media::{Attenuation, CodecName, Srtp, Suite};
use crate::api::new_stream::NewStream;
use crate::route::canonical;
use crate::senders::Senders;

/// Largest attenuation limit that is accepted as a number, dB.
const MAX_ATTENUATION_DB: f32 = 200.0;
/// Largest number of labels, and longest name and value of one, characters.
const MAX_LABELS: usize = 16;
const MAX_LABEL_NAME_LEN: usize = 64;
const MAX_LABEL_LEN: usize = 128;
/// Longest idle timeout, seconds.
const MAX_IDLE_TIMEOUT_S: u32 = 86_400;

fn invalid(error: impl ToString) -> ApiError {
    ApiError::Invalid(error.to_string())
}

pub(super) fn codec(config: &NewStream) -> Result<Codec, ApiError> {
    match (config.codec, config.rate_hz) {
        (CodecName::Opus, None | Some(48_000)) => Ok(Codec::Opus),
        (CodecName::Pcmu, None | Some(8_000)) => Ok(Codec::Pcmu),
        (CodecName::Pcma, None | Some(8_000)) => Ok(Codec::Pcma),
        (CodecName::L16, Some(rate_hz)) => Ok(Codec::L16 { rate_hz }),
        (CodecName::L16, None) => Err(invalid("rate_hz: missing: expected 8000 to 192000 for l16")),
        (_, Some(found)) => Err(invalid(format!(
            "rate_hz: {found} is not the rate of this codec: omit the field"
        ))),
    }
}

pub(super) fn denoiser(
    config: &NewStream,
    codec: Codec,
    models: &[Arc<Model>],
) -> Result<RtpDenoiser, ApiError> {
    check_attenuation(config.attenuation_db)?;
    let mut builder = RtpDenoiser::builder(models[0].clone())
        .codec(codec)
        .channels(config.channels)
        .red_payload_type(config.red_payload_type)
        .send_red(config.red_out)
        .audio_level_id(config.audio_level_id)
        .attenuation(config.attenuation_db.0)
        .bypass(!config.on)
        .dtx(config.dtx);
    for model in &models[1..] {
        builder = builder.fallback_model(model.clone());
    }
    for payload_type in &config.relayed_payload_types {
        builder = builder.passthrough_payload_type(*payload_type);
    }
    if let Some(payload_type) = config.payload_type {
        builder = builder.payload_type(payload_type);
    }
    if let Some(bitrate_bps) = config.bitrate_bps {
        builder = builder.bitrate_bps(bitrate_bps);
    }
    if let Some(complexity) = config.complexity {
        builder = builder.complexity(complexity);
    }
    if let Some(percent) = config.expected_loss_percent {
        builder = builder.expected_loss_percent(percent);
    }
    if let Some(hold_ms) = config.hold_ms {
        builder = builder.reorder_timeout(Duration::from_millis(hold_ms.into()));
    }
    let mut rtp = builder.build().map_err(build_error)?;
    if let Some(model) = &config.model {
        let index = model_index(models, model)?;
        rtp.set_model(index).map_err(invalid)?;
    }
    Ok(rtp)
}

/// The error of an option, with the name of its field.
fn build_error(error: RtpBuildError) -> ApiError {
    let (option, expected) = match error {
        RtpBuildError::Option { option, expected } => (option, expected),
        error => return invalid(error),
    };
    let field = match option {
        "reorder_timeout" => "hold_ms",
        option => option,
    };
    invalid(format!("{field}: expected {expected}"))
}

/// Creates the cipher of one direction. `field`: the field with the key, for errors.
pub(super) fn srtp<T>(
    field: &str,
    srtp: Option<&Srtp>,
    new: fn(&Srtp) -> Result<T, String>,
) -> Result<Option<(Suite, T)>, ApiError> {
    let cipher = srtp.map(|srtp| new(srtp).map(|cipher| (srtp.suite, cipher)));
    cipher
        .transpose()
        .map_err(|error| invalid(format!("{field}: {error}")))
}

/// The index of a model among those of the relay.
pub(super) fn model_index(models: &[Arc<Model>], id: &str) -> Result<usize, ApiError> {
    let index = models.iter().position(|model| model.manifest().id() == id);
    index.ok_or_else(|| {
        let ids: Vec<&str> = models.iter().map(|model| model.manifest().id()).collect();
        invalid(format!(
            "model: the relay has no model `{id}`: expected one of {}",
            ids.join(", ")
        ))
    })
}

pub(super) fn check_attenuation(attenuation: Attenuation) -> Result<(), ApiError> {
    match attenuation.0 {
        AttenuationLimit::Db(db) if !(0.0..=MAX_ATTENUATION_DB).contains(&db) => {
            Err(invalid(format!(
                "attenuation_db: {db} is out of range: expected 0 to {MAX_ATTENUATION_DB}, or \"unlimited\""
            )))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_target(send_to: SocketAddr) -> Result<(), ApiError> {
    if send_to.port() == 0 || canonical(send_to.ip()).is_unspecified() {
        return Err(invalid(format!(
            "send_to: {send_to} is not valid: expected an address and a port other than 0"
        )));
    }
    Ok(())
}

/// Checks that a stream can reach its target.
pub(super) fn check_families(listen: SocketAddr, send_to: SocketAddr) -> Result<(), ApiError> {
    if listen.is_ipv4() != send_to.is_ipv4() {
        return Err(invalid(format!(
            "send_to: {send_to} cannot be reached from {listen}: one is IPv4, the other IPv6"
        )));
    }
    Ok(())
}

pub(super) fn senders(accept_from: Option<&str>) -> Result<Option<Senders>, ApiError> {
    let senders = accept_from.map(str::parse::<Senders>).transpose();
    senders.map_err(|error| invalid(format!("accept_from: {error}")))
}

pub(super) fn check_idle_timeout(seconds: u32) -> Result<(), ApiError> {
    if seconds > MAX_IDLE_TIMEOUT_S {
        return Err(invalid(format!(
            "idle_timeout_s: {seconds} is out of range: expected 0 to {MAX_IDLE_TIMEOUT_S}"
        )));
    }
    Ok(())
}

pub(super) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if labels.len() > MAX_LABELS {
        let found = labels.len();
        return Err(invalid(format!(
            "labels: {found} labels: expected at most {MAX_LABELS}"
        )));
    }
    let is_text = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./@+".contains(&b))
    };
    for (name, value) in labels {
        let is_name = (1..=MAX_LABEL_NAME_LEN).contains(&name.len()) && is_text(name);
        if !is_name || value.len() > MAX_LABEL_LEN || !is_text(value) {
            return Err(invalid(format!(
                "labels: {name:?}: {value:?} is not valid: expected letters, digits, `-`, `_`, `.`, `/`, `@` or `+`, \
                 1 to {MAX_LABEL_NAME_LEN} for the name and at most {MAX_LABEL_LEN} for the value"
            )));
        }
    }
    Ok(())
}
