//! The RTP stream over a network with loss, reordering, duplication and damaged packets.

mod codecs;
mod continuity;
mod damage;
mod dtx;
mod events;
mod network;
mod passthrough;
mod redundancy;
mod senders;
mod timeline;

mod wire;
