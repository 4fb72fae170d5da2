//! A store without installed models, and names that leave it.

use quietwire_store::{ModelStore, StoreError};
use quietwire_testing::files::Folder;

#[test]
fn models_that_are_not_installed_have_their_own_errors() {
    let folder = Folder::new("store-empty");
    let store = ModelStore::at(folder.join("models"));
    assert!(store.list().unwrap().is_empty());
    for result in [
        store.load("dfn3").map(drop),
        store.manifest("dfn3").map(drop),
        store.remove("dfn3"),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::NotInstalled { .. }), "{error}");
        // Commands belong to a program, not to a library.
        assert!(!error.to_string().contains("quietwire models"), "{error}");
    }
    let error = store.load("nonesuch").unwrap_err();
    assert!(matches!(error, StoreError::UnknownModel { .. }), "{error}");
    assert!(error.to_string().contains("dfn3"), "{error}");
    let error = store.install("nonesuch", &folder.join("")).unwrap_err();
    assert!(matches!(error, StoreError::UnknownModel { .. }), "{error}");
}

#[test]
fn a_failed_installation_leaves_the_store_unchanged() {
    let folder = Folder::new("store-install");
    let store = ModelStore::at(folder.join("models"));
    folder.put("models/dtln/model.toml", b"the old installation");
    folder.put("package/model_1.onnx", b"not a graph");
    let error = store.install("dtln", &folder.join("package")).unwrap_err();
    let is_hash = matches!(error, StoreError::Model(quietwire::Error::Hash { .. }));
    assert!(is_hash, "{error}");
    assert_eq!(
        folder.list(),
        ["models/dtln/model.toml", "package/model_1.onnx"]
    );
}

#[test]
fn installed_models_are_loaded_listed_and_removed() {
    let folder = Folder::new("store-installed");
    let store = ModelStore::at(folder.join("models"));
    let tiny = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny");
    for name in ["model.toml", "model.onnx"] {
        let bytes = std::fs::read(tiny.join(name)).unwrap();
        folder.put(&format!("models/my-model/{name}"), &bytes);
    }
    folder.put("models/.my-model.part-1/model.toml", b"of a killed process");
    folder.put("elsewhere/model.toml", b"outside the store");
    assert_eq!(store.list().unwrap(), ["my-model"]);
    assert_eq!(store.load("my-model").unwrap().manifest().id(), "tiny");
    for id in ["", ".", "..", "../elsewhere", "my-model/../my-model"] {
        assert!(store.installed(id).is_none(), "{id}");
    }
    store.remove("my-model").unwrap();
    assert!(store.list().unwrap().is_empty());
}
