//! The settings of a running path. Any thread changes them; the worker reads them at each hop.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

/// What is played while the model loads or cannot run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhileLoading {
    /// The delayed input.
    #[default]
    Raw,
    /// Silence.
    Silence,
}

/// The settings. Changes take effect at the next hop, without a click.
#[derive(Debug)]
pub struct Settings {
    bypass: AtomicBool,
    muted: AtomicBool,
    monitor: AtomicBool,
    attenuation_db: AtomicU32,
    auto_attenuation: AtomicBool,
    /// what the worker chose for the noise at hand
    auto_attenuation_db: AtomicU32,
    model: AtomicU8,
    silence_while_loading: bool,
}

impl Settings {
    /// Suppression on, not muted, no monitor.
    pub fn new(attenuation_db: f32, while_loading: WhileLoading) -> Self {
        Self {
            bypass: AtomicBool::new(false),
            muted: AtomicBool::new(false),
            monitor: AtomicBool::new(false),
            attenuation_db: AtomicU32::new(attenuation_db.to_bits()),
            auto_attenuation: AtomicBool::new(false),
            auto_attenuation_db: AtomicU32::new(attenuation_db.to_bits()),
            model: AtomicU8::new(0),
            silence_while_loading: while_loading == WhileLoading::Silence,
        }
    }

    /// Whether the output is the delayed input.
    pub fn bypass(&self) -> bool {
        self.bypass.load(Relaxed)
    }

    /// Switches suppression off (true) or on.
    pub fn set_bypass(&self, bypass: bool) {
        self.bypass.store(bypass, Relaxed);
    }

    /// Whether the output is silence.
    pub fn muted(&self) -> bool {
        self.muted.load(Relaxed)
    }

    /// Mutes the output.
    pub fn set_muted(&self, muted: bool) {
        self.muted.store(muted, Relaxed);
    }

    /// Whether the monitor device plays the output.
    pub fn monitor(&self) -> bool {
        self.monitor.load(Relaxed)
    }

    /// Switches the monitor device.
    pub fn set_monitor(&self, monitor: bool) {
        self.monitor.store(monitor, Relaxed);
    }

    /// The attenuation limit, dB; infinite without a limit.
    pub fn attenuation_db(&self) -> f32 {
        let limit_db = if self.auto_attenuation() {
            &self.auto_attenuation_db
        } else {
            &self.attenuation_db
        };
        f32::from_bits(limit_db.load(Relaxed))
    }

    /// Sets the attenuation limit, dB, 0 or more. Other numbers are ignored. The limit does not follow
    /// the noise any more.
    pub fn set_attenuation_db(&self, attenuation_db: f32) {
        if attenuation_db >= 0.0 {
            self.attenuation_db.store(attenuation_db.to_bits(), Relaxed);
            self.auto_attenuation.store(false, Relaxed);
        }
    }

    /// Whether the attenuation limit follows the noise.
    pub fn auto_attenuation(&self) -> bool {
        self.auto_attenuation.load(Relaxed)
    }

    /// Lets the attenuation limit follow the noise: 12 dB in a quiet room, 20 dB, or 40 dB.
    pub fn set_auto_attenuation(&self) {
        self.auto_attenuation.store(true, Relaxed);
    }

    /// The limit for the present noise. For the worker.
    pub(crate) fn follow_attenuation_db(&self, attenuation_db: f32) {
        self.auto_attenuation_db
            .store(attenuation_db.to_bits(), Relaxed);
    }

    /// Index of the requested model: 0 is the best.
    pub fn model(&self) -> usize {
        self.model.load(Relaxed).into()
    }

    /// Requests a model by its index. An index that does not exist is ignored.
    pub fn set_model(&self, model: usize) {
        self.model.store(model.min(255) as u8, Relaxed);
    }

    pub(crate) fn silence_while_loading(&self) -> bool {
        self.silence_while_loading
    }
}
