//! Prints the public items of a crate, one per line, from a JSON file of rustdoc.
//!
//! cargo-public-api does the same, but takes minutes to compile.

use std::error::Error;

/// Traits that the compiler implements. Callers depend on two others of them, `Send` and `Sync`.
const OMITTED: [&str; 6] = [
    "core::marker::Freeze ",
    "core::marker::StructuralPartialEq ",
    "core::marker::Unpin ",
    "core::marker::UnsafeUnpin ",
    "core::panic::unwind_safe::RefUnwindSafe ",
    "core::panic::unwind_safe::UnwindSafe ",
];

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os()
        .nth(1)
        .ok_or("usage: public_api FILE.json")?;
    let api = public_api::Builder::from_rustdoc_json(path)
        .omit_blanket_impls(true)
        .build()?;
    for item in api.items() {
        let line = item.to_string();
        if !OMITTED.iter().any(|name| line.contains(name)) {
            println!("{line}");
        }
    }
    Ok(())
}
