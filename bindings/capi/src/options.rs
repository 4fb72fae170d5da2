//! The options of a stream, as a struct that can grow.

use quietwire::{ChannelMode, DenoiserOptions};

use crate::error::{Failure, QuietwireError, report};
use crate::guard::guarded;

/// Attenuation limit of the level "low", dB: the room stays audible. For recordings that a speech
/// recognizer reads.
pub const QUIETWIRE_LOW_DB: f32 = 12.0;
/// Attenuation limit of the level "medium", dB: noise is a quiet background.
pub const QUIETWIRE_MEDIUM_DB: f32 = 20.0;
/// Attenuation limit of the level "high", dB, the default: noise is nearly inaudible.
pub const QUIETWIRE_HIGH_DB: f32 = 40.0;

/// How the channels of a stream share the model.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the names of the C header")]
pub enum QuietwireChannelMode {
    /// Each channel is processed like a stream of its own. For channels with different talkers.
    QUIETWIRE_CHANNELS_INDEPENDENT = 0,
    /// All channels share one mask: the stereo image does not move, and a hop costs one inference. For a
    /// stereo or array recording of one scene.
    QUIETWIRE_CHANNELS_LINKED = 1,
}

/// Options of a stream. Set them with `quietwire_options_init` first, then change fields: fields that a
/// later version adds then have their defaults.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct QuietwireOptions {
    /// Size of this struct in the caller's header, bytes. Set by `quietwire_options_init`.
    pub size: usize,
    /// Sample rate of the blocks, 8000 to 192000 Hz. 0, the default: that of the first model (48000 Hz
    /// for the embedded models).
    pub rate_hz: u32,
    /// Channels of the blocks, 1 to 64. Default: 1.
    pub channels: u32,
    /// A value of `QuietwireChannelMode`. Default: independent.
    pub channel_mode: u32,
    /// The largest attenuation, dB, 0 or more; INFINITY for no limit. Default: `QUIETWIRE_HIGH_DB`.
    pub attenuation_db: f32,
    /// Not 0: the stream starts switched off. Default: 0.
    pub bypass: u32,
    /// Not 0: all blocks are whole hops (`quietwire_hop_frames`). The latency is then one hop less: 10 ms
    /// instead of 20 ms at 48 kHz. The rate must be that of all models. Default: 0.
    pub hop_aligned: u32,
    /// Not 0: hops skip graphs that they do not need, for models whose manifest has `[gate]`. Default: 0.
    pub snr_gating: u32,
}

/// Size of the struct in the first version of the header, bytes.
const FIRST_SIZE: usize = size_of::<usize>() * 2 + 6 * 4;

const NAME: &str = "QuietwireOptions";

impl QuietwireOptions {
    fn new(size: usize) -> Self {
        Self {
            size,
            rate_hz: 0,
            channels: 1,
            channel_mode: QuietwireChannelMode::QUIETWIRE_CHANNELS_INDEPENDENT as u32,
            attenuation_db: QUIETWIRE_HIGH_DB,
            bypass: 0,
            hop_aligned: 0,
            snr_gating: 0,
        }
    }

    fn to_core(self) -> Result<DenoiserOptions, Failure> {
        let mut options = DenoiserOptions::default();
        options.rate_hz = (self.rate_hz != 0).then_some(self.rate_hz);
        options.channels = self.channels as usize;
        options.channel_mode = match self.channel_mode {
            mode if mode == QuietwireChannelMode::QUIETWIRE_CHANNELS_INDEPENDENT as u32 => {
                ChannelMode::Independent
            }
            mode if mode == QuietwireChannelMode::QUIETWIRE_CHANNELS_LINKED as u32 => {
                ChannelMode::Linked
            }
            mode => return Err(Failure::ChannelMode(mode)),
        };
        options.attenuation = self.attenuation_db.into();
        options.bypass = self.bypass != 0;
        options.hop_aligned = self.hop_aligned != 0;
        options.snr_gating = self.snr_gating != 0;
        Ok(options)
    }
}

