//! The RTP transform, over a network that loses, reorders, repeats and lies.
#![cfg(feature = "rtp")]

mod codecs;
mod continuity;
mod damage;
mod dtx;
mod events;
mod network;
#[path = "../noise/mod.rs"]
mod noise;
mod redundancy;
mod relaying;
mod wire;
