//! Links the functions of `quietwire-capi` into `libquietwire`. Has no code of its own.

pub use quietwire_capi::*;
