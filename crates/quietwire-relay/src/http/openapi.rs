//! The OpenAPI description.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Description, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::http::{bulk, event_stream, health, streams};

/// Operations that need no token.
const PUBLIC: [&str; 3] = ["/health", "/livez", "/readyz"];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "quietwire relay",
        description = "Removes the noise of RTP streams. If the relay has tokens, every request except those for the page and the health needs `Authorization: Bearer TOKEN`. A relay without a token on a loopback address answers only requests with a `Host` of this computer."
    ),
    servers((url = "/")),
    paths(
        health::health,
        health::livez,
        health::readyz,
        streams::list,
        streams::create,
        streams::show,
        streams::put,
        streams::change,
        streams::remove,
        bulk::create,
        bulk::delete,
        event_stream::events,
        streams::models,
        streams::strips,
        streams::metrics
    ),
    tags(
        (name = "streams", description = "Streams, and what they can use"),
        (name = "events", description = "State changes"),
        (name = "health", description = "The relay itself")
    ),
    modifiers(&Common)
)]
pub struct Api;

/// What all operations have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut Description) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        for (path, item) in &mut api.paths.paths {
            let operations = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.patch,
                &mut item.delete,
            ];
            for operation in operations.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                let mut add = |status: &str, description: &str| {
                    let body = Content::new(Some(RefOr::Ref(Ref::from_schema_name("ErrorBody"))));
                    let response = ResponseBuilder::new()
                        .description(description)
                        .content("application/json", body)
                        .build();
                    responses.entry(status.into()).or_insert(RefOr::T(response));
                };
                add(
                    "403",
                    "the relay has no token and `Host` is no name of this computer",
                );
                if operation.request_body.is_some() {
                    add("400", "the body is not JSON");
                    add("408", "the body was not received within 10 s");
                    add("413", "the body is longer than 64 KiB");
                    add("415", "the content type is not application/json");
                }
                if !PUBLIC.contains(&path.as_str()) {
                    add(
                        "401",
                        "the request has no valid token, and the relay has tokens",
                    );
                    // Or none: without tokens the relay needs none.
                    let token = SecurityRequirement::new("token", [] as [&str; 0]);
                    operation.security = Some(vec![token, SecurityRequirement::default()]);
                }
                // OpenAPI requires a description of each response.
                for (status, response) in responses.iter_mut() {
                    if let RefOr::T(response) = response
                        && response.description.is_empty()
                    {
                        response.description = default_description(status).into();
                    }
                }
            }
        }
    }
}

fn default_description(status: &str) -> &'static str {
    match status {
        "201" => "created",
        "204" => "removed",
        "400" => "the path or the query is not valid",
        "404" => "no stream has this id",
        _ => "the present values",
    }
}
