//! The element, compared with the core on the same frames.

mod events;
mod formats;
mod misuse;
mod overload;
mod pipelines;
mod settings;
mod support;
mod timestamps;
