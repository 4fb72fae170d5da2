#![doc = include_str!("../README.md")]

mod store;

mod known;
mod package;
mod temp_folder;

mod error;

pub use error::StoreError;
pub use store::ModelStore;
pub use temp_folder::TempFolder;
