//! Tracks, metadata, cut files and the fallback to ffmpeg.

use std::fs;

use crate::{quietwire, stderr, succeeded};
use quietwire_testing::files::{Folder, Wav, chunk, data16, ffmpeg, riff};

const TONE: &str = "sine=frequency=440:sample_rate=48000:duration=2";

#[test]
fn every_track_has_an_output_of_its_own() {
    let folder = Folder::new("tracks");
    let (file, low) = (folder.join("a.mka"), "sine=frequency=220:duration=2");
    let inputs = ["-f", "lavfi", "-i", TONE, "-f", "lavfi", "-i", low];
    let args = [
        "-map",
        "0",
        "-map",
        "1",
        "-c:a",
        "flac",
        file.to_str().unwrap(),
    ];
    if !ffmpeg(&[&inputs[..], &args].concat()) {
        return;
    }
    let output = succeeded(quietwire(&folder, &["clean", "a.mka"]));
    let text = stderr(&output);
    assert!(text.contains("note: a.mka: read audio track 1"), "{text}");
    assert!(text.contains("audio track 2"), "{text}");
    succeeded(quietwire(&folder, &["clean", "a.mka", "--track", "all"]));
    succeeded(quietwire(
        &folder,
        &["clean", "a.mka", "--track", "2", "-o", "two.wav"],
    ));
    let names = [
        "a.clean.track1.wav",
        "a.clean.track2.wav",
        "a.clean.wav",
        "a.mka",
        "two.wav",
    ];
    assert_eq!(folder.list(), names);
    let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(bytes("a.clean.track1.wav") == bytes("a.clean.wav"));
    assert!(bytes("a.clean.track2.wav") == bytes("two.wav"));
    assert!(bytes("two.wav") != bytes("a.clean.wav"));

    let output = quietwire(&folder, &["clean", "a.mka", "--track", "3", "-o", "no.wav"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("no audio track 3: expected 1 to 2"), "{text}");
    let output = quietwire(&folder, &["clean", "a.mka", "--track", "0"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_cut_file_is_cleaned_and_has_exit_code_1() {
    let folder = Folder::new("cut");
    let file = folder.join("a.mp3");
    if !ffmpeg(&["-f", "lavfi", "-i", TONE, file.to_str().unwrap()]) {
        return;
    }
    let bytes = fs::read(&file).unwrap();
    folder.put("cut.mp3", &bytes[..bytes.len() / 2]);
    for quiet in [
        &["clean", "cut.mp3", "--force"][..],
        &["clean", "cut.mp3", "--force", "--quiet"],
    ] {
        let output = quietwire(&folder, quiet);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("error: cut.mp3: the file is cut off"),
            "{text}"
        );
    }
    assert!(folder.join("cut.clean.wav").exists());
    let output = quietwire(&folder, &["clean", "a.mp3", "cut.mp3", "-o", "out"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("1 of 2 are incomplete"));
}

#[test]
fn an_unfinished_wav_is_cleaned_with_a_note() {
    let folder = Folder::new("unfinished");
    let mut bytes = Wav::int(16, 1, data16(48_000)).bytes();
    bytes[40..44].fill(0);
    folder.put("a.wav", &bytes);
    let output = succeeded(quietwire(&folder, &["clean", "a.wav"]));
    let text = stderr(&output);
    assert!(
        text.contains("note: a.wav: its header states 0 frames"),
        "{text}"
    );
    let output = succeeded(quietwire(&folder, &["info", "a.wav"]));
    assert!(crate::stdout(&output).contains("48000 frames"));
    assert!(crate::stdout(&output).contains("note"));
}

#[test]
fn metadata_is_kept_or_named_or_stripped() {
    let folder = Folder::new("metadata");
    let wav = Wav::int(16, 1, data16(4800));
    let bytes = riff(&[
        (b"fmt ", wav.format_chunk()),
        (b"iXML", b"<BWFXML/>".to_vec()),
        (b"data", wav.data.clone()),
    ]);
    folder.put("a.wav", &bytes);
    let output = succeeded(quietwire(&folder, &["clean", "a.wav", "-o", "kept.wav"]));
    assert!(!stderr(&output).contains("note"));
    assert_eq!(
        chunk(&fs::read(folder.join("kept.wav")).unwrap(), b"iXML"),
        b"<BWFXML/>"
    );
    let output = succeeded(quietwire(&folder, &["clean", "a.wav", "-o", "a.flac"]));
    let text = stderr(&output);
    assert!(text.contains("cannot hold this metadata: iXML"), "{text}");
    let args = ["clean", "a.wav", "-o", "plain.wav", "--strip-metadata"];
    succeeded(quietwire(&folder, &args));
    assert_eq!(fs::read(folder.join("plain.wav")).unwrap().len(), 44 + 9600);
}

#[test]
fn ffmpeg_decodes_other_formats_on_request() {
    let folder = Folder::new("viaffmpeg");
    let file = folder.join("a.wma");
    if !ffmpeg(&["-f", "lavfi", "-i", TONE, file.to_str().unwrap()]) {
        return;
    }
    let output = quietwire(&folder, &["clean", "a.wma"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("Windows Media Audio"), "{text}");
    assert!(text.contains("--via-ffmpeg"), "{text}");
    let output = succeeded(quietwire(&folder, &["clean", "a.wma", "--via-ffmpeg"]));
    let text = stderr(&output);
    assert!(text.contains("note: a.wma: decoded by ffmpeg"), "{text}");
}
