//! What a live path keeps, on a fake clock with simulated devices.

mod sim;

mod callbacks;
mod clocks;
mod devices;
mod overload;
mod toggles;
