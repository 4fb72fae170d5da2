//! GStreamer plugin `quietwire` with the element `quietwiredenoise`: noise suppression for live speech.
//! `docs/gstreamer.md` is the guide for users.

mod chain;
mod element;
mod model_set;
mod overload;
mod pads;
mod reports;
mod samples;
mod settings;
mod stream;
mod timeline;

pub use element::QuietwireDenoise;
pub use settings::{ChannelModeSetting, Level};

/// Registers the element in a program that links this crate.
pub use plugin::plugin_register_static;

#[allow(missing_docs, reason = "the macro writes items without documentation")]
mod plugin {
    use gst::glib;

    fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
        crate::element::register(plugin)
    }

    gst::plugin_define!(
        quietwire,
        env!("CARGO_PKG_DESCRIPTION"),
        plugin_init,
        env!("CARGO_PKG_VERSION"),
        // MIT or Apache-2.0. GStreamer has a fixed list of names.
        "MIT/X11",
        env!("CARGO_PKG_NAME"),
        "quietwire",
        env!("CARGO_PKG_NAME")
    );
}
