//! Standard input and output.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use quietwire_testing::files::{Folder, Wav, chunk, data16, ffmpeg, signal};

use crate::audio::{piped, sample, wav};
use crate::{quietwire, stderr, stdout, succeeded};

#[test]
fn a_wav_goes_through_the_standard_streams() {
    let folder = Folder::new("stream");
    let input = Wav::int(
        24,
        2,
        signal(20_000)
            .iter()
            .flat_map(|s| ((s * 8_000_000.0) as i32).to_le_bytes()[..3].to_vec())
            .collect(),
    );
    let args = ["clean", "-", "-o", "-", "--attenuation", "0"];
    let output = succeeded(piped(&folder, &args, &input.bytes()));
    assert!(output.stdout == input.bytes());
    // Without -o, standard input goes to standard output.
    let output = succeeded(piped(&folder, &["clean", "-", "-q"], &input.bytes()));
    assert_eq!(output.stdout.len(), input.bytes().len());
    assert!(output.stderr.is_empty());
    // An input of unknown length gives a header of unknown length.
    let mut endless = input.bytes();
    endless[4..8].fill(0xFF);
    endless[40..44].fill(0xFF);
    let output = succeeded(piped(&folder, &args, &endless));
    assert_eq!(output.stdout[4..8], [0xFF; 4]);
    assert!(output.stdout.ends_with(&input.data));
    // Anything that needs no seeking is decoded from a pipe.
    let flac = fs::read(sample("street.flac")).unwrap();
    let output = succeeded(piped(&folder, &["clean", "-", "-o", "out.wav"], &flac));
    assert!(
        stderr(&output).starts_with("stdin -> out.wav: 4.8 s"),
        "{}",
        stderr(&output)
    );
    assert_eq!(folder.list(), ["out.wav"]);
}

#[test]
fn samples_without_a_header_go_through_the_standard_streams() {
    let folder = Folder::new("raw");
    let floats: Vec<u8> = signal(10_000)
        .iter()
        .flat_map(|s| s.to_le_bytes())
        .collect();
    for (format, bytes) in [("s16le", data16(9001)), ("f32le", floats)] {
        let args = [
            "clean",
            "-",
            "--raw",
            format,
            "--rate",
            "16000",
            "--attenuation",
            "0",
            "-o",
            "-",
        ];
        let output = succeeded(piped(&folder, &args, &bytes));
        assert!(output.stdout == bytes, "{format}");
    }
    let args = [
        "clean",
        "-",
        "--raw",
        "s16le",
        "--rate",
        "44100",
        "--raw-channels",
        "2",
    ];
    let output = succeeded(piped(
        &folder,
        &[&args[..], &["-o", "out.wav"]].concat(),
        &data16(8000),
    ));
    assert!(stderr(&output).contains("0.1 s"));
    let written = fs::read(folder.join("out.wav")).unwrap();
    assert_eq!(chunk(&written, b"fmt ")[2..8], [2, 0, 0x44, 0xAC, 0, 0]);
    assert_eq!(chunk(&written, b"data").len(), 16_000);
}

#[test]
fn a_refused_pipe_has_a_reason() {
    let folder = Folder::new("badpipe");
    for (input, expected) in [
        (&b""[..], "stdin holds no audio"),
        (b"hello", "stdin is not an audio"),
    ] {
        let output = piped(&folder, &["clean", "-", "-o", "-"], input);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_reader_that_ends_early_is_no_failure() {
    let folder = Folder::new("brokenpipe");
    folder.put("talk.wav", &wav(2_000_000));
    let mut child = Command::new(env!("CARGO_BIN_EXE_quietwire"))
        .args(["clean", "talk.wav", "-o", "-", "--attenuation", "0"])
        .current_dir(folder.join(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), "")
    );
}

#[test]
fn ffmpeg_pipes_work_both_ways() {
    let folder = Folder::new("ffmpeg");
    let (mp3, flac) = (folder.join("a.mp3"), folder.join("b.flac"));
    let input = sample("office-fan.wav");
    if !ffmpeg(&["-i", input.to_str().unwrap(), mp3.to_str().unwrap()]) {
        return;
    }
    let program = env!("CARGO_BIN_EXE_quietwire");
    let line = format!(
        "set -o pipefail; ffmpeg -v error -i {} -f wav - | {program} clean - -o - | ffmpeg -v error -i - {}",
        mp3.display(),
        flac.display()
    );
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let output = succeeded(quietwire(&folder, &["info", "b.flac"]));
    assert!(
        stdout(&output).contains("427200 frames"),
        "{}",
        stdout(&output)
    );
}

/// Runs a line of bash in the folder. `$quietwire` is the program.
#[cfg(unix)]
fn bash(folder: &Folder, line: &str) -> std::process::Output {
    Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {line}")])
        .env("quietwire", env!("CARGO_BIN_EXE_quietwire"))
        .current_dir(folder.join(""))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[cfg(unix)]
#[test]
fn inputs_that_open_only_once_are_read_to_their_end() {
    let folder = Folder::new("fifo");
    folder.put("a.wav", &wav(20_000));
    fs::copy(sample("street.flac"), folder.join("a.flac")).unwrap();
    // The Unix name of stdin, a process substitution and a named pipe.
    for (file, seconds) in [("a.wav", "0.4 s"), ("a.flac", "4.8 s")] {
        for line in [
            format!("cat {file} | $quietwire clean /dev/stdin -o out.wav --force"),
            format!("$quietwire clean /dev/stdin -o out.wav --force < {file}"),
            format!("$quietwire clean <(cat {file}) -o out.wav --force"),
            format!(
                "mkfifo pipe && (cat {file} > pipe & $quietwire clean pipe -o out.wav --force; rm pipe)"
            ),
        ] {
            let output = succeeded(bash(&folder, &line));
            assert!(
                stderr(&output).contains(seconds),
                "{line}: {}",
                stderr(&output)
            );
        }
        let output = succeeded(bash(&folder, &format!("$quietwire info <(cat {file})")));
        let name = if file == "a.wav" {
            "20000 frames"
        } else {
            "211680 frames"
        };
        assert!(stdout(&output).contains(name), "{}", stdout(&output));
    }
    assert_eq!(folder.list(), ["a.flac", "a.wav", "out.wav"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_under_dev_goes_to_standard_output_or_into_the_folder() {
    let folder = Folder::new("devstdin");
    folder.put("a.wav", &wav(20_000));
    let expected = fs::read(folder.join("a.wav")).unwrap();
    for line in [
        "cat a.wav | $quietwire clean /dev/stdin --attenuation 0",
        "$quietwire clean <(cat a.wav) --attenuation 0",
        "$quietwire clean /dev/stdin --attenuation 0 < a.wav",
    ] {
        let output = succeeded(bash(&folder, line));
        assert!(output.stdout == expected, "{line}");
    }
    succeeded(bash(&folder, "$quietwire clean <(cat a.wav) -o out/"));
    succeeded(bash(
        &folder,
        "$quietwire clean a.wav <(cat a.wav) -o both --report json",
    ));
    let expected = [
        "a.wav",
        "both/a.report.json",
        "both/a.wav",
        "both/stdin.report.json",
        "both/stdin.wav",
        "out/stdin.wav",
    ];
    assert_eq!(folder.list(), expected);
}
