//! The models that are part of the library.

/// One embedded model.
pub(super) struct Embedded {
    pub(super) id: &'static str,
    pub(super) manifest: &'static str,
    pub(super) onnx: &'static [u8],
    pub(super) card: &'static str,
}

/// The default first.
#[cfg(feature = "embedded-model")]
pub(super) const MODELS: &[Embedded] = &[
    Embedded {
        id: "base",
        manifest: include_str!("../../models/base/model.toml"),
        onnx: include_bytes!("../../models/base/model.onnx"),
        card: include_str!("../../models/base/CARD.md"),
    },
    Embedded {
        id: "tiny",
        manifest: include_str!("../../models/tiny/model.toml"),
        onnx: include_bytes!("../../models/tiny/model.onnx"),
        card: include_str!("../../models/tiny/CARD.md"),
    },
];

#[cfg(not(feature = "embedded-model"))]
pub(super) const MODELS: &[Embedded] = &[];
