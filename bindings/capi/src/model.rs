//! Models: handles that streams share.

use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;
use std::sync::Arc;

use quietwire::Model;

use crate::error::{Failure, QuietwireError, report};
use crate::guard::guarded;
use crate::handle::{self, Kind};

/// A model. Immutable; all threads may use it at once. See `quietwire_model_embedded`.
#[derive(Debug)]
pub struct QuietwireModel {
    _opaque: [u8; 0],
}

impl Kind for Arc<Model> {
    type Opaque = QuietwireModel;
    const MAGIC: u64 = 0x5157_6d6f_6465_6c01;
    const NOT_A_HANDLE: &'static str =
        "the model is null, was freed, or is not a model of this library";
}

/// Writes a new handle to `out`, or null when there is none.
///
/// # Safety
/// `out` is null or can be written.
unsafe fn write_model(
    out: *mut *mut QuietwireModel,
    load: impl FnOnce() -> Result<Arc<Model>, Failure>,
) -> QuietwireError {
    report(guarded(|| {
        if out.is_null() {
            return Err(Failure::Argument("the pointer for the new model is null"));
        }
        // SAFETY: not null, and writable as the caller states.
        unsafe { out.write(std::ptr::null_mut()) };
        let model = handle::new(load()?);
        // SAFETY: as above.
        unsafe { out.write(model) };
        Ok(())
    }))
}

/// A text of C as UTF-8.
///
/// # Safety
/// `text` is null or ends with NUL, and does not change while the result is used.
unsafe fn text_of<'a>(text: *const c_char) -> Result<&'a CStr, Failure> {
    if text.is_null() {
        return Err(Failure::Argument("a text is null"));
    }
    // SAFETY: not null, and ends with NUL as the caller states.
    Ok(unsafe { CStr::from_ptr(text) })
}

const NOT_UTF8: Failure = Failure::Argument("a text is not UTF-8");

/// Opens an embedded model: "base", or "tiny", which is cheaper. All handles of one id share the
/// weights.
///
/// `*model` receives the handle, or null after a failure. Free it with `quietwire_model_free`. Not for
/// the audio thread: takes milliseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_model_embedded(
    id: *const c_char,
    model: *mut *mut QuietwireModel,
) -> QuietwireError {
    let load = || {
        // SAFETY: the caller passes null or a text that ends with NUL.
        let id = unsafe { text_of(id) }?.to_str().map_err(|_| NOT_UTF8)?;
        Ok(Model::embedded(id)?)
    };
    // SAFETY: the caller passes null or a place for the handle.
    unsafe { write_model(model, load) }
}

/// Opens a model of your own from a folder with `model.toml` and its ONNX files (docs/own-model.md). The
/// path is UTF-8 on Windows, and in the bytes of the file system elsewhere.
///
/// Otherwise as `quietwire_model_embedded`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_model_from_folder(
    path: *const c_char,
    model: *mut *mut QuietwireModel,
) -> QuietwireError {
    let load = || {
        // SAFETY: the caller passes null or a text that ends with NUL.
        let path = path_of(unsafe { text_of(path) }?)?;
        Ok(Model::from_folder(path)?)
    };
    // SAFETY: the caller passes null or a place for the handle.
    unsafe { write_model(model, load) }
}

#[cfg(unix)]
fn path_of(path: &CStr) -> Result<PathBuf, Failure> {
    use std::os::unix::ffi::OsStrExt as _;
    Ok(std::ffi::OsStr::from_bytes(path.to_bytes()).into())
}

#[cfg(not(unix))]
fn path_of(path: &CStr) -> Result<PathBuf, Failure> {
    Ok(path.to_str().map_err(|_| NOT_UTF8)?.into())
}

/// Opens a model of your own from memory: the text of `model.toml` with `manifest_size` bytes, and the
/// `graph_count` ONNX files in the order in which the manifest names them, each with its size in bytes.
/// The memory is copied; it may be freed after the call.
///
/// Otherwise as `quietwire_model_embedded`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_model_from_memory(
    manifest: *const c_char,
    manifest_size: usize,
    graphs: *const *const c_void,
    graph_sizes: *const usize,
    graph_count: usize,
    model: *mut *mut QuietwireModel,
) -> QuietwireError {
    let load = || {
        // SAFETY: the caller passes memory of this size.
        let manifest = unsafe { slice(manifest.cast::<u8>(), manifest_size) }?;
        let manifest = std::str::from_utf8(manifest).map_err(|_| NOT_UTF8)?;
        // SAFETY: the caller passes two arrays with this count.
        let (graphs, sizes) = unsafe {
            (
                slice(graphs, graph_count)?,
                slice(graph_sizes, graph_count)?,
            )
        };
        let graphs = graphs.iter().zip(sizes);
        // SAFETY: the caller passes memory of each size.
        let graphs = graphs.map(|(graph, size)| unsafe { slice(graph.cast::<u8>(), *size) });
        let graphs: Vec<&[u8]> = graphs.collect::<Result<_, Failure>>()?;
        Ok(Model::from_memory(manifest, &graphs)?)
    };
    // SAFETY: the caller passes null or a place for the handle.
    unsafe { write_model(model, load) }
}

/// A slice of caller memory. No pointer is needed for no items.
///
/// # Safety
/// `start` is null or points to `len` items that do not change while the result is used.
pub(crate) unsafe fn slice<'a, T>(start: *const T, len: usize) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if start.is_null() || !start.is_aligned() {
        return Err(Failure::Argument("an array is null or not aligned"));
    }
    if len > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::Argument(
            "an array is larger than the address space",
        ));
    }
    // SAFETY: not null, aligned, and of this length as the caller states.
    Ok(unsafe { std::slice::from_raw_parts(start, len) })
}

/// Frees the handle of a model. Streams that use the model keep it. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_model_free(model: *mut QuietwireModel) {
    if model.is_null() {
        return;
    }
    // SAFETY: the caller passes a handle that was not freed.
    report(guarded(|| unsafe { handle::free::<Arc<Model>>(model) }));
}
