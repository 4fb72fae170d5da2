//! Which files of a folder are cleaned, and under which names.

use std::fs;

use quietwire_testing::files::{Folder, ffmpeg};

use crate::audio::{sample, wav};
use crate::{quietwire, stderr, succeeded};

#[test]
fn every_readable_container_is_taken_and_all_other_files_are_counted_and_named() {
    let folder = Folder::new("containers");
    let input = sample("telephone.wav");
    let names = [
        "a.3gp", "b.aifc", "c.caf", "d.flac", "e.m4a", "f.mka", "g.mkv", "h.mov", "i.mp2", "j.mp3",
        "k.mp4", "l.ogg", "m.wav", "n.weba", "o.aac", "p.webm", "q.opus", "r.rf64", "s.MP3",
        "t.oga", "u.m4b", "v.aiff",
    ];
    fs::create_dir(folder.join("in")).unwrap();
    for name in names {
        let file = folder.join("in").join(name);
        let mut args = vec![
            "-i",
            input.to_str().unwrap(),
            "-t",
            "1",
            "-vn",
            "-strict",
            "-2",
        ];
        match &name[1..] {
            ".3gp" => args.extend(["-c:a", "aac", "-f", "3gp"]),
            ".aifc" => args.extend(["-c:a", "pcm_s16be", "-f", "aiff"]),
            ".weba" => args.extend(["-c:a", "libopus", "-f", "webm"]),
            ".m4b" => args.extend(["-f", "mp4"]),
            ".rf64" => args.extend(["-rf64", "always", "-f", "wav"]),
            _ => {}
        }
        args.push(file.to_str().unwrap());
        if !ffmpeg(&args) {
            return;
        }
    }
    for (from, to) in [
        ("m.wav", "take 1"),
        ("j.mp3", "2026-11-29 12.30"),
        ("d.flac", "w.bak"),
    ] {
        fs::copy(folder.join("in").join(from), folder.join("in").join(to)).unwrap();
    }
    folder.put("in/notes.txt", b"text");
    folder.put("in/cover.jpg", b"\xFF\xD8\xFF\xE0 picture");
    folder.put("in/empty", b"");
    folder.put("in/m.clean.wav", &wav(100));
    let output = succeeded(quietwire(&folder, &["clean", "in", "-o", "out"]));
    let out: Vec<String> = folder
        .list()
        .into_iter()
        .filter(|n| n.starts_with("out/"))
        .collect();
    assert_eq!(out.len(), names.len() + 3, "{out:?}");
    for name in [
        "out/take 1.wav",
        "out/2026-11-29 12.30.wav",
        "out/w.bak.wav",
        "out/h.wav",
    ] {
        assert!(out.iter().any(|found| found == name), "{name}: {out:?}");
    }
    let text = stderr(&output);
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        "passed over, not audio: 3 (in/cover.jpg, in/empty, in/notes.txt); output of an earlier run: 1 (in/m.clean.wav)"
    );
    let output = succeeded(quietwire(
        &folder,
        &["clean", "in", "-o", "out", "--force", "-q"],
    ));
    assert_eq!(stderr(&output), "");
}

#[test]
fn many_files_that_are_passed_over_are_counted() {
    let folder = Folder::new("pictures");
    folder.put("in/a.wav", &wav(100));
    for at in 0..25 {
        folder.put(&format!("in/p{at:02}.jpg"), b"picture");
    }
    let text = stderr(&succeeded(quietwire(&folder, &["clean", "in"])));
    assert!(
        text.contains("passed over, not audio: 25 (in/p00.jpg, "),
        "{text}"
    );
    assert!(text.contains("in/p09.jpg, and 15 more)"), "{text}");
}

