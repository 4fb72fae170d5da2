//! Settings of a running stream. Any thread sets them; the audio thread applies them at the next hop.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use quietwire::{AttenuationLimit, Denoiser, DenoiserOptions, Error};

use crate::error::{Failure, QuietwireError, report};
use crate::guard::guarded;
use crate::stream::{QuietwireStream, stream_ref};

/// The latest settings. Each is one atomic value, without a lock: a reader sees the old or the new one.
pub(crate) struct Settings {
    bypass: AtomicBool,
    /// bits of the f32
    attenuation_db: AtomicU32,
    model: AtomicU32,
    models: usize,
}

/// The settings that a stream runs with.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Applied {
    bypass: bool,
    attenuation_bits: u32,
    model: u32,
}

impl Settings {
    pub(crate) fn new(options: &DenoiserOptions, models: usize) -> Self {
        Self {
            bypass: AtomicBool::new(options.bypass),
            attenuation_db: AtomicU32::new(options.attenuation.db().to_bits()),
            model: AtomicU32::new(0),
            models,
        }
    }

    pub(crate) fn load(&self) -> Applied {
        Applied {
            bypass: self.bypass.load(Ordering::Relaxed),
            attenuation_bits: self.attenuation_db.load(Ordering::Relaxed),
            model: self.model.load(Ordering::Relaxed),
        }
    }

    /// Brings a stream to the latest settings.
    ///
    /// # Errors
    /// None, as long as the settings were checked.
    pub(crate) fn apply(
        &self,
        applied: &mut Applied,
        denoiser: &mut Denoiser,
    ) -> Result<(), Error> {
        let latest = self.load();
        if latest == *applied {
            return Ok(());
        }
        let old = std::mem::replace(applied, latest);
        if latest.model != old.model {
            denoiser.set_model(latest.model as usize)?;
        }
        if latest.attenuation_bits != old.attenuation_bits {
            denoiser.set_attenuation(f32::from_bits(latest.attenuation_bits))?;
        }
        if latest.bypass != old.bypass {
            denoiser.set_bypass(latest.bypass);
        }
        Ok(())
    }
}

/// Changes one setting.
///
/// # Safety
/// `stream` is null or a handle.
unsafe fn set(
    stream: *const QuietwireStream,
    change: impl FnOnce(&Settings) -> Result<(), Failure>,
) -> QuietwireError {
    report(guarded(|| {
        // SAFETY: as the caller states.
        let stream = unsafe { stream_ref(stream) }?;
        change(stream.settings())
    }))
}

/// Switches the stream off (true) or on. Off: the output is the input, delayed by the same latency, and
/// no model runs. The change cross-fades.
///
/// Any thread may call the `quietwire_set_` functions at any time, also during a process call. They
/// neither lock nor wait. The audio thread applies the setting at its next hop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_set_bypass(
    stream: *mut QuietwireStream,
    bypass: bool,
) -> QuietwireError {
    // SAFETY: the caller passes null or a handle.
    unsafe {
        set(stream, |settings| {
            settings.bypass.store(bypass, Ordering::Relaxed);
            Ok(())
        })
    }
}

/// Sets the largest attenuation, dB: 0 or more, a named level such as `QUIETWIRE_MEDIUM_DB`, or INFINITY
/// for no limit. Takes effect over 50 ms. 0 acts as bypass.
///
/// Threads: as `quietwire_set_bypass`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_set_attenuation_db(
    stream: *mut QuietwireStream,
    attenuation_db: f32,
) -> QuietwireError {
    let change = |settings: &Settings| {
        if attenuation_db.is_nan() || attenuation_db < 0.0 {
            return Err(Error::Attenuation {
                found_db: attenuation_db,
            }
            .into());
        }
        // Without the sign of a negative zero.
        let db = AttenuationLimit::from(attenuation_db.abs()).db();
        settings
            .attenuation_db
            .store(db.to_bits(), Ordering::Relaxed);
        Ok(())
    };
    // SAFETY: the caller passes null or a handle.
    unsafe { set(stream, change) }
}

/// Switches to another model of the stream, by its index in `quietwire_new`, counted from 0. The models
/// cross-fade.
///
/// Threads: as `quietwire_set_bypass`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_set_model(
    stream: *mut QuietwireStream,
    index: usize,
) -> QuietwireError {
    let change = |settings: &Settings| {
        let model = u32::try_from(index).ok();
        let Some(model) = model.filter(|_| index < settings.models) else {
            return Err(Error::ModelIndex {
                found: index,
                models: settings.models,
            }
            .into());
        };
        settings.model.store(model, Ordering::Relaxed);
        Ok(())
    };
    // SAFETY: the caller passes null or a handle.
    unsafe { set(stream, change) }
}
