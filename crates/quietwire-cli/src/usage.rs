//! Messages about a command line that cannot be parsed.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::shown;

/// Prints the message and ends the program with exit code 2, or with 0 after `--help`.
pub(crate) fn exit(mut error: Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let dashed = args
        .iter()
        .take_while(|arg| *arg != "--")
        .find(|arg| is_name_with_dash(arg));
    if let Some(name) = dashed {
        let name = shown::path(name.as_ref());
        let tip = format!("to use the file or folder '{name}', write './{name}'");
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
        if error.kind() == ErrorKind::UnknownArgument {
            error.insert(ContextKind::InvalidArg, ContextValue::String(name));
        }
    }
    let is_printable = |arg: &OsString| arg.to_str().is_some_and(|a| shown::escaped(a) == a);
    if args.iter().all(is_printable) {
        error.exit();
    }
    // clap prints arguments as they are.
    for line in error.render().to_string().lines() {
        eprintln!("{}", shown::escaped(line));
    }
    std::process::exit(error.exit_code())
}

/// Whether an argument is a file name that looks like options.
fn is_name_with_dash(arg: &OsStr) -> bool {
    let bytes = arg.as_encoded_bytes();
    let has_dash = bytes.starts_with(b"-") && bytes.len() > 1;
    #[cfg(feature = "clean")]
    let is_name = quietwire_file::has_audio_extension(Path::new(arg));
    #[cfg(not(feature = "clean"))]
    let is_name = false;
    has_dash && (is_name || Path::new(arg).exists())
}