#[test]
fn inputs_with_one_stem_have_different_outputs() {
    let folder = Folder::new("stems");
    let flac = fs::read(sample("street.flac")).unwrap();
    folder.put("in/a.flac", &flac);
    folder.put("in/a.mka", &wav(100));
    folder.put("in/a.wav", &wav(200));
    folder.put("in/b.mka", &wav(300));
    folder.put("in/b.webm", &wav(400));
    let args = ["clean", "in", "-o", "out", "--attenuation", "0"];
    succeeded(quietwire(&folder, &args));
    let expected = [
        "out/a.flac",
        "out/a.mka.wav",
        "out/a.wav",
        "out/b.wav",
        "out/b.webm.wav",
    ];
    let out = |folder: &Folder| -> Vec<String> {
        let names = folder.list().into_iter();
        names.filter(|name| name.starts_with("out/")).collect()
    };
    assert_eq!(out(&folder), expected);
    for (name, frames) in [
        ("a.mka.wav", 100),
        ("a.wav", 200),
        ("b.wav", 300),
        ("b.webm.wav", 400),
    ] {
        let bytes = fs::read(folder.join("out").join(name)).unwrap();
        assert_eq!(bytes.len(), 44 + 2 * frames, "{name}");
    }
    // The other outputs have different names, too.
    let folder = Folder::new("stems-report");
    folder.put("in/a.flac", &flac);
    folder.put("in/a.wav", &wav(200));
    succeeded(quietwire(
        &folder,
        &[
            "clean",
            "in",
            "--report",
            "json",
            "--spectrogram",
            "out",
            "--telemetry",
            "out",
        ],
    ));
    assert_eq!(
        folder.list(),
        [
            "in/a.clean.flac",
            "in/a.flac",
            "in/a.report.json",
            "in/a.wav",
            "in/a.wav.clean.wav",
            "in/a.wav.report.json",
            "out/a.jsonl",
            "out/a.png",
            "out/a.wav.jsonl",
            "out/a.wav.png",
        ]
    );
}

