//! The denoiser as a step in a media path: RTP packets in, RTP packets out (feature `rtp`).
//!
//! [`RtpDenoiser`] does no input or output and reads no clock: packets and the time are arguments.
//! Between [`receive`](RtpDenoiser::receive) and [`poll_packet`](RtpDenoiser::poll_packet) stands
//! either [`drive`](RtpDenoiser::drive), which cleans what is due, or, for many streams on a core,
//! [`prepare`](RtpDenoiser::prepare) and a [`Batch`](crate::Batch), for which it is a
//! [`Job`](crate::Job).

mod buffer;
mod builder;
mod codec;
mod counts;
mod denoiser;
mod error;
mod packet;
mod red;
mod sender;

pub use builder::RtpDenoiserBuilder;
pub use codec::Codec;
pub use counts::RtpStats;
pub use denoiser::RtpDenoiser;
pub use error::RtpError;
pub use packet::Packet;
