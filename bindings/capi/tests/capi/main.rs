//! The functions as C calls them.

mod allocation;
mod equality;
mod handle;
mod misuse;
mod models;
mod threads;