#[test]
fn an_output_that_would_replace_another_file_is_the_failure_of_one_input() {
    let folder = Folder::new("replace");
    for name in ["x/a.wav", "y/a.wav", "y/b.wav", "a.mka"] {
        folder.put(name, &wav(100));
    }
    // The third file of the same name has no other name.
    folder.put("z/a.wav", &wav(100));
    let args = [
        "clean", "x/a.wav", "y/a.wav", "z/a.wav", "y/b.wav", "-o", "out",
    ];
    let output = quietwire(&folder, &args);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("error: z/a.wav: its output out/a.wav belongs to x/a.wav"),
        "{text}"
    );
    assert!(text.contains("1 of 4 failed"), "{text}");
    assert!(folder.join("out/b.wav").exists());
    assert!(folder.join("out/a.wav.wav").exists());
    // Not even --force replaces another input.
    folder.put("a.wav", b"precious");
    let output = quietwire(&folder, &["clean", "a.mka", "a.wav", "-o", ".", "--force"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(fs::read(folder.join("a.wav")).unwrap(), b"precious");
    assert!(folder.join("a.mka.wav").exists());
    // The same file twice is cleaned once.
    let args = ["clean", "x", "x/a.wav", "-o", "once", "--residual", "rest"];
    succeeded(quietwire(&folder, &args));
    let once = folder
        .list()
        .into_iter()
        .filter(|name| name.starts_with("once/"));
    assert_eq!(once.count(), 1);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_listed_is_one_failure() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};

    let folder = Folder::new("unreadable");
    folder.put("in/a.wav", &wav(100));
    folder.put("in/closed/b.wav", &wav(100));
    folder.put("in/open/c.wav", &wav(100));
    let set = |name: &str, mode| {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    set("in/closed", 0);
    set("in/a.wav", 0o444);
    fs::create_dir(folder.join("out")).unwrap();
    set("out", 0o777);
    set("", 0o777);
    // root may list every folder: another user runs a copy of the program.
    let program = folder.join("program");
    fs::copy(env!("CARGO_BIN_EXE_quietwire"), &program).unwrap();
    let mut command = match fs::read_dir(folder.join("in/closed")) {
        Ok(_) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            command.arg(&program);
            command
        }
        Err(_) => Command::new(&program),
    };
    let output = command
        .args(["clean", "in", "-o", "out"])
        .current_dir(folder.join(""))
        .env("XDG_DATA_HOME", folder.join("data"))
        .stdin(Stdio::null())
        .output();
    set("in/closed", 0o755);
    let output = output.unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error: cannot list in/closed: "), "{text}");
    assert!(text.contains("1 of 3 failed"), "{text}");
    assert!(folder.join("out/a.wav").exists() && folder.join("out/open/c.wav").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_stay_as_they_are_and_are_printed_with_escapes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let folder = Folder::new("names");
    fs::create_dir(folder.join("in")).unwrap();
    let names: [&[u8]; 4] = [
        b"caf\xE9.wav",
        b"caf\xEA.wav",
        b"two\nlines.wav",
        b"red\x1b[31m.wav",
    ];
    for name in names {
        fs::write(folder.join("in").join(OsStr::from_bytes(name)), wav(100)).unwrap();
    }
    fs::write(
        folder.join("in").join(OsStr::from_bytes(b"n\xFF\x1b.txt")),
        b"text",
    )
    .unwrap();
    let args = ["clean", "in", "-o", "out", "--report", "json"];
    let output = succeeded(quietwire(&folder, &args));
    for name in names {
        let out = folder.join("out").join(OsStr::from_bytes(name));
        assert_eq!(fs::metadata(out).unwrap().len(), 44 + 200);
    }
    let report = OsStr::from_bytes(b"caf\xE9.report.json");
    assert!(folder.join("out").join(report).exists());
    let text = stderr(&output);
    for shown in [
        "in/caf\\xe9.wav -> out/caf\\xe9.wav: ",
        "in/two\\nlines.wav -> ",
        "in/red\\u{1b}[31m.wav -> ",
        "(in/n\\xff\\u{1b}.txt)",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!text.contains('\x1b'), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
    let output = quietwire(
        &folder,
        &[
            "info",
            "in/two\nlines.wav",
            "in/red\x1b[31m.wav",
            "no\nfile",
        ],
    );
    let text = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("in/two\\nlines.wav") && text.contains("no\\nfile"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "{text}");
}

#[cfg(unix)]
#[test]
fn long_names_are_cleaned_and_one_that_is_too_long_is_one_failure() {
    let folder = Folder::new("long");
    let name = "n".repeat(251);
    folder.put(&format!("in/{name}.wav"), &wav(100));
    folder.put("in/short.wav", &wav(100));
    succeeded(quietwire(&folder, &["clean", "in", "-o", "out"]));
    assert!(folder.join(&format!("out/{name}.wav")).exists());
    // Beside the input the name is longer.
    let output = quietwire(&folder, &["clean", "in"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("choose a shorter name with -o"), "{text}");
    assert!(folder.join("in/short.clean.wav").exists());
    assert_eq!(folder.list().len(), 5, "{:?}", folder.list());
}

#[cfg(unix)]
#[test]
fn links_and_pipes_in_a_folder_are_named() {
    let folder = Folder::new("links");
    folder.put("in/a.wav", &wav(100));
    folder.put("else/b.wav", &wav(100));
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
    link("../else/b.wav", "in/b.wav");
    link("../else", "in/more");
    link("nowhere.wav", "in/broken.wav");
    link("loop", "in/loop");
    let pipe = folder.join("in/pipe.wav");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(pipe)
            .status()
            .unwrap()
            .success()
    );
    let text = stderr(&succeeded(quietwire(
        &folder,
        &["clean", "in", "-o", "out"],
    )));
    for part in [
        "link to a folder: 1 (in/more)",
        "link that leads nowhere: 2 (in/broken.wav, in/loop)",
        "neither file nor folder: 1 (in/pipe.wav)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(folder.join("out/a.wav").exists() && folder.join("out/b.wav").exists());
}

#[test]
fn a_resumed_run_names_outputs_that_belong_to_another_input() {
    let folder = Folder::new("resume");
    let at = |name: &str, hours: u64| {
        let path = folder.put(name, &wav(100));
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(3600 * hours);
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    at("in/a.mka", 9000);
    at("in/b.wav", 9001);
    let resume = ["clean", "in", "-o", "out", "--resume"];
    succeeded(quietwire(&folder, &resume));
    let text = stderr(&succeeded(quietwire(&folder, &resume)));
    assert_eq!(text, "2 of 2 done before\n");
    // The output of a.mka has the name that a.wav would get.
    at("in/a.wav", 9002);
    let text = stderr(&succeeded(quietwire(&folder, &resume)));
    assert!(text.contains("2 of 3 done before"), "{text}");
    let expected = "passed over, output with another time than its input: 1 (out/a.wav)";
    assert!(text.contains(expected), "{text}");
}
