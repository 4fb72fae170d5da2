//! Videos in, and videos out with ffmpeg.

use std::process::{Command, Output};

use quietwire_testing::files::{Folder, ffmpeg};
use serde_json::Value;

use crate::audio::sample;
use crate::{quietwire, stderr, stdout, succeeded};

/// A video of 5 s with two audio tracks, of which the second is the default one, subtitles, chapters and
/// metadata. `None` where ffmpeg is not installed.
fn make_video(folder: &Folder, name: &str, more: &[&str]) -> Option<()> {
    folder.put(
        "chapters",
        b";FFMETADATA1\ntitle=A title\nartist=Somebody\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\n\
          title=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=2000\nEND=4800\ntitle=Two\n",
    );
    folder.put("lines.srt", b"1\n00:00:00,500 --> 00:00:02,000\nHello\n");
    let (street, telephone) = (sample("street.flac"), sample("telephone.wav"));
    let (output, chapters, lines) = (
        folder.join(name),
        folder.join("chapters"),
        folder.join("lines.srt"),
    );
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let mut args: Vec<String> = ["-f", "lavfi", "-i", "testsrc=s=160x120:r=25:d=5", "-i"]
        .map(Into::into)
        .to_vec();
    args.extend([
        path(&street),
        "-i".into(),
        path(&telephone),
        "-i".into(),
        path(&lines),
    ]);
    args.extend(["-i".into(), path(&chapters)]);
    args.extend(
        [
            "-map",
            "0",
            "-map",
            "2",
            "-map",
            "1",
            "-map",
            "3",
            "-map_metadata",
            "4",
            "-map_chapters",
            "4",
            "-metadata:s:a:0",
            "language=deu",
            "-metadata:s:a:1",
            "language=eng",
            "-disposition:a:0",
            "0",
            "-disposition:a:1",
            "default",
        ]
        .map(Into::into),
    );
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    args.push(path(&output));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let made = ffmpeg(&args);
    for file in [chapters, lines] {
        std::fs::remove_file(file).unwrap();
    }
    made.then_some(())
}

const MP4: [&str; 6] = ["-c:v", "mpeg4", "-c:a", "aac", "-c:s", "mov_text"];

fn run(program: &str, args: &[&str], folder: &Folder) -> Output {
    let mut command = Command::new(program);
    command
        .args(["-v", "error"])
        .args(args)
        .current_dir(folder.join(""));
    succeeded(command.output().unwrap())
}

fn probe(folder: &Folder, file: &str) -> Value {
    let args = [
        "-of",
        "json",
        "-show_streams",
        "-show_format",
        "-show_chapters",
        file,
    ];
    serde_json::from_slice(&run("ffprobe", &args, folder).stdout).unwrap()
}

