//! The element `quietwiredenoise`: its class, properties and states. `chain.rs` has the path of buffers,
//! `pads.rs` events and queries.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::model_set::{ModelError, ModelSet};
use crate::overload::Overload;
use crate::reports::Reports;
use crate::settings::{ChannelModeSetting, PROPERTIES, Settings};
use crate::stream::Stream;

/// Sample rates that the core supports, Hz.
const RATES_HZ: std::ops::RangeInclusive<i32> = 8_000..=192_000;
const CHANNELS: std::ops::RangeInclusive<i32> = 1..=8;

pub(crate) static LOG: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "quietwiredenoise",
        gst::DebugColorFlags::empty(),
        Some("Noise suppression for live speech"),
    )
});

glib::wrapper! {
    /// The element `quietwiredenoise`.
    pub struct QuietwireDenoise(ObjectSubclass<Element>) @extends gst::Element, gst::Object;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    let (name, rank) = ("quietwiredenoise", gst::Rank::NONE);
    gst::Element::register(Some(plugin), name, rank, QuietwireDenoise::static_type())
}

/// No lock is held while buffers are pushed. Whoever needs several locks takes them in this order.
#[derive(Debug)]
pub struct Element {
    pub(crate) sinkpad: gst::Pad,
    pub(crate) srcpad: gst::Pad,
    streaming: Mutex<Streaming>,
    settings: Mutex<Settings>,
    overload: Mutex<Overload>,
    reports: Mutex<Reports>,
}

/// What belongs to the streaming thread.
#[derive(Debug, Default)]
pub(crate) struct Streaming {
    /// `None` before the first caps
    pub(crate) stream: Option<Stream>,
    pub(crate) segment: gst::FormattedSegment<gst::ClockTime>,
}

// A panic inside of a lock leaves plain values; the panic itself is posted as an error message.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Element {
    pub(crate) fn streaming(&self) -> MutexGuard<'_, Streaming> {
        lock(&self.streaming)
    }

    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    pub(crate) fn overload(&self) -> MutexGuard<'_, Overload> {
        lock(&self.overload)
    }

    pub(crate) fn reports(&self) -> MutexGuard<'_, Reports> {
        lock(&self.reports)
    }

    /// Loads the models on the thread of the application.
    fn start(&self) -> Result<(), ModelError> {
        let settings = self.settings().clone();
        let models = Arc::new(ModelSet::load(&settings.model)?);
        models.check(settings.channel_mode.into())?;
        self.settings().models = Some(models);
        Ok(())
    }

    /// Selects another model. Before READY, the model is not loaded yet.
    fn set_model(&self, name: String) {
        let before = self.settings().clone();
        let Some(models) = before.models else {
            self.settings().model = name;
            return;
        };
        if models.name() == name {
            return;
        }
        let loaded = ModelSet::load(&name)
            .and_then(|models| models.check(before.channel_mode.into()).map(|()| models));
        match loaded {
            Ok(models) => {
                let mut settings = self.settings();
                settings.model = name;
                settings.models = Some(Arc::new(models));
            }
            Err(error) => self.reject(&error, &format!("the model {} stays", before.model)),
        }
    }

    fn set_channel_mode(&self, mode: ChannelModeSetting) {
        let models = self.settings().models.clone();
        match models.map_or(Ok(()), |models| models.check(mode.into())) {
            Ok(()) => self.settings().channel_mode = mode,
            Err(error) => self.reject(&error, "the channel mode stays"),
        }
    }

    /// A property cannot have the new value.
    fn reject(&self, error: &ModelError, consequence: &str) {
        gst::element_imp_warning!(
            self,
            gst::ResourceError::Settings,
            ("{error}"),
            ["{consequence}"]
        );
    }
}

