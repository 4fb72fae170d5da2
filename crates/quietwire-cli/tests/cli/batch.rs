//! Files and folders.

use std::fs;

use quietwire_testing::files::Folder;

use crate::audio::{sample, wav};
use crate::{quietwire, stderr, succeeded};

#[test]
fn a_file_is_cleaned_beside_itself_with_one_line_on_stderr() {
    let folder = Folder::new("beside");
    folder.put("talk.wav", &wav(20_000));
    let output = succeeded(quietwire(&folder, &["clean", "talk.wav"]));
    assert_eq!(folder.list(), ["talk.clean.wav", "talk.wav"]);
    assert!(output.stdout.is_empty());
    let text = stderr(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.starts_with("talk.wav -> talk.clean.wav: 0.4 s, noise floor"),
        "{text}"
    );
    assert!(text.contains("x real time"), "{text}");

    fs::copy(sample("street.flac"), folder.join("street.flac")).unwrap();
    let output = succeeded(quietwire(&folder, &["clean", "-q", "street.flac"]));
    assert!(stderr(&output).is_empty());
    assert!(folder.list().contains(&"street.clean.flac".into()));
    succeeded(quietwire(
        &folder,
        &["clean", "talk.wav", "--format", "flac"],
    ));
    assert!(folder.list().contains(&"talk.clean.flac".into()));
}

#[test]
fn outputs_that_exist_are_an_error_overwritten_or_skipped() {
    let folder = Folder::new("exists");
    folder.put("talk.wav", &wav(2000));
    folder.put("talk.clean.wav", b"precious");
    let output = quietwire(&folder, &["clean", "talk.wav"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("talk.clean.wav exists already") && text.contains("--force"),
        "{text}"
    );
    let output = succeeded(quietwire(&folder, &["clean", "talk.wav", "--resume"]));
    assert!(stderr(&output).contains("1 of 1 done before"));
    assert_eq!(
        fs::read(folder.join("talk.clean.wav")).unwrap(),
        b"precious"
    );
    succeeded(quietwire(&folder, &["clean", "talk.wav", "--force"]));
    assert_eq!(
        fs::read(folder.join("talk.clean.wav")).unwrap().len(),
        44 + 4000
    );
    assert_eq!(folder.list(), ["talk.clean.wav", "talk.wav"]);
}

#[test]
fn a_bad_file_in_a_batch_is_named_and_the_others_go_on() {
    let folder = Folder::new("batch");
    for name in ["a.wav", "b.wav", "c.wav", "d.wav"] {
        folder.put(name, &wav(3000));
    }
    folder.put("b.wav", b"not audio at all");
    folder.put("c.wav", b"");
    let args = [
        "clean", "a.wav", "b.wav", "c.wav", "d.wav", "none.wav", "-o", "out", "--jobs", "2",
    ];
    let output = quietwire(&folder, &args);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        folder.list(),
        ["a.wav", "b.wav", "c.wav", "d.wav", "out/a.wav", "out/d.wav"]
    );
    let text = stderr(&output);
    assert!(text.contains("error: b.wav is not an audio file"), "{text}");
    assert!(text.contains("error: c.wav holds no audio"), "{text}");
    assert!(text.contains("error: cannot open none.wav"), "{text}");
    assert_eq!(
        text.matches("No such file").count(),
        1,
        "printed once: {text}"
    );
    assert!(text.contains("3 of 5 failed"), "{text}");
}

#[test]
fn folders_are_mirrored() {
    let folder = Folder::new("mirror");
    folder.put("in/a.wav", &wav(500));
    folder.put("in/deep/er/b.WAV", &wav(500));
    folder.put("in/a.clean.wav", &wav(500));
    folder.put("in/.hidden.wav", &wav(500));
    folder.put("in/notes.txt", b"text");
    let all = [
        "clean",
        "in",
        "-o",
        "in/out",
        "--residual",
        "rest",
        "--spectrogram",
        "pictures",
        "--telemetry",
        "hops",
    ];
    succeeded(quietwire(
        &folder,
        &[&all[..], &["--report", "json,html"]].concat(),
    ));
    let mut expected = vec![
        "hops/a.jsonl",
        "hops/deep/er/b.jsonl",
        "in/.hidden.wav",
        "in/a.clean.wav",
        "in/a.wav",
        "in/deep/er/b.WAV",
        "in/notes.txt",
        "in/out/a.report.html",
        "in/out/a.report.json",
        "in/out/a.wav",
        "in/out/deep/er/b.report.html",
        "in/out/deep/er/b.report.json",
        "in/out/deep/er/b.wav",
        "pictures/a.png",
        "pictures/deep/er/b.png",
        "rest/a.wav",
        "rest/deep/er/b.wav",
    ];
    expected.sort_unstable();
    assert_eq!(folder.list(), expected);
    // The output folder lies in the input folder and is not cleaned again.
    let output = succeeded(quietwire(
        &folder,
        &["clean", "in", "-o", "in/out", "--resume"],
    ));
    assert!(
        stderr(&output).contains("2 of 2 done before"),
        "{}",
        stderr(&output)
    );
    assert_eq!(folder.list(), expected);

    let output = quietwire(&folder, &["clean", "pictures"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no audio files found"));
}

#[cfg(unix)]
#[test]
fn a_device_is_written_in_place() {
    let folder = Folder::new("device");
    folder.put("a.wav", &wav(100));
    succeeded(quietwire(
        &folder,
        &["clean", "a.wav", "-o", "/dev/null", "--force"],
    ));
    use std::os::unix::fs::FileTypeExt;
    assert!(
        fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
    let output = quietwire(&folder, &["clean", "a.wav", "-o", "/dev/full"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot write /dev/full: No space left"),
        "{}",
        stderr(&output)
    );
}
