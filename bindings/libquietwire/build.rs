//! Writes the name under which programs find the shared library at run time. It contains the version of
//! the binary interface, `quietwire_capi::QUIETWIRE_ABI_VERSION`.

fn main() {
    let abi = 1;
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match system.as_str() {
        "macos" | "ios" => {
            println!(
                "cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libquietwire.{abi}.dylib"
            );
        }
        "windows" => {}
        _ => println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libquietwire.so.{abi}"),
    }
    println!("cargo::rerun-if-changed=build.rs");
}
