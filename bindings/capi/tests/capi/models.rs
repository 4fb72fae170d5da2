//! Models from the library, a folder and memory.

use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

use quietwire_capi::QuietwireError::{
    QUIETWIRE_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT,
    QUIETWIRE_ERROR_INVALID_MANIFEST as INVALID_MANIFEST, QUIETWIRE_ERROR_IO as IO,
    QUIETWIRE_ERROR_MODEL_MISMATCH as MISMATCH, QUIETWIRE_ERROR_UNKNOWN_MODEL as UNKNOWN_MODEL,
};
use quietwire_capi::{
    QuietwireModel, quietwire_free, quietwire_model_embedded, quietwire_model_free,
    quietwire_model_from_folder, quietwire_model_from_memory, quietwire_new, quietwire_process_f32,
    quietwire_set_model,
};
use quietwire_testing::signal::voice;

use crate::handle::{Handle, OK, options, text};

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny")
}

/// The output of a stream with this model.
fn output(model: *mut QuietwireModel) -> Vec<f32> {
    let mut stream = null_mut();
    let mut block = voice(48_000, 1, 0.2, 3);
    let frames = block.len();
    // SAFETY: a live model, whose handle the stream does not need later.
    unsafe {
        let models = [model.cast_const()];
        let options = options();
        let code = quietwire_new(models.as_ptr(), 1, &raw const options, &raw mut stream);
        assert_eq!(code, OK, "{}", text(null()));
        quietwire_model_free(model);
        assert_eq!(
            quietwire_process_f32(stream, block.as_ptr(), block.as_mut_ptr(), frames),
            OK
        );
        quietwire_free(stream);
    }
    block
}

#[test]
fn all_sources_give_the_same_model() {
    let folder = CString::new(tiny().to_str().unwrap()).unwrap();
    let manifest = std::fs::read(tiny().join("model.toml")).unwrap();
    let onnx = std::fs::read(tiny().join("model.onnx")).unwrap();
    let mut models = [null_mut(); 3];
    // SAFETY: texts, arrays and places for handles.
    unsafe {
        assert_eq!(
            quietwire_model_embedded(c"tiny".as_ptr(), &raw mut models[0]),
            OK
        );
        assert_eq!(
            quietwire_model_from_folder(folder.as_ptr(), &raw mut models[1]),
            OK
        );
        let graphs = [onnx.as_ptr().cast::<c_void>()];
        let sizes = [onnx.len()];
        let code = quietwire_model_from_memory(
            manifest.as_ptr().cast(),
            manifest.len(),
            graphs.as_ptr(),
            sizes.as_ptr(),
            1,
            &raw mut models[2],
        );
        assert_eq!(code, OK);
    }
    let [embedded, folder, memory] = models.map(output);
    assert!(embedded == folder && embedded == memory);
}

#[test]
fn models_that_cannot_be_opened_have_a_reason() {
    let mut model = null_mut();
    let place = &raw mut model;
    let manifest = std::fs::read(tiny().join("model.toml")).unwrap();
    let damaged = [0u8; 100];
    let graphs = [damaged.as_ptr().cast::<c_void>()];
    // SAFETY: texts, arrays and a place for the handle, or null.
    unsafe {
        assert_eq!(
            quietwire_model_embedded(c"huge".as_ptr(), place),
            UNKNOWN_MODEL
        );
        assert!(text(null()).contains("`huge`"));
        assert_eq!(quietwire_model_embedded(null(), place), INVALID_ARGUMENT);
        assert_eq!(
            quietwire_model_embedded(c"\xff".as_ptr(), place),
            INVALID_ARGUMENT
        );
        assert_eq!(
            quietwire_model_embedded(c"tiny".as_ptr(), null_mut()),
            INVALID_ARGUMENT
        );
        assert_eq!(
            quietwire_model_from_folder(c"/no/such/folder".as_ptr(), place),
            IO
        );
        assert!(
            text(null()).contains("/no/such/folder/model.toml: "),
            "{}",
            text(null())
        );
        let load = |manifest: &[u8], count, sizes: *const usize| {
            let (text, size) = (manifest.as_ptr().cast(), manifest.len());
            quietwire_model_from_memory(text, size, graphs.as_ptr(), sizes, count, place)
        };
        let sizes = [damaged.len()];
        assert_eq!(load(b"id = 1", 1, sizes.as_ptr()), INVALID_MANIFEST);
        assert_eq!(load(&manifest, 1, sizes.as_ptr()), MISMATCH);
        assert_eq!(load(&manifest, 0, null()), INVALID_MANIFEST);
        assert_eq!(load(&manifest, 1, null()), INVALID_ARGUMENT);
        assert_eq!(load(b"\xff", 1, sizes.as_ptr()), INVALID_ARGUMENT);
    }
    assert!(model.is_null());
}

#[test]
fn a_stream_switches_between_its_models() {
    let mut models = [null_mut(); 2];
    let mut stream = null_mut();
    // SAFETY: texts and places for handles.
    unsafe {
        assert_eq!(
            quietwire_model_embedded(c"base".as_ptr(), &raw mut models[0]),
            OK
        );
        assert_eq!(
            quietwire_model_embedded(c"tiny".as_ptr(), &raw mut models[1]),
            OK
        );
        let pointers = models.map(<*mut _>::cast_const);
        assert_eq!(
            quietwire_new(pointers.as_ptr(), 2, null(), &raw mut stream),
            OK
        );
        for model in models {
            quietwire_model_free(model);
        }
    }
    let handle = Handle(stream);
    let mut block = voice(48_000, 1, 0.5, 3);
    let mut active = Vec::new();
    for (n, block) in block.chunks_exact_mut(480).enumerate() {
        // SAFETY: a live handle, and 480 frames in place.
        unsafe {
            if n == 10 {
                assert_eq!(quietwire_set_model(handle.0, 1), OK);
            }
            let code = quietwire_process_f32(handle.0, block.as_ptr(), block.as_mut_ptr(), 480);
            assert_eq!(code, OK);
        }
        active.push(handle.telemetry().active_model);
    }
    active.dedup();
    assert_eq!(active, [0, 1]);
}
