//! The options of a stream. Plain data: [`Denoiser::new`](crate::Denoiser::new) checks them.

use crate::error::Error;

/// Range of caller rates, Hz.
pub(crate) const RATE_RANGE_HZ: (u32, u32) = (8_000, 192_000);
/// Largest number of channels of one stream.
pub(crate) const MAX_CHANNELS: usize = 64;
/// Largest number of hops that [`DenoiserOptions::telemetry_hops`] keeps: ten minutes of 10 ms hops.
pub(crate) const MAX_TELEMETRY_HOPS: usize = 60_000;

/// How the channels of a stream share the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum ChannelMode {
    /// Each channel has its own mask and is processed like a stream of its own. Costs one
    /// inference per channel and hop. For channels with different talkers.
    #[default]
    Independent,
    /// All channels share one mask, computed from their summed power. The stereo image does not
    /// move. Costs one inference per hop. For a stereo or array recording of one scene.
    Linked,
}

/// The largest attenuation that a stream applies.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum AttenuationLimit {
    /// At most this many dB, 0 or more. 0 changes nothing: the output is the delayed input.
    Db(f32),
    /// No limit and no noise floor: the model may remove everything.
    Unlimited,
}

/// Named attenuation limits. The more noise is removed, the more words a speech recognizer gets wrong;
/// `BENCHMARKS.md` has the measured word errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Strength {
    /// 12 dB: the room stays audible. For recordings that a speech recognizer reads.
    Low,
    /// 20 dB: noise is a quiet background.
    Medium,
    /// 40 dB, the default: noise is nearly inaudible. A speech recognizer gets more words wrong than
    /// with `Low`.
    High,
}

impl Strength {
    /// The attenuation limit, dB.
    pub const fn attenuation_db(self) -> f32 {
        match self {
            Self::Low => 12.0,
            Self::Medium => 20.0,
            Self::High => 40.0,
        }
    }
}

impl AttenuationLimit {
    /// The limit in dB; infinite for [`Unlimited`](Self::Unlimited).
    pub fn db(self) -> f32 {
        match self {
            Self::Db(db) => db,
            Self::Unlimited => f32::INFINITY,
        }
    }

    /// Whether nothing may be attenuated at all: 0 dB.
    pub(crate) fn is_zero(self) -> bool {
        self == Self::Db(0.0)
    }

    /// Checks the number of dB. An infinite number is [`Unlimited`](Self::Unlimited).
    ///
    /// # Errors
    /// [`Error::Attenuation`] for a negative number or NaN.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        match self {
            Self::Db(f32::INFINITY) | Self::Unlimited => Ok(Self::Unlimited),
            // Without the sign of a negative zero.
            Self::Db(db) if db >= 0.0 => Ok(Self::Db(db.abs())),
            Self::Db(found_db) => Err(Error::Attenuation { found_db }),
        }
    }
}

impl Default for AttenuationLimit {
    /// That of [`Strength::High`].
    fn default() -> Self {
        Strength::High.into()
    }
}

impl From<Strength> for AttenuationLimit {
    fn from(strength: Strength) -> Self {
        Self::Db(strength.attenuation_db())
    }
}

impl From<f32> for AttenuationLimit {
    /// A limit in dB; infinity is [`Unlimited`](Self::Unlimited).
    fn from(db: f32) -> Self {
        if db == f32::INFINITY {
            Self::Unlimited
        } else {
            Self::Db(db)
        }
    }
}

/// The options of one stream.
///
/// ```
/// use quietwire::{DenoiserOptions, Strength};
///
/// let mut options = DenoiserOptions::default();
/// options.rate_hz = Some(44_100);
/// options.channels = 2;
/// options.attenuation = Strength::Medium.into();
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct DenoiserOptions {
    /// Sample rate of the caller's blocks, 8000 to 192000 Hz. `None`: the rate of the first model.
    pub rate_hz: Option<u32>,
    /// Channels of the caller's blocks, 1 to 64. Default: 1.
    pub channels: usize,
    /// How the channels share the model. Default: independent.
    pub channel_mode: ChannelMode,
    /// The largest attenuation; see [`Denoiser::set_attenuation`](crate::Denoiser::set_attenuation).
    /// Default: 40 dB.
    pub attenuation: AttenuationLimit,
    /// Whether the stream starts switched off. Default: false.
    pub bypass: bool,
    /// Skips graphs that a hop does not need, by the model's own estimate of the signal-to-noise
    /// ratio and the thresholds of its manifest (`[gate]`). Cheaper and slightly rougher. No
    /// embedded model has such thresholds; DeepFilterNet3 has. Default: false.
    pub snr_gating: bool,
    /// The caller passes only blocks of whole hops
    /// ([`Denoiser::hop_frames`](crate::Denoiser::hop_frames)), as packets are. The latency is then
    /// one hop less: 10 ms instead of 20 ms at 48 kHz with the embedded models. Every model must
    /// run at the caller's rate and have the same hop. Default: false.
    pub hop_aligned: bool,
    /// Hops whose telemetry the stream keeps for
    /// [`Denoiser::drain_telemetry`](crate::Denoiser::drain_telemetry), 0 to 60000. Default: 0.
    pub telemetry_hops: usize,
}

impl Default for DenoiserOptions {
    fn default() -> Self {
        Self {
            rate_hz: None,
            channels: 1,
            channel_mode: ChannelMode::default(),
            attenuation: AttenuationLimit::default(),
            bypass: false,
            snr_gating: false,
            hop_aligned: false,
            telemetry_hops: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked_and_infinity_is_unlimited() {
        let checked = |db: f32| AttenuationLimit::Db(db).checked();
        assert_eq!(checked(12.0).unwrap(), AttenuationLimit::Db(12.0));
        assert_eq!(checked(f32::INFINITY).unwrap(), AttenuationLimit::Unlimited);
        assert!(checked(-0.0).unwrap().is_zero());
        for bad in [-1.0, f32::NAN, f32::NEG_INFINITY] {
            assert!(matches!(checked(bad), Err(Error::Attenuation { .. })));
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn options_survive_json_without_a_limit_too() {
        let mut options = DenoiserOptions::default();
        for attenuation in [AttenuationLimit::Unlimited, Strength::Low.into()] {
            options.attenuation = attenuation;
            let text = serde_json::to_string(&options).unwrap();
            assert_eq!(
                serde_json::from_str::<DenoiserOptions>(&text).unwrap(),
                options
            );
        }
        let partial = serde_json::from_str::<DenoiserOptions>(r#"{"channels": 2}"#).unwrap();
        assert_eq!((partial.channels, partial.rate_hz), (2, None));
        assert!(serde_json::from_str::<DenoiserOptions>(r#"{"chanels": 2}"#).is_err());
    }
}
