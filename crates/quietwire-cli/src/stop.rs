//! Ends the program on a signal without half-written files.

use anyhow::Result;
use indicatif::MultiProgress;

/// From now on SIGINT, SIGTERM and SIGHUP remove the outputs in progress and then end the program by
/// the same signal, which a shell reports as 130, 143 and 129.
#[cfg(unix)]
pub(crate) fn on_signals(bars: MultiProgress, quiet: bool) -> Result<()> {
    use anyhow::Context as _;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let mut signals = vec![SIGINT, SIGTERM];
    // nohup starts a program with SIGHUP ignored.
    if !is_ignored(SIGHUP) {
        signals.push(SIGHUP);
    }
    let mut signals =
        signal_hook::iterator::Signals::new(signals).context("cannot handle signals")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            quietwire_file::remove_unfinished_outputs();
            // The terminal may be gone.
            let _ = bars.clear();
            if !quiet {
                use std::io::Write as _;
                let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
                let text =
                    format!("stopped by {name}: outputs that were not complete are removed\n");
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
            end_by(signal);
        }
    });
    Ok(())
}

/// On other systems an interrupted run leaves its temporary files. The next run with the same outputs
/// replaces them.
#[cfg(not(unix))]
pub(crate) fn on_signals(_: MultiProgress, _: bool) -> Result<()> {
    Ok(())
}

/// Ends the program as the signal would have done without a handler: shells and service managers
/// distinguish that from an exit code.
#[cfg(unix)]
fn end_by(signal: i32) -> ! {
    // The first process of a container is not ended by signals without a handler.
    if std::process::id() != 1 {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    std::process::exit(128 + signal)
}

/// Whether the program was started with a signal ignored. Only Linux reports it.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| {
        let mask = line.strip_prefix("SigIgn:")?.trim();
        u64::from_str_radix(mask, 16).ok()
    });
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
