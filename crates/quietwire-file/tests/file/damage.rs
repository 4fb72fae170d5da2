//! Damage in the middle of a recording: the rest is read, the loss is noted.

use std::fs;
use std::path::{Path, PathBuf};

use quietwire_file::{Input, Note, Reader};
use quietwire_testing::files::{Folder, ffmpeg};

use crate::{options, read, run};

fn tone(folder: &Folder, name: &str, extra: &[&str]) -> Option<PathBuf> {
    let file = folder.join(name);
    let source = "sine=frequency=440:sample_rate=48000:duration=6";
    let args = [
        &["-f", "lavfi", "-i", source][..],
        extra,
        &[file.to_str().unwrap()],
    ];
    ffmpeg(&args.concat()).then_some(file)
}

fn samples_and_notes(path: &Path) -> (Vec<f32>, Vec<Note>) {
    read(Reader::open(Input::File(path.into())).unwrap())
}

#[test]
fn damage_in_the_middle_is_noted_and_the_rest_keeps_its_place() {
    let folder = Folder::new("middle");
    for (name, extra) in [
        ("a.mp3", &["-b:a", "128k"][..]),
        ("a.aac", &[]),
        ("a.ogg", &[]),
        ("a.opus", &["-b:a", "96k"]),
    ] {
        let Some(file) = tone(&folder, name, extra) else {
            return;
        };
        let (complete, notes) = samples_and_notes(&file);
        assert!(notes.is_empty(), "{name}: {notes:?}");
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 1000].fill(0x55);
        let damaged = folder.put(&format!("damaged-{name}"), &bytes);
        let report = run(
            &damaged,
            &folder.join(&format!("{name}.wav")),
            &options(0.0),
        )
        .unwrap();
        let frames = report.input.info.frames.unwrap() as usize;
        // The length of what was lost is known, except in an elementary stream.
        let tolerance = if name == "a.aac" { 12_000 } else { 4_000 };
        assert!(
            frames.abs_diff(complete.len()) < tolerance,
            "{name}: {frames} of {}",
            complete.len()
        );
        if frames + 1152 < complete.len() || name == "a.ogg" || name == "a.opus" {
            let is_noted = !report.is_complete() || name == "a.aac";
            assert!(is_noted, "{name}: {:?}", report.input.notes);
        }
    }
}

#[test]
fn an_mp3_that_changes_its_rate_or_channels_is_read_up_to_there() {
    let folder = Folder::new("mp3change");
    let files = [
        ("a.mp3", &["-ar", "44100"][..]),
        ("b.mp3", &["-ar", "48000"]),
        ("c.mp3", &["-ar", "44100", "-ac", "2"]),
    ];
    let mut bytes = Vec::new();
    for (name, extra) in files {
        let Some(file) = tone(&folder, name, extra) else {
            return;
        };
        bytes.push(fs::read(file).unwrap());
    }
    let (first, _) = samples_and_notes(&folder.join("a.mp3"));
    for other in &bytes[1..] {
        let joined = folder.put("joined.mp3", &[&bytes[0][..], other].concat());
        let output = folder.join("joined.wav");
        let _ = fs::remove_file(&output);
        let report = run(&joined, &output, &options(0.0)).unwrap();
        assert!(!report.is_complete());
        let frames = report.input.info.frames.unwrap() as usize;
        assert!(frames.abs_diff(first.len()) < 3000, "{frames}");
        let text = report.input.notes[0].to_string();
        assert!(text.contains("changes from 44100 Hz"), "{text}");
    }
}
