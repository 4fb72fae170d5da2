//! The control socket of a running path: one line in, one line of JSON out.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use quietwire_live::Settings;

use crate::args::live::{CtlArgs, Level};
use crate::failure::Usage;
use crate::live::paths::Paths;

/// Time for the other side to send or read its line.
const TIMEOUT: Duration = Duration::from_millis(500);
/// Longest request, bytes.
const MAX_REQUEST: u64 = 200;
const COMMANDS: &str = "on, off, toggle, mute, unmute, level low|medium|high|auto|DB, monitor on|off, status or stop, \
     or one of them after `speaker`";

/// The listening socket. Dropping it removes it.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens on `path`, or on the default of this user. Replaces the socket of an ended process.
    pub(crate) fn bind(path: Option<PathBuf>) -> Result<Self> {
        let path = path.unwrap_or_else(default_path);
        if UnixStream::connect(&path).is_ok() {
            bail!(Usage(format!(
                "another quietwire live is running (it answers on {}): stop it with quietwire live \
                 ctl stop, or choose another socket with --control",
                path.display()
            )));
        }
        if std::fs::metadata(&path).is_ok_and(|found| is_socket(&found)) {
            std::fs::remove_file(&path).with_context(|| format!("--control {}", path.display()))?;
        }
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("cannot listen on --control {}", path.display()))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path })
    }

    /// Answers all waiting requests. Returns whether one of them was `stop`.
    pub(crate) fn answer(&self, paths: &Paths) -> bool {
        let mut must_stop = false;
        while let Ok((stream, _)) = self.listener.accept() {
            // A client that does not keep to the protocol is no failure of the path.
            must_stop |= answer_one(&stream, paths).unwrap_or(false);
        }
        must_stop
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn answer_one(stream: &UnixStream, paths: &Paths) -> std::io::Result<bool> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(std::io::Read::take(stream, MAX_REQUEST)).read_line(&mut line)?;
    let request: Vec<&str> = line.split_whitespace().collect();
    let applied = match (&request[..], paths.speaker()) {
        (["speaker", rest @ ..], Some(speaker)) => apply(rest, speaker.settings()),
        (["speaker", ..], None) => Err("there is no --virtual-speaker".into()),
        (request, _) => apply(request, paths.main().settings()),
    };
    let mut answer = match applied {
        Ok(()) => serde_json::to_string(&paths.status())?,
        Err(expected) => serde_json::json!({ "error": expected }).to_string(),
    };
    answer.push('\n');
    let mut writer = stream;
    writer.write_all(answer.as_bytes())?;
    Ok(request == ["stop"])
}

/// Changes the settings. The error names what was expected.
fn apply(request: &[&str], settings: &Settings) -> Result<(), String> {
    match request {
        ["on"] => settings.set_bypass(false),
        ["off"] => settings.set_bypass(true),
        ["toggle"] => settings.set_bypass(!settings.bypass()),
        ["mute"] => settings.set_muted(true),
        ["unmute"] => settings.set_muted(false),
        ["monitor", "on"] => settings.set_monitor(true),
        ["monitor", "off"] => settings.set_monitor(false),
        ["level", level] => {
            let attenuation_db = match Level::from_str(level, true) {
                Ok(Level::Auto) => {
                    settings.set_auto_attenuation();
                    return Ok(());
                }
                Ok(level) => level.attenuation_db(),
                Err(_) => level
                    .parse()
                    .ok()
                    .filter(|db| *db >= 0.0)
                    .ok_or("expected low, medium, high, auto or a number of dB, 0 or more")?,
            };
            settings.set_attenuation_db(attenuation_db);
        }
        ["status" | "stop"] => {}
        _ => return Err(format!("expected {COMMANDS}")),
    }
    Ok(())
}

/// `quietwire live ctl`.
pub(crate) fn send(args: &CtlArgs) -> Result<()> {
    let path = args.control.clone().unwrap_or_else(default_path);
    let mut stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            bail!(
                "no quietwire live is running (nothing answers on {}); start one, or name its \
                 socket with --control",
                path.display()
            )
        }
        Err(error) => return Err(error).context(path.display().to_string()),
    };
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    writeln!(stream, "{}", args.request.join(" "))?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    let value: serde_json::Value = serde_json::from_str(&answer)
        .with_context(|| format!("{} does not answer like a quietwire live", path.display()))?;
    if let Some(error) = value.get("error").and_then(serde_json::Value::as_str) {
        bail!(Usage(error.to_owned()));
    }
    if args.request == ["status"] {
        println!("{}", answer.trim_end());
    }
    Ok(())
}

/// In the runtime folder of the user, which other users cannot open.
fn default_path() -> PathBuf {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder = folder.unwrap_or_else(std::env::temp_dir);
    let user = std::env::var("USER").unwrap_or_default();
    let user = Path::new(&user)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    folder.join(format!("quietwire-live-{user}.sock"))
}

fn is_socket(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_socket()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_change_the_settings_and_others_name_what_is_expected() {
        let settings = Settings::new(40.0, quietwire_live::WhileLoading::Raw);
        for request in ["off", "mute", "level low", "monitor on"] {
            let words: Vec<&str> = request.split(' ').collect();
            apply(&words, &settings).unwrap();
        }
        assert!(settings.bypass() && settings.muted() && settings.monitor());
        assert_eq!(settings.attenuation_db(), 12.0);
        apply(&["toggle"], &settings).unwrap();
        assert!(!settings.bypass());
        apply(&["level", "17.5"], &settings).unwrap();
        assert_eq!(settings.attenuation_db(), 17.5);
        apply(&["level", "auto"], &settings).unwrap();
        assert!(settings.auto_attenuation());
        apply(&["level", "high"], &settings).unwrap();
        assert!(!settings.auto_attenuation());
        for bad in [
            &[][..],
            &["level"],
            &["level", "-3"],
            &["level", "NaN"],
            &["monitor", "x"],
        ] {
            assert!(apply(bad, &settings).unwrap_err().contains("expected"));
        }
    }
}
