//! The lines of a running path.

use std::io::Write;

use anyhow::Result;
use quietwire_live::Status;

use crate::live::paths::PathsStatus;

pub(crate) struct Lines {
    json: bool,
    messages: [String; 2],
    model_choice: String,
}

impl Lines {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            messages: [String::new(), String::new()],
            model_choice: String::new(),
        }
    }

    /// One line on standard output, and each new message on standard error.
    pub(crate) fn print(&mut self, paths: &PathsStatus) -> Result<()> {
        let all = std::iter::once(&paths.main).chain(&paths.speaker);
        for (status, message) in all.zip(&mut self.messages) {
            if status.message != *message {
                message.clone_from(&status.message);
                eprintln!("{message}");
            }
        }
        let status = &paths.main;
        if status.model_choice != self.model_choice {
            self.model_choice.clone_from(&status.model_choice);
            eprintln!("model {}", status.model_choice);
        }
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(paths)?)?;
        } else {
            writeln!(out, "{}", line(status))?;
            if let Some(speaker) = &paths.speaker {
                writeln!(out, "  speaker {}", line(speaker).trim_start())?;
            }
        }
        Ok(())
    }

    /// The last line: the counts of the complete run.
    pub(crate) fn finish(&self, paths: &PathsStatus) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(paths)?);
            return Ok(());
        }
        for status in std::iter::once(&paths.main).chain(&paths.speaker) {
            println!(
                "ended: {} hops, {} deadline misses, {} underruns, {} xruns",
                status.hops,
                status.deadline_misses,
                status.playout.underruns,
                status.input.xruns + status.output.xruns
            );
        }
        Ok(())
    }
}

/// The state of a path on one line.
pub(crate) fn line(status: &Status) -> String {
    let levels = status.levels;
    let mut line = format!(
        "{:7.1} s  in {:6.1} dBFS  out {:6.1} dBFS  SNR {:5.1} dB  {}  {:.2} of {:.0} ms  latency {:.1} ms  xruns {}",
        status.uptime_s,
        levels.input_dbfs,
        levels.output_dbfs,
        levels.snr_db,
        source(status),
        status.hop_cost_ms,
        status.hop_ms,
        status.latency.total_ms,
        xruns(status),
    );
    for (name, device) in [("input", &status.input), ("output", &status.output)] {
        if device.state != "running" {
            line += &format!("  {name} {}", device.state);
        }
    }
    line
}

/// What is output.
pub(crate) fn source(status: &Status) -> String {
    if status.muted {
        return "muted".into();
    }
    if status.bypass {
        return "off".into();
    }
    match &status.model {
        Some(model) => model.clone(),
        None if status.model_choice.is_empty() => "loading".into(),
        None => "raw".into(),
    }
}

/// Underruns and overruns of all kinds.
pub(crate) fn xruns(status: &Status) -> u64 {
    status.input.xruns + status.output.xruns + status.playout.underruns
}