/// Writes `size` and the defaults. Call it as `quietwire_options_init(&options, sizeof options)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_options_init(
    options: *mut QuietwireOptions,
    size: usize,
) -> QuietwireError {
    report(guarded(|| {
        if options.is_null() || !options.is_aligned() {
            return Err(Failure::Argument("the options are null or not aligned"));
        }
        check_size(size)?;
        let defaults = QuietwireOptions::new(size);
        // SAFETY: the caller passes `size` bytes that can be written.
        unsafe {
            options.cast::<u8>().write_bytes(0, size);
            write_prefix(options, &defaults, size);
        }
        Ok(())
    }))
}

fn check_size(size: usize) -> Result<(), Failure> {
    // More than a page is a size field that was not set.
    if (FIRST_SIZE..=4096).contains(&size) {
        return Ok(());
    }
    Err(Failure::StructSize {
        name: NAME,
        found: size,
        expected: FIRST_SIZE,
    })
}

/// Copies the first `size` bytes of a value, or all of it if it is smaller.
///
/// # Safety
/// `to` can be written for `size` bytes.
pub(crate) unsafe fn write_prefix<T: Copy>(to: *mut T, value: &T, size: usize) {
    let from = std::ptr::from_ref(value).cast::<u8>();
    // SAFETY: `value` has as many bytes, and `to` as the caller states.
    unsafe { std::ptr::copy_nonoverlapping(from, to.cast::<u8>(), size.min(size_of::<T>())) }
}

/// The options of a caller whose header may be older or newer. Null: the defaults.
///
/// # Safety
/// `options` is null or points to as many bytes as its size field states.
pub(crate) unsafe fn read_options(
    options: *const QuietwireOptions,
) -> Result<DenoiserOptions, Failure> {
    if options.is_null() {
        return QuietwireOptions::new(size_of::<QuietwireOptions>()).to_core();
    }
    if !options.is_aligned() {
        return Err(Failure::Argument("the options are not aligned"));
    }
    // SAFETY: not null and aligned; the size field is the first.
    let size = unsafe { options.cast::<usize>().read() };
    check_size(size)?;
    let mut read = QuietwireOptions::new(size);
    let known = size.min(size_of::<QuietwireOptions>());
    // SAFETY: `options` has `size` bytes as the caller states, and `read` has `known`.
    unsafe {
        let from = options.cast::<u8>();
        std::ptr::copy_nonoverlapping(from, std::ptr::from_mut(&mut read).cast::<u8>(), known);
        let unknown = std::slice::from_raw_parts(from.add(known), size - known);
        if unknown.iter().any(|byte| *byte != 0) {
            return Err(Failure::UnknownOptions);
        }
    }
    read.to_core()
}

#[cfg(test)]
mod tests {
    use quietwire::Strength;

    use super::*;

    #[test]
    fn levels_are_those_of_the_core() {
        assert_eq!(Strength::Low.attenuation_db(), QUIETWIRE_LOW_DB);
        assert_eq!(Strength::Medium.attenuation_db(), QUIETWIRE_MEDIUM_DB);
        assert_eq!(Strength::High.attenuation_db(), QUIETWIRE_HIGH_DB);
    }

    #[test]
    fn defaults_are_those_of_the_core() {
        // SAFETY: null is allowed.
        let options = unsafe { read_options(std::ptr::null()) }.unwrap();
        assert_eq!(options, DenoiserOptions::default());
    }

    /// A later version adds fields behind these; it never changes them.
    #[test]
    fn the_layout_of_the_first_version_stays() {
        use std::mem::offset_of;
        let word = size_of::<usize>();
        assert_eq!(offset_of!(QuietwireOptions, rate_hz), word);
        assert_eq!(offset_of!(QuietwireOptions, attenuation_db), word + 12);
        assert_eq!(offset_of!(QuietwireOptions, snr_gating), word + 24);
        assert!(size_of::<QuietwireOptions>() >= FIRST_SIZE);
    }
}
