//! The properties of the element: their descriptions, and the values that applications set.

use std::sync::{Arc, LazyLock};

use gst::glib;
use gst::prelude::*;
use quietwire::{AttenuationLimit, ChannelMode, Strength};

use crate::model_set::ModelSet;
use crate::reports::{NO_SNR_DB, NO_SPEECH};

/// The property `level`: a named value of `attenuation-db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstQuietwireDenoiseLevel")]
#[non_exhaustive]
pub enum Level {
    /// See [`Strength::Low`].
    #[enum_value(
        name = "12 dB: the room stays audible. For recordings that a speech recognizer reads",
        nick = "low"
    )]
    Low,
    /// See [`Strength::Medium`].
    #[enum_value(name = "20 dB: noise is a quiet background", nick = "medium")]
    Medium,
    /// See [`Strength::High`].
    #[enum_value(name = "40 dB: noise is nearly inaudible", nick = "high")]
    High,
    /// See [`AttenuationLimit::Unlimited`].
    #[enum_value(
        name = "No limit and no noise floor: the model may remove everything",
        nick = "unlimited"
    )]
    Unlimited,
    /// Another value. Has no effect when it is set.
    #[enum_value(name = "attenuation-db has another value", nick = "custom")]
    Custom,
}

const NAMED_DB: [(Level, f32); 4] = [
    (Level::Low, Strength::Low.attenuation_db()),
    (Level::Medium, Strength::Medium.attenuation_db()),
    (Level::High, Strength::High.attenuation_db()),
    (Level::Unlimited, f32::INFINITY),
];

impl Level {
    fn of(attenuation_db: f32) -> Self {
        let named = NAMED_DB.iter().find(|(_, db)| *db == attenuation_db);
        named.map_or(Self::Custom, |(level, _)| *level)
    }

    fn attenuation_db(self) -> Option<f32> {
        let named = NAMED_DB.iter().find(|(level, _)| *level == self);
        named.map(|(_, db)| *db)
    }
}

/// The property `channel-mode`; see [`ChannelMode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstQuietwireDenoiseChannelMode")]
#[non_exhaustive]
pub enum ChannelModeSetting {
    /// See [`ChannelMode::Independent`].
    #[default]
    #[enum_value(
        name = "Each channel is processed alone. For channels with different talkers",
        nick = "independent"
    )]
    Independent,
    /// See [`ChannelMode::Linked`].
    #[enum_value(
        name = "All channels share one mask: the stereo image does not move, and the cost is that of one channel",
        nick = "linked"
    )]
    Linked,
}

impl From<ChannelModeSetting> for ChannelMode {
    fn from(mode: ChannelModeSetting) -> Self {
        match mode {
            ChannelModeSetting::Independent => Self::Independent,
            ChannelModeSetting::Linked => Self::Linked,
        }
    }
}

/// The values of the properties.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) model: String,
    /// `model`, loaded; from READY on
    pub(crate) models: Option<Arc<ModelSet>>,
    pub(crate) attenuation_db: f32,
    pub(crate) enabled: bool,
    pub(crate) channel_mode: ChannelModeSetting,
    pub(crate) qos: bool,
}

/// What a stream is created with and changed to.
#[derive(Debug, Clone)]
pub(crate) struct StreamSettings {
    pub(crate) models: Arc<ModelSet>,
    pub(crate) channel_mode: ChannelMode,
    pub(crate) attenuation_db: f32,
    pub(crate) enabled: bool,
    /// the output is too late for the model
    pub(crate) is_stepped_down: bool,
}

impl StreamSettings {
    pub(crate) fn is_bypassed(&self) -> bool {
        !self.enabled || self.is_stepped_down
    }
}

/// The default of `model`: the first embedded one.
const DEFAULT_MODEL: &str = "base";

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.into(),
            models: None,
            attenuation_db: AttenuationLimit::default().db(),
            enabled: true,
            channel_mode: ChannelModeSetting::default(),
            qos: true,
        }
    }
}

