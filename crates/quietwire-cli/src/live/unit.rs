//! `quietwire live unit`.

use std::io::Write;

use anyhow::{Context, Result};

/// Prints a systemd user unit.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let unit = unit(&program.to_string_lossy(), arguments);
    std::io::stdout().lock().write_all(unit.as_bytes())?;
    eprintln!(
        "save it as ~/.config/systemd/user/quietwire-live.service, then: \
         systemctl --user enable --now quietwire-live"
    );
    Ok(())
}

fn unit(program: &str, arguments: &[String]) -> String {
    let words = std::iter::once(program).chain(["live", "--plain"]);
    let words = words.chain(arguments.iter().map(String::as_str));
    let command: Vec<String> = words.map(quote).collect();
    format!(
        "\
[Unit]
Description=quietwire: clean microphone
After=pipewire-pulse.service pulseaudio.service wireplumber.service

[Service]
ExecStart={}
StandardOutput=null
Restart=on-failure
RestartSec=3
LimitRTPRIO=20

[Install]
WantedBy=default.target
",
        command.join(" ")
    )
}

/// A word as systemd reads it: systemd.service(5), section \"command lines\".
fn quote(word: &str) -> String {
    let word = word.replace('\\', "\\\\").replace('"', "\\\"");
    let word = word.replace('%', "%%").replace('$', "$$");
    if word.is_empty() || word.contains(char::is_whitespace) || word.contains(['\'', ';', '"']) {
        format!("\"{word}\"")
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_percent_are_quoted() {
        let arguments = ["--virtual-mic", "My 100% Mic"].map(str::to_owned);
        let unit = unit("/usr/bin/quietwire", &arguments);
        let command = "ExecStart=/usr/bin/quietwire live --plain --virtual-mic \"My 100%% Mic\"\n";
        assert!(unit.contains(command), "{unit}");
    }
}
