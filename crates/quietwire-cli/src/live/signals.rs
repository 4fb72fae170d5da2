//! Signals that end the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Whether SIGINT, SIGTERM or SIGHUP came. A second SIGINT ends the program at once.
pub(crate) struct Signals(Arc<AtomicBool>);

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        let mut signals = vec![SIGINT, SIGTERM];
        #[cfg(unix)]
        signals.push(signal_hook::consts::SIGHUP);
        for signal in signals {
            signal_hook::flag::register_conditional_default(signal, raised.clone())
                .and_then(|_| signal_hook::flag::register(signal, raised.clone()))
                .context("cannot handle signals")?;
        }
        Ok(Self(raised))
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
