//! Merges the options of the command line and the environment with those of a file.

use std::path::Path;

use anyhow::{Context, Result};

use crate::args::relay::RelayOptions;

/// `options`, and for those that are missing the ones of `file`.
pub(super) fn merged(options: RelayOptions, file: Option<&Path>) -> Result<RelayOptions> {
    let Some(path) = file else {
        return Ok(options);
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("--config: cannot read {}", path.display()))?;
    let in_file = parse(&text, path)?;
    Ok(RelayOptions {
        http: options.http.or(in_file.http),
        token_file: options.token_file.or(in_file.token_file),
        models: options.models.or(in_file.models),
        workers: options.workers.or(in_file.workers),
        max_streams: options.max_streams.or(in_file.max_streams),
        drain_seconds: options.drain_seconds.or(in_file.drain_seconds),
        log_format: options.log_format.or(in_file.log_format),
        log_level: options.log_level.or(in_file.log_level),
    })
}

/// The options of a file. Relative paths are those from its folder.
fn parse(text: &str, path: &Path) -> Result<RelayOptions> {
    let mut options: RelayOptions =
        toml::from_str(text).with_context(|| format!("--config: {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    options.token_file = options.token_file.map(|file| folder.join(file));
    Ok(options)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::{CommandFactory as _, Parser};

    use super::*;
    use crate::args::relay::{LogFormat, LogLevel};
    use crate::args::{Args, Command};

    const FILE: &str = r#"
        http = "127.0.0.1:1"
        token_file = "tokens"
        models = ["tiny", "base"]
        workers = 3
        max_streams = 7
        drain_seconds = 1.5
        log_format = "json"
        log_level = "warn"
    "#;

    #[test]
    fn a_file_has_all_options() {
        let options = parse(FILE, Path::new("/etc/quietwire/relay.toml")).unwrap();
        assert_eq!(options.http.unwrap().port(), 1);
        assert_eq!(
            options.token_file.unwrap(),
            Path::new("/etc/quietwire/tokens")
        );
        assert_eq!(options.models.unwrap(), ["tiny", "base"]);
        assert_eq!(options.workers.unwrap().get(), 3);
        assert_eq!(options.max_streams, Some(7));
        assert_eq!(options.drain_seconds, Some(1.5));
        assert_eq!(options.log_format, Some(LogFormat::Json));
        assert_eq!(options.log_level, Some(LogLevel::Warn));
    }

    #[test]
    fn flags_environment_and_file_have_the_same_names() {
        let program = Args::command();
        let relay = program.find_subcommand("relay").unwrap();
        let flags: BTreeMap<String, Option<String>> = relay
            .get_arguments()
            .filter(|arg| !["config", "help", "version"].contains(&arg.get_id().as_str()))
            .map(|arg| {
                let env = arg.get_env().map(|env| env.to_str().unwrap().to_owned());
                (arg.get_long().unwrap().replace('-', "_"), env)
            })
            .collect();
        for (name, env) in &flags {
            assert_eq!(
                env.as_deref(),
                Some(&*format!("QUIETWIRE_RELAY_{}", name.to_uppercase()))
            );
        }
        let file: toml::Table = toml::from_str(FILE).unwrap();
        let in_file: Vec<&String> = file.keys().collect();
        assert_eq!(in_file, flags.keys().collect::<Vec<_>>());
    }

    #[test]
    fn flags_come_before_the_file() {
        let file =
            std::env::temp_dir().join(format!("quietwire-relay-{}.toml", std::process::id()));
        std::fs::write(&file, FILE).unwrap();
        let args = ["quietwire", "relay", "--workers", "5", "check-config"];
        let Command::Relay(args) = Args::parse_from(args).command else {
            panic!("another command");
        };
        let options = merged(args.options, Some(&file)).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(options.workers.unwrap().get(), 5);
        assert_eq!(options.max_streams, Some(7));
        assert!(args.command.is_some());
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        for (text, about) in [
            ("workers = 0", "workers"),
            ("\nhttps = 1", "line 2"),
            ("http = \"here\"", "http"),
            ("log_level = \"loud\"", "loud"),
            ("workers", "line 1"),
        ] {
            let error = parse(text, Path::new("a.toml")).err().unwrap();
            let text = format!("{error:#}");
            assert!(text.contains("a.toml") && text.contains(about), "{text}");
        }
    }
}
