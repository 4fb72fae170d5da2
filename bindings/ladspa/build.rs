//! Keeps the shared library in a process that has loaded it, so that its models are loaded once.
//!
//! Hosts unload a plugin and load it again, for example for each change of the sample rate. The models live
//! in a static value, which would be lost with each unload.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
