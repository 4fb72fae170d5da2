//! `quietwire relay`.

mod options;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use quietwire::Model;
use quietwire_relay::Config;
use tracing_subscriber::filter::LevelFilter;

use crate::args::relay::{LogFormat, LogLevel, RelayArgs, RelayCommand, RelayOptions};
use crate::failure::Usage;
use crate::load;

/// Models without an option: the default, then the one for overload.
const DEFAULT_MODELS: [&str; 2] = ["base", "tiny"];

pub(crate) fn run(args: RelayArgs) -> Result<()> {
    let options = options::merged(args.options, args.config.as_deref())?;
    let config = config(&options)?;
    match args.command {
        Some(RelayCommand::CheckConfig) => {
            quietwire_relay::check(&config)?;
            print(&options, &config, args.config.as_deref());
            Ok(())
        }
        None => {
            start_log(&options);
            Ok(quietwire_relay::run(config)?)
        }
    }
}

fn config(options: &RelayOptions) -> Result<Config> {
    let models = match &options.models {
        Some(ids) => models(ids)?,
        None => models(&DEFAULT_MODELS)?,
    };
    let mut config = Config::new(models);
    config.http = options.http.unwrap_or(config.http);
    config.token_file.clone_from(&options.token_file);
    config.workers = options.workers;
    config.max_streams = options.max_streams.unwrap_or(config.max_streams);
    if let Some(seconds) = options.drain_seconds {
        if !(0.0..=86_400.0).contains(&seconds) {
            bail!(Usage(format!(
                "--drain-seconds: {seconds} is out of range: expected 0 to 86400"
            )));
        }
        config.drain = Duration::from_secs_f32(seconds);
    }
    Ok(config)
}

fn models(ids: &[impl AsRef<str>]) -> Result<Vec<Arc<Model>>> {
    let mut models: Vec<Arc<Model>> = Vec::new();
    for id in ids {
        let id = id.as_ref();
        let model = load::model("--models", id)?;
        let is_same = |other: &Arc<Model>| other.manifest().id() == model.manifest().id();
        if models.iter().any(is_same) {
            bail!(Usage(format!("--models contains `{id}` twice")));
        }
        models.push(model);
    }
    Ok(models)
}

/// Prints the options in effect, as a file of `--config` would have them.
fn print(options: &RelayOptions, config: &Config, file: Option<&Path>) {
    match file {
        Some(file) => println!(
            "# valid: {}, the command line and the environment",
            file.display()
        ),
        None => println!("# valid: the command line and the environment"),
    }
    println!("http = {:?}", config.http.to_string());
    match &config.token_file {
        Some(path) => println!("token_file = {path:?}"),
        None if config.http.ip().to_canonical().is_loopback() => {
            println!("# token_file: none; only this host can reach the control interface");
        }
        None => println!(
            "# warning: token_file: none; everyone who can reach {} can control the relay",
            config.http
        ),
    }
    let ids: Vec<&str> = config.models.iter().map(|m| m.manifest().id()).collect();
    println!("models = {ids:?}");
    match config.workers {
        Some(workers) => println!("workers = {workers}"),
        None => println!("# workers: the number of cores"),
    }
    println!("max_streams = {}", config.max_streams);
    println!("drain_seconds = {:?}", config.drain.as_secs_f32());
    let format = options.log_format.unwrap_or_default();
    println!("log_format = {:?}", format!("{format:?}").to_lowercase());
    let level = options.log_level.unwrap_or_default();
    println!("log_level = {:?}", format!("{level:?}").to_lowercase());
}

/// Writes the events of the relay to standard error.
fn start_log(options: &RelayOptions) {
    let level = match options.log_level.unwrap_or_default() {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false);
    match options.log_format.unwrap_or_default() {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
