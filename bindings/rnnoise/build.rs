//! Writes the name under which programs find the shared library at run time: that of RNNoise.

fn main() {
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match system.as_str() {
        "macos" | "ios" => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/librnnoise.0.dylib");
        }
        "windows" => {}
        _ => println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,librnnoise.so.0"),
    }
    println!("cargo::rerun-if-changed=build.rs");
}