impl Settings {
    /// `None` before the model is loaded.
    pub(crate) fn of_stream(&self) -> Option<StreamSettings> {
        Some(StreamSettings {
            models: self.models.clone()?,
            channel_mode: self.channel_mode.into(),
            attenuation_db: self.attenuation_db,
            enabled: self.enabled,
            is_stepped_down: false,
        })
    }

    pub(crate) fn level(&self) -> Level {
        Level::of(self.attenuation_db)
    }

    pub(crate) fn set_level(&mut self, level: Level) {
        self.attenuation_db = level.attenuation_db().unwrap_or(self.attenuation_db);
    }
}

/// The properties of the element, in the order in which gst-inspect-1.0 lists them.
pub(crate) static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
    let defaults = Settings::default();
    vec![
        glib::ParamSpecString::builder("model")
            .nick("Model")
            .blurb(
                "Id of an embedded model, base or tiny, or the path of a folder with model.toml and its ONNX files. \
                 Between embedded models the stream cross-fades; any other change restarts it. While the element \
                 runs, a model that cannot be loaded gives a warning and the model before stays",
            )
            .default_value(Some(DEFAULT_MODEL))
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("level", defaults.level())
            .nick("Level")
            .blurb("Named value of attenuation-db. The property that was set last counts")
            .controllable()
            .mutable_playing()
            .build(),
        glib::ParamSpecFloat::builder("attenuation-db")
            .nick("Attenuation limit")
            .blurb(
                "Largest attenuation of noise, dB, 0 or more. 0: no change; infinite: no limit, as level=unlimited. A \
                 change takes effect over 50 ms",
            )
            .minimum(0.0)
            .maximum(f32::INFINITY)
            .default_value(defaults.attenuation_db)
            .controllable()
            .mutable_playing()
            .build(),
        glib::ParamSpecBoolean::builder("enabled")
            .nick("Enabled")
            .blurb(
                "Whether noise is suppressed. If not, the output is the input with the same latency, and the model \
                 does not run. A change cross-fades over 20 ms",
            )
            .default_value(defaults.enabled)
            .controllable()
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("channel-mode", defaults.channel_mode)
            .nick("Channel mode")
            .blurb("How the channels share the model. A change restarts the stream")
            .mutable_playing()
            .build(),
        glib::ParamSpecBoolean::builder("qos")
            .nick("Quality of service")
            .blurb(
                "Whether the element passes the delayed input while a sink with qos=true reports that buffers come \
                 too late, and until none came too late for 1 s. Each change is posted as a QOS message",
            )
            .default_value(defaults.qos)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt64::builder("latency")
            .nick("Latency")
            .blurb("Delay from the input to the output, ns. 0 before the first caps; constant with one rate and model")
            .read_only()
            .build(),
        glib::ParamSpecFloat::builder("speech")
            .nick("Speech probability")
            .blurb(
                "Probability of speech in the latest hop, 0 to 1; the largest of all channels. -1: the model has no such output, or \
                 no hop was processed",
            )
            .minimum(NO_SPEECH)
            .maximum(1.0)
            .default_value(NO_SPEECH)
            .read_only()
            .build(),
        glib::ParamSpecFloat::builder("snr-db")
            .nick("SNR")
            .blurb("Power that the model keeps over the power that it removes in the latest hop, dB, -30 to 60")
            .minimum(NO_SNR_DB)
            .maximum(60.0)
            .default_value(NO_SNR_DB)
            .read_only()
            .build(),
        glib::ParamSpecUInt64::builder("overloads")
            .nick("Overloads")
            .blurb("How often the element stepped down to the delayed input, see qos, since it left the state READY")
            .read_only()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb(
                "Counts since the element left the state READY: frames, bypassed-frames (while it was stepped down), \
                 hops, failed-hops (the model failed), repaired-samples (NaN, infinite or beyond 36 dBFS), drains \
                 (a discontinuity, other caps, another model, a new segment or EOS), overloads. All are guint64",
            )
            .read_only()
            .build(),
    ]
});