#[glib::object_subclass]
impl ObjectSubclass for Element {
    const NAME: &'static str = "GstQuietwireDenoise";
    type Type = QuietwireDenoise;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let template = |name| class.pad_template(name).expect("pad_templates() has it");
        Self {
            sinkpad: Self::sinkpad(&template("sink")),
            srcpad: Self::srcpad(&template("src")),
            streaming: Mutex::default(),
            settings: Mutex::default(),
            overload: Mutex::default(),
            reports: Mutex::default(),
        }
    }
}

impl ObjectImpl for Element {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        for pad in [&self.sinkpad, &self.srcpad] {
            element.add_pad(pad).expect("a new element has no pads");
        }
    }

    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        const TYPE: &str = "GObject checks the type of a value";
        let element = self.obj();
        match spec.name() {
            "model" => {
                let name: Option<String> = value.get().expect(TYPE);
                self.set_model(name.unwrap_or_else(|| Settings::default().model));
            }
            "level" => {
                self.settings().set_level(value.get().expect(TYPE));
                element.notify("attenuation-db");
            }
            "attenuation-db" => {
                // GObject refuses negative numbers and NaN.
                self.settings().attenuation_db = value.get().expect(TYPE);
                element.notify("level");
            }
            "enabled" => self.settings().enabled = value.get().expect(TYPE),
            "channel-mode" => self.set_channel_mode(value.get().expect(TYPE)),
            "qos" => self.settings().qos = value.get().expect(TYPE),
            _ => unreachable!("GObject passes writable properties only"),
        }
    }

    fn property(&self, _id: usize, spec: &glib::ParamSpec) -> glib::Value {
        match spec.name() {
            "model" => self.settings().model.to_value(),
            "level" => self.settings().level().to_value(),
            "attenuation-db" => self.settings().attenuation_db.to_value(),
            "enabled" => self.settings().enabled.to_value(),
            "channel-mode" => self.settings().channel_mode.to_value(),
            "qos" => self.settings().qos.to_value(),
            "latency" => self.reports().latency.nseconds().to_value(),
            "speech" => self.reports().speech.to_value(),
            "snr-db" => self.reports().snr_db.to_value(),
            "overloads" => self.overload().step_downs().to_value(),
            "stats" => {
                let overloads = self.overload().step_downs();
                self.reports().counts.to_structure(overloads).to_value()
            }
            _ => unreachable!("GObject passes readable properties only"),
        }
    }
}

impl GstObjectImpl for Element {}

impl ElementImpl for Element {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Quietwire noise suppression",
                "Filter/Effect/Audio",
                "Removes background noise from live speech, at any rate from 8 to 192 kHz, with a constant latency",
                "The quietwire developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_audio::AudioCapsBuilder::new()
                .format_list([gst_audio::AUDIO_FORMAT_F32, gst_audio::AUDIO_FORMAT_S16])
                .rate_range(RATES_HZ)
                .channels_range(CHANNELS)
                .layout_list([
                    gst_audio::AudioLayout::Interleaved,
                    gst_audio::AudioLayout::NonInterleaved,
                ])
                .build();
            let template = |name, direction| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
                    .expect("a name without placeholders for a pad that is always present")
            };
            vec![
                template("sink", gst::PadDirection::Sink),
                template("src", gst::PadDirection::Src),
            ]
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::NullToReady => {
                if let Err(error) = self.start() {
                    gst::element_imp_error!(self, gst::ResourceError::Settings, ("{error}"));
                    return Err(gst::StateChangeError);
                }
            }
            gst::StateChange::ReadyToPaused => {
                *self.overload() = Overload::default();
                *self.reports() = Reports::default();
            }
            _ => {}
        }
        let result = self.parent_change_state(transition)?;
        match transition {
            gst::StateChange::PausedToReady => {
                *self.streaming() = Streaming::default();
                self.reports().latency = gst::ClockTime::ZERO;
            }
            gst::StateChange::ReadyToNull => self.settings().models = None,
            _ => {}
        }
        Ok(result)
    }
}
