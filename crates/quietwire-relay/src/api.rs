//! The JSON bodies of the control interface and its errors.

pub mod bulk;
pub mod error;
pub mod event;
pub mod media;
pub mod new_stream;
pub mod object;
pub mod packets;
pub mod relay;
pub mod stream_info;
