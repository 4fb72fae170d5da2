//! Tracks, start offsets, encoder delay and padding.

use std::fs;
use std::path::Path;

use quietwire_file::{FileError, Input, Note, ReadOptions, Reader};
use quietwire_testing::files::{Folder, Wav, ffmpeg};

use crate::{options, read, run};

fn by_name(path: &Path) -> (Vec<f32>, Vec<Note>) {
    read(Reader::open(Input::File(path.into())).unwrap())
}

fn by_pipe(path: &Path) -> (Vec<f32>, Vec<Note>) {
    let source = Box::new(fs::File::open(path).unwrap());
    read(Reader::open(Input::Stream(source)).unwrap())
}

#[test]
fn a_pipe_gives_the_samples_of_the_file() {
    let folder = Folder::new("pipe");
    let source = "sine=frequency=440:sample_rate=48000:duration=2.3457";
    for (name, extra) in [
        ("a.m4a", &[][..]),
        ("faststart.m4a", &["-movflags", "faststart"]),
        ("opus.mp4", &["-c:a", "libopus"]),
        ("alac.m4a", &["-c:a", "alac"]),
        ("a.mka", &["-c:a", "aac"]),
        ("a.webm", &["-c:a", "libopus"]),
        ("vorbis.webm", &["-c:a", "libvorbis"]),
        ("a.caf", &[]),
        ("a.aiff", &[]),
        ("a.ogg", &[]),
        ("a.opus", &[]),
        ("a.flac", &[]),
        ("a.w64", &[]),
        ("alaw.wav", &["-c:a", "pcm_alaw"]),
    ] {
        let file = folder.join(name);
        let mut args = vec!["-f", "lavfi", "-i", source];
        args.extend(extra);
        args.push(file.to_str().unwrap());
        if !ffmpeg(&args) {
            return;
        }
        let (expected, notes) = by_name(&file);
        assert!(notes.is_empty(), "{name}: {notes:?}");
        assert_eq!(by_pipe(&file), (expected.clone(), notes), "{name}");
        // The containers that state delay and padding give the length before encoding.
        match name {
            "a.mka" | "vorbis.webm" => {}
            // The size in its header includes the padding to 8 bytes.
            "a.w64" => assert_eq!(expected.len(), 112_596),
            _ => assert_eq!(expected.len(), 112_594, "{name}"),
        }
    }
}

/// Three tones in the tracks of a file.
fn three_tracks(folder: &Folder, name: &str, extra: &[&str]) -> Option<std::path::PathBuf> {
    let file = folder.join(name);
    let mut args = Vec::new();
    let sources: Vec<_> = [300, 500, 700]
        .iter()
        .map(|hz| format!("sine=frequency={hz}:sample_rate=48000:duration=1"))
        .collect();
    for source in &sources {
        args.extend(["-f", "lavfi", "-i", source]);
    }
    args.extend(["-map", "0", "-map", "1", "-map", "2"]);
    args.extend([
        "-metadata:s:a:1",
        "language=deu",
        "-metadata:s:a:1",
        "title=Commentary",
    ]);
    args.extend(extra);
    args.push(file.to_str().unwrap());
    ffmpeg(&args).then_some(file)
}

/// The frequency of a tone, from its zero crossings, Hz.
fn tone_hz(samples: &[f32]) -> usize {
    let middle = &samples[samples.len() / 4..samples.len() / 4 + 24_000];
    middle
        .windows(2)
        .filter(|pair| pair[0] <= 0.0 && pair[1] > 0.0)
        .count()
        * 2
}

#[test]
fn the_default_track_is_read_and_the_others_are_named() {
    let folder = Folder::new("tracks");
    let flags = [
        "-disposition:a:0",
        "0",
        "-disposition:a:1",
        "default",
        "-disposition:a:2",
        "0",
    ];
    for name in ["a.mka", "a.m4a"] {
        let extra = [&["-c:a", "aac"][..], &flags].concat();
        let Some(file) = three_tracks(&folder, name, &extra) else {
            return;
        };
        let (found, notes) = by_name(&file);
        assert!(
            tone_hz(&found).abs_diff(500) < 6,
            "{name}: {} Hz",
            tone_hz(&found)
        );
        let [Note::OtherTracks { read: 2, others }] = &notes[..] else {
            panic!("{name}: {notes:?}")
        };
        assert_eq!(others.len(), 2, "{name}");
        for (number, hz) in [(1, 300), (2, 500), (3, 700)] {
            let mut read_options = ReadOptions::default();
            read_options.track = Some(number);
            let input = Input::File(file.clone());
            let reader = Reader::open_with(input, &read_options).unwrap();
            assert_eq!(reader.tracks().len(), 3);
            assert_eq!(reader.tracks()[1].language.as_deref(), Some("deu"));
            assert!(reader.tracks()[1].is_default, "{name}");
            let found = tone_hz(&read(reader).0);
            assert!(found.abs_diff(hz) < 6, "{name}: {found} Hz");
        }
        let plain = folder.put("plain.wav", &Wav::int(16, 1, vec![0; 960]).bytes());
        let mut read_options = ReadOptions::default();
        read_options.track = Some(2);
        let error = Reader::open_with(Input::File(plain), &read_options).unwrap_err();
        assert!(
            matches!(
                error,
                FileError::Track {
                    found: 2,
                    tracks: 1,
                    ..
                }
            ),
            "{error}"
        );
        let mut options = options(0.0);
        options.read.track = Some(4);
        let error = run(&file, &folder.join("none.wav"), &options).unwrap_err();
        assert!(
            matches!(
                error,
                FileError::Track {
                    found: 4,
                    tracks: 3,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_late_start_beside_other_tracks_is_kept_as_silence() {
    let folder = Folder::new("offset");
    let video = "color=size=32x32:rate=25:duration=3";
    let tone = "sine=frequency=440:sample_rate=48000:duration=2";
    for (name, extra) in [
        ("a.mp4", &["-c:v", "mpeg4", "-c:a", "aac"][..]),
        ("a.mkv", &["-c:v", "mpeg4", "-c:a", "flac"]),
    ] {
        let file = folder.join(name);
        let inputs = [
            "-f",
            "lavfi",
            "-i",
            video,
            "-itsoffset",
            "0.75",
            "-f",
            "lavfi",
            "-i",
            tone,
        ];
        let args = [&inputs[..], extra, &[file.to_str().unwrap()]].concat();
        if !ffmpeg(&args) {
            return;
        }
        let (found, notes) = by_name(&file);
        let [
            Note::StartOffset {
                offset_s,
                silence: true,
            },
        ] = notes[..]
        else {
            panic!("{name}: {notes:?}")
        };
        assert!((offset_s - 0.75).abs() < 0.03, "{name}: {offset_s} s");
        let start = found.iter().position(|s| s.abs() > 0.05).unwrap();
        assert!(start.abs_diff(36_000) < 1500, "{name}: {start}");
        assert!(
            found.len().abs_diff(36_000 + 96_000) < 2200,
            "{name}: {}",
            found.len()
        );
    }
}
