//! `quietwire relay`.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use quietwire_relay::Config;

use crate::args::relay::RelayArgs;
use crate::failure::Usage;
use crate::load;

pub(crate) fn run(args: &RelayArgs) -> Result<()> {
    let mut models = Vec::new();
    for id in &args.models {
        let model = load::model("--models", id)?;
        let has_same_id = |other: &std::sync::Arc<quietwire::Model>| {
            other.manifest().id() == model.manifest().id()
        };
        if models.iter().any(has_same_id) {
            bail!(Usage(format!("--models contains `{id}` twice")));
        }
        models.push(model);
    }
    let token = token(args)?;
    if token.is_none() && !args.http.ip().is_loopback() {
        eprintln!(
            "warning: everybody who can reach {} can control this relay: protect it with --token-file",
            args.http
        );
    }
    let mut config = Config::new(models);
    config.http = args.http;
    config.token = token;
    config.workers = args.workers;
    config.max_streams = args.max_streams;
    config.drain = Duration::from_secs_f32(args.drain_seconds);
    Ok(quietwire_relay::run(config)?)
}

/// The token in `--token-file`, without white space around it.
fn token(args: &RelayArgs) -> Result<Option<String>> {
    let Some(path) = &args.token_file else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("--token-file: cannot read {}", path.display()))?;
    let token = text.trim();
    if token.is_empty() {
        bail!(Usage("--token-file holds no token".into()));
    }
    Ok(Some(token.to_owned()))
}