/// Times and checksums of the packets of a stream, without those of its header.
fn packets(folder: &Folder, file: &str, stream: &str) -> String {
    let args = [
        "-i",
        file,
        "-map",
        stream,
        "-c",
        "copy",
        "-f",
        "framehash",
        "-",
    ];
    let text = stdout(&run("ffmpeg", &args, folder));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The audio of a stream at 48 kHz, from time 0 of the file.
fn audio(folder: &Folder, file: &str, stream: &str) -> Vec<f32> {
    let filter = [
        "-af",
        "aresample=async=1:first_pts=0",
        "-ac",
        "1",
        "-ar",
        "48000",
    ];
    let args = [
        &["-i", file, "-map", stream][..],
        &filter,
        &["-f", "f32le", "-"],
    ]
    .concat();
    let bytes = run("ffmpeg", &args, folder).stdout;
    let samples = bytes.as_chunks().0.iter();
    samples.map(|sample| f32::from_le_bytes(*sample)).collect()
}

/// Delay of `b` relative to `a` with the largest correlation, up to 50 ms, frames.
fn delay(a: &[f32], b: &[f32]) -> isize {
    let frames = a.len().min(b.len()) - 4800;
    let correlation = |delay: isize| -> f64 {
        let (a, b) = (&a[2400..frames], &b[(2400 + delay) as usize..]);
        a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
    };
    let mut delays = -2400..=2400;
    let first = delays.next().unwrap();
    delays.fold(first, |best, delay| {
        if correlation(delay) > correlation(best) {
            delay
        } else {
            best
        }
    })
}

#[test]
fn the_sound_of_a_video_is_cleaned_into_wav() {
    let folder = Folder::new("video-sound");
    if make_video(&folder, "talk.mp4", &MP4).is_none() {
        return;
    }
    let text = stderr(&succeeded(quietwire(&folder, &["clean", "talk.mp4"])));
    assert!(text.starts_with("talk.mp4 -> talk.clean.wav: "), "{text}");
    assert_eq!(folder.list(), ["talk.clean.wav", "talk.mp4"]);
}

#[test]
fn a_video_keeps_everything_but_the_sound_that_is_cleaned() {
    let folder = Folder::new("video");
    if make_video(&folder, "talk.mp4", &MP4).is_none() {
        return;
    }
    let args = [
        "clean",
        "talk.mp4",
        "-o",
        "talk.clean.mp4",
        "--report",
        "json",
    ];
    let output = succeeded(quietwire(&folder, &args));
    let text = stderr(&output);
    assert!(
        text.starts_with("talk.mp4 -> talk.clean.mp4: 4.8 s"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(
        folder.list(),
        ["talk.clean.mp4", "talk.mp4", "talk.report.json"]
    );

    let (before, after) = (probe(&folder, "talk.mp4"), probe(&folder, "talk.clean.mp4"));
    assert_eq!(before["chapters"], after["chapters"]);
    assert_eq!(before["format"]["tags"], after["format"]["tags"]);
    for at in 0..4 {
        let (before, after) = (&before["streams"][at], &after["streams"][at]);
        for key in [
            "codec_name",
            "disposition",
            "start_time",
            "channels",
            "sample_rate",
            "tags",
        ] {
            assert_eq!(before[key], after[key], "{key} of stream {at}");
        }
    }
    for stream in ["0:0", "0:1", "0:3"] {
        let (before, after) = (
            packets(&folder, "talk.mp4", stream),
            packets(&folder, "talk.clean.mp4", stream),
        );
        assert!(before == after, "stream {stream}");
    }
    let level = |samples: &[f32]| samples.iter().map(|x| x * x).sum::<f32>();
    let (before, after) = (
        audio(&folder, "talk.mp4", "0:2"),
        audio(&folder, "talk.clean.mp4", "0:2"),
    );
    assert_eq!(delay(&before, &after), 0);
    assert!(level(&after) < 0.9 * level(&before), "not cleaned");

    let report: Value =
        serde_json::from_slice(&std::fs::read(folder.join("talk.report.json")).unwrap()).unwrap();
    assert_eq!(report["input"]["codec"], "aac");
    assert_eq!(report["output"]["container"], "MP4");
    assert!(report["input"]["notes"].is_null());
}

#[test]
fn sound_that_starts_later_stays_where_it_is() {
    let folder = Folder::new("video-offset");
    let street = sample("street.flac");
    let street = street.to_str().unwrap();
    let input = folder.join("late.mov");
    let picture = ["-f", "lavfi", "-i", "testsrc=s=160x120:r=25:d=6"];
    let sound = [
        "-itsoffset",
        "0.7",
        "-i",
        street,
        "-c:v",
        "mpeg4",
        "-c:a",
        "pcm_s16le",
    ];
    if !ffmpeg(&[&picture[..], &sound, &[input.to_str().unwrap()]].concat()) {
        return;
    }
    let args = ["clean", "late.mov", "-o", "out.mov", "--attenuation", "0"];
    succeeded(quietwire(&folder, &args));
    let (before, after) = (
        audio(&folder, "late.mov", "0:a"),
        audio(&folder, "out.mov", "0:a"),
    );
    assert!(before[..33_000].iter().all(|sample| *sample == 0.0));
    assert_eq!(before.len(), after.len());
    let largest = before
        .iter()
        .zip(&after)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(largest < 1e-4, "{largest}");
    assert_eq!(
        packets(&folder, "late.mov", "0:v"),
        packets(&folder, "out.mov", "0:v")
    );
}

#[test]
fn streams_that_the_container_cannot_hold_are_named() {
    let folder = Folder::new("video-left");
    if make_video(&folder, "talk.mp4", &MP4).is_none() {
        return;
    }
    let output = succeeded(quietwire(&folder, &["clean", "talk.mp4", "-o", "talk.mkv"]));
    let text = stderr(&output);
    assert!(
        text.contains(
            "note: talk.mp4: the output cannot hold these streams: subtitle stream 3 (mov_text"
        ),
        "{text}"
    );
    assert!(!text.contains("data stream"), "{text}");
    // A picture is not left out.
    let output = quietwire(&folder, &["clean", "talk.mp4", "-o", "talk.webm"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("WebM cannot hold its video stream 0 (mpeg4"),
        "{text}"
    );
    assert_eq!(folder.list(), ["talk.mkv", "talk.mp4"]);
}

#[test]
fn a_video_output_needs_ffmpeg_and_a_file_with_sound() {
    let folder = Folder::new("video-refused");
    let input = folder.join("silent.mp4");
    let silent = [
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=160x120:r=25:d=1",
        "-c:v",
        "mpeg4",
    ];
    if !ffmpeg(&[&silent[..], &[input.to_str().unwrap()]].concat()) {
        return;
    }
    folder.put("text.mp4", b"no video");
    for (input, words) in [
        ("silent.mp4", "without an audio track"),
        ("text.mp4", "finds no streams"),
        ("none.mp4", "needs a file as its input"),
        ("-", "needs a file as its input"),
    ] {
        let output = quietwire(&folder, &["clean", input, "-o", "out.mp4"]);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{input}");
        assert!(
            stderr(&output).contains(words),
            "{input}: {}",
            stderr(&output)
        );
    }
    let output = quietwire(
        &folder,
        &["clean", "silent.mp4", "-o", "out.mp4", "--format", "wav"],
    );
    assert_eq!(output.status.code(), Some(2));
    let output = Command::new(env!("CARGO_BIN_EXE_quietwire"))
        .args(["clean", "silent.mp4", "-o", "out.mp4"])
        .current_dir(folder.join(""))
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("install ffmpeg"),
        "{}",
        stderr(&output)
    );
    assert_eq!(folder.list(), ["silent.mp4", "text.mp4"]);
}

/// ffmpeg that writes a start, then waits: the program that starts it is stopped meanwhile.
#[cfg(unix)]
#[test]
fn a_signal_ends_ffmpeg_too() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Stdio;

    let folder = Folder::new("video-signal");
    if make_video(&folder, "talk.mp4", &MP4).is_none() {
        return;
    }
    // Decodes, then neither ends nor reads.
    folder.put(
        "bin/ffmpeg",
        b"#!/bin/bash\ncase \"$*\" in *pipe:1*) PATH=$OLD; ffmpeg \"$@\";; esac\n\
          echo $$ >> ffmpeg.pid\nexec sleep 600\n",
    );
    let set = |name: &str| {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.join(name), mode).unwrap();
    };
    set("bin/ffmpeg");
    let path = std::env::var("PATH").unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_quietwire"))
        .args(["clean", "talk.mp4", "-o", "out.mp4"])
        .current_dir(folder.join(""))
        .env("OLD", &path)
        .env("PATH", format!("{}:{path}", folder.join("bin").display()))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = std::time::Instant::now();
    let pids = loop {
        let pids = std::fs::read_to_string(folder.join("ffmpeg.pid")).unwrap_or_default();
        if !pids.is_empty() && folder.list().iter().any(|name| name.ends_with(".part")) {
            break pids;
        }
        assert!(started.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let kill = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(15), "{}", stderr(&output));
    assert_eq!(folder.list(), ["bin/ffmpeg", "ffmpeg.pid", "talk.mp4"]);
    // Ended by the program, or not the process any more.
    let runs = |pid: &str| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
        command.is_ok_and(|command| command.contains("600"))
    };
    let ended = std::time::Instant::now();
    while pids.lines().any(runs) {
        assert!(ended.elapsed().as_secs() < 10, "ffmpeg runs on");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_video_that_is_cut_off_is_cleaned_as_far_as_it_goes() {
    let folder = Folder::new("video-cut");
    let mkv = ["-c:v", "mpeg4", "-c:a", "libopus", "-c:s", "srt"];
    if make_video(&folder, "talk.mkv", &mkv).is_none() {
        return;
    }
    let bytes = std::fs::read(folder.join("talk.mkv")).unwrap();
    folder.put("cut.mkv", &bytes[..bytes.len() / 2]);
    let output = quietwire(&folder, &["clean", "cut.mkv", "-o", "out.mkv"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("error: cut.mkv: the file is cut off: "),
        "{text}"
    );
    let seconds = audio(&folder, "out.mkv", "0:a:0").len() / 48_000;
    assert!((1..4).contains(&seconds), "{seconds} s");
    succeeded(quietwire(
        &folder,
        &["clean", "talk.mkv", "-o", "out.mkv", "--force"],
    ));
}

#[test]
fn the_track_of_a_video_is_chosen_and_its_metadata_removed() {
    let folder = Folder::new("video-track");
    if make_video(&folder, "talk.mp4", &MP4).is_none() {
        return;
    }
    let clean = ["clean", "talk.mp4", "-o", "out.mp4"];
    let args = [&clean[..], &["--track", "1", "--strip-metadata"]].concat();
    succeeded(quietwire(&folder, &args));
    let after = probe(&folder, "out.mp4");
    assert!(after["format"]["tags"]["title"].is_null(), "{after}");
    assert_eq!(after["chapters"].as_array().unwrap().len(), 0);
    assert!(packets(&folder, "talk.mp4", "0:1") != packets(&folder, "out.mp4", "0:1"));
    for stream in ["0:0", "0:2"] {
        assert!(packets(&folder, "talk.mp4", stream) == packets(&folder, "out.mp4", stream));
    }
    let output = quietwire(
        &folder,
        &[&clean[..], &["--force", "--track", "3"]].concat(),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("no audio track 3: expected 1 to 2"),
        "{}",
        stderr(&output)
    );
}
