//! The plugins as hosts call them: through `ladspa_descriptor` and the functions of a descriptor.

mod allocation;
mod descriptor;
mod equality;
#[path = "../shared/host.rs"]
mod host;
mod misuse;
