//! Versions of the library.

use std::ffi::c_char;

/// Version of the binary interface of this header. It rises only when a program that was compiled with
/// an older header could fail.
pub const QUIETWIRE_ABI_VERSION: u32 = 1;

/// The version of the library, for example "0.2.0".
#[unsafe(no_mangle)]
pub extern "C" fn quietwire_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// `QUIETWIRE_ABI_VERSION` of the library that runs. A program that loads the library by name compares
/// it with the constant of its header.
#[unsafe(no_mangle)]
pub extern "C" fn quietwire_abi_version() -> u32 {
    QUIETWIRE_ABI_VERSION
}
