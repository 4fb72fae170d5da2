//! Names of outputs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use quietwire_file::has_audio_extension;

use crate::args::clean::{CleanArgs, Format};
use crate::clean_plan::find::Found;

/// Whether a path is one of standard input, of a process substitution or of a device: it has no name
/// and no folder for outputs.
pub(super) fn is_unnamed(path: &Path) -> bool {
    cfg!(unix) && (path.starts_with("/dev") || path.starts_with("/proc"))
}

/// The name of an input without the extension of its format.
pub(super) fn stem(found: &Found) -> OsString {
    match found.path.as_deref() {
        Some(path) if is_unnamed(path) => "stdin".into(),
        Some(path) if has_audio_extension(path) => path.file_stem().unwrap_or_default().into(),
        _ => full_name(found),
    }
}

pub(super) fn full_name(found: &Found) -> OsString {
    let name = found.path.as_deref().and_then(Path::file_name);
    name.unwrap_or("stdin".as_ref()).into()
}

pub(super) fn with_end(stem: impl Into<OsString>, end: &str) -> OsString {
    let mut name = stem.into();
    name.push(end);
    name
}

/// The name of an output. By default FLAC stays FLAC and all other formats become WAV.
pub(super) fn named(stem: &OsString, suffix: &str, found: &Found, args: &CleanArgs) -> OsString {
    let path = found.path.as_deref();
    let flac = path
        .and_then(Path::extension)
        .is_some_and(|extension| extension.eq_ignore_ascii_case("flac"));
    let extension = match args.format {
        Format::Flac => "flac",
        Format::Auto if flac => "flac",
        _ => "wav",
    };
    with_end(stem, &format!("{suffix}.{extension}"))
}

/// One form for all spellings of a path, whether the file exists or not.
pub(super) fn key(path: &Path) -> PathBuf {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let absolute = || std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    let folder = folder.canonicalize().unwrap_or_else(|_| absolute());
    folder.join(path.file_name().unwrap_or_default())
}
