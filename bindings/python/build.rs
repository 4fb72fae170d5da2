//! Lets the linker of macOS accept the symbols that Python provides when it loads the module.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
