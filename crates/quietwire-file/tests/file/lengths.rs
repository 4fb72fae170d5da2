//! Files whose header and contents disagree about the length: what is there is read, and a note says so.

use std::fs;
use std::path::Path;

use quietwire_file::{Input, Note, Reader};
use quietwire_testing::files::{Folder, Wav, chunk, data16, ffmpeg, riff};

use crate::{options, read, run, sample, unchanged};

/// The samples of a file through a pipe, and the notes.
fn piped(path: &Path) -> (Vec<f32>, Vec<Note>) {
    let source = Box::new(fs::File::open(path).unwrap());
    read(Reader::open(Input::Stream(source)).unwrap())
}

fn by_name(path: &Path) -> (Vec<f32>, Vec<Note>) {
    read(Reader::open(Input::File(path.into())).unwrap())
}

#[test]
fn a_wav_header_that_was_never_finished_keeps_all_samples() {
    let folder = Folder::new("unfinished");
    let wav = Wav::int(16, 1, data16(30_000));
    for size in [
        0u32,
        36,
        4088,
        1000,
        0x7FFF_FFFF,
        2_000_000_000,
        0xFFFF_F000,
        u32::MAX,
    ] {
        for riff_size in [0, 36, size.saturating_add(36), 60_036] {
            let mut bytes = wav.bytes();
            bytes[4..8].copy_from_slice(&riff_size.to_le_bytes());
            bytes[40..44].copy_from_slice(&size.to_le_bytes());
            let path = folder.put("in.wav", &bytes);
            let (samples, notes) = by_name(&path);
            assert_eq!(samples.len(), 30_000, "{size:#x}");
            assert!(
                matches!(notes[..], [Note::WrongLength { found: 30_000, .. }]),
                "{size:#x}: {notes:?}"
            );
            // A pipe shows its end only. Lengths without a meaning are taken for placeholders.
            let (samples, notes) = piped(&path);
            if size == 1000 {
                assert_eq!(samples.len(), 500);
                assert!(
                    matches!(notes[..], [Note::TrailingBytes { .. }]),
                    "{notes:?}"
                );
            } else {
                assert_eq!(samples.len(), 30_000, "{size:#x} from a pipe");
            }
            let out = unchanged(&folder, &bytes);
            assert!(chunk(&out, b"data") == wav.data, "{size:#x}");
        }
    }
}

#[test]
fn a_wav_that_promises_more_than_there_is_keeps_what_is_there() {
    let folder = Folder::new("cutwav");
    let wav = Wav::int(16, 1, data16(50_000)).bytes();
    let input = folder.put("cut.wav", &wav[..44 + 60_001]);
    let report = run(&input, &folder.join("out.wav"), &options(0.0)).unwrap();
    assert!(report.is_complete());
    let expected = Note::WrongLength {
        stated: Some(50_000),
        found: 30_000,
    };
    assert_eq!(report.input.notes, std::slice::from_ref(&expected));
    assert_eq!(
        chunk(&fs::read(folder.join("out.wav")).unwrap(), b"data"),
        wav[44..44 + 60_000]
    );
    assert_eq!(piped(&input).1, [expected]);
}

#[test]
fn chunks_tags_and_zeros_after_the_samples_are_no_samples() {
    let folder = Folder::new("after");
    let wav = Wav::int(8, 1, vec![0x61; 3001]);
    let plain = riff(&[(b"fmt ", wav.format_chunk()), (b"data", wav.data.clone())]);
    let list = riff(&[
        (b"fmt ", wav.format_chunk()),
        (b"data", wav.data.clone()),
        (b"LIST", b"INFOISFT\x04\0\0\0abc\0".to_vec()),
        (b"zzzz", vec![7; 9]),
    ]);
    let with = |rest: &[u8]| [&plain, rest].concat();
    let tag = [&b"TAG"[..], &[b'x'; 125]].concat();
    for (bytes, skipped) in [
        (plain.clone(), None),
        (list.clone(), None),
        (with(&[0; 512]), None),
        (with(&tag), Some(128)),
        ([&list[..], b"\x01\x02\x03"].concat(), Some(3)),
    ] {
        let path = folder.put("in.wav", &bytes);
        let (samples, notes) = by_name(&path);
        assert_eq!(samples.len(), 3001);
        let expected: Vec<_> = skipped
            .into_iter()
            .map(|bytes| Note::TrailingBytes { bytes })
            .collect();
        assert_eq!(notes, expected);
        assert_eq!(piped(&path).0.len(), 3001);
    }
}

/// An MP3 of `seconds` s, and the position of the number of packets in its Info tag.
fn mp3(folder: &Folder, seconds: &str) -> Option<(Vec<u8>, usize)> {
    let path = folder.join("seed.mp3");
    let source = format!("sine=frequency=440:sample_rate=44100:duration={seconds}");
    let file = path.to_str().unwrap();
    if !ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        &source,
        "-b:a",
        "128k",
        "-id3v2_version",
        "0",
        file,
    ]) {
        return None;
    }
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"Info").unwrap();
    Some((bytes, at + 8))
}

#[test]
fn an_mp3_is_read_beyond_the_packets_that_its_header_states() {
    let folder = Folder::new("mp3count");
    let Some((bytes, count_at)) = mp3(&folder, "3") else {
        return;
    };
    let complete = by_name(&folder.put("full.mp3", &bytes)).0;
    assert_eq!(complete.len(), 132_300);
    for count in [0u32, 1, 58, 114] {
        let mut wrong = bytes.clone();
        wrong[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
        let path = folder.put("wrong.mp3", &wrong);
        assert!(by_name(&path).0 == complete, "{count} packets");
        let (samples, _) = piped(&path);
        assert!(
            samples.starts_with(&complete),
            "{count} packets from a pipe"
        );
    }
    // A tag behind the audio, with bytes like those of a packet.
    let mut ape = b"\xFF\xFB\x90\x64".repeat(2000);
    let size = ape.len() as u32 + 32;
    ape.extend(b"APETAGEX\xD0\x07\0\0");
    ape.extend(size.to_le_bytes());
    ape.extend([0; 16]);
    let tagged = folder.put("tagged.mp3", &[&bytes[..], &ape].concat());
    let (samples, notes) = by_name(&tagged);
    assert!(samples == complete && notes.is_empty(), "{notes:?}");
    // Two files one after the other: the padding of the first is in the middle.
    let joined = by_name(&folder.put("joined.mp3", &[&bytes[..], &bytes].concat())).0;
    assert!(joined.len() >= 2 * 132_300, "{}", joined.len());
    assert!(joined.starts_with(&complete));
}

#[test]
fn a_cut_mp3_is_read_and_its_loss_is_noted() {
    let folder = Folder::new("mp3cut");
    let Some((bytes, _)) = mp3(&folder, "3") else {
        return;
    };
    let input = folder.put("cut.mp3", &bytes[..bytes.len() / 2]);
    let report = run(&input, &folder.join("out.wav"), &options(0.0)).unwrap();
    assert!(!report.is_complete());
    let [Note::Truncated { expected, found }] = report.input.notes[..] else {
        panic!("{:?}", report.input.notes)
    };
    assert_eq!(expected, Some(132_300));
    assert!((60_000..70_000).contains(&found), "{found}");
    assert_eq!(report.input.info.frames, Some(found));
}

#[test]
fn a_flac_with_bytes_after_its_last_frame_is_complete() {
    let folder = Folder::new("flactail");
    let flac = fs::read(sample("street.flac")).unwrap();
    let complete = by_name(&sample("street.flac")).0;
    let mut unset = flac.clone();
    // The total number of samples, 36 bits, and the checksum.
    unset[8 + 13] &= 0xF0;
    unset[8 + 14..8 + 34].fill(0);
    let id3v1 = [&b"TAG"[..], &[b'x'; 125]].concat();
    let ape = [&b"APETAGEX"[..], &[9; 200]].concat();
    for (tail, noted) in [
        (&b""[..], false),
        (&id3v1, false),
        (&ape, false),
        (&[0; 700], false),
        (&[0x11; 900], true),
    ] {
        for file in [&flac, &unset] {
            let path = folder.put("tail.flac", &[&file[..], tail].concat());
            for (samples, notes) in [by_name(&path), piped(&path)] {
                assert!(samples == complete, "{:?}", &tail[..tail.len().min(8)]);
                let expected = noted && file == &unset;
                assert_eq!(!notes.is_empty(), expected, "{notes:?}");
            }
        }
    }
    // A tag in front of the file.
    let id3v2 = [&b"ID3\x04\0\0\0\0\0\x64"[..], &[0; 100]].concat();
    let path = folder.put("front.flac", &[&id3v2[..], &flac].concat());
    assert!(by_name(&path).0 == complete);
    let path = folder.put("both.flac", &[&id3v2[..], &flac, &id3v1].concat());
    assert!(by_name(&path).0 == complete);
}

#[test]
fn a_cut_flac_is_read_and_its_loss_is_noted() {
    let folder = Folder::new("flaccut");
    let flac = fs::read(sample("street.flac")).unwrap();
    let complete = by_name(&sample("street.flac")).0;
    for share in [2, 3, 10] {
        let input = folder.put("cut.flac", &flac[..flac.len() / share]);
        let output = folder.join(&format!("out{share}.flac"));
        let report = run(&input, &output, &options(0.0)).unwrap();
        assert!(!report.is_complete());
        let [Note::Truncated { expected, found }] = report.input.notes[..] else {
            panic!("{:?}", report.input.notes)
        };
        assert_eq!(expected, Some(211_680));
        let samples = by_name(&output).0;
        assert!(found > 0);
        let channels = usize::from(report.output.info.channels);
        assert_eq!(samples.len(), found as usize * channels);
        assert!(complete.starts_with(&samples));
    }
    let stub = folder.put("stub.flac", &flac[..20]);
    assert!(run(&stub, &folder.join("none.wav"), &options(0.0)).is_err());
    assert!(!folder.join("none.wav").exists());
}

#[test]
fn cut_containers_are_read_and_their_loss_is_noted() {
    let folder = Folder::new("cutcontainers");
    for name in ["a.ogg", "a.opus", "a.m4a", "a.mka", "a.aiff", "a.caf"] {
        let file = folder.join(name);
        let source = "sine=frequency=440:sample_rate=48000:duration=5";
        // The index of the MP4 is at its start, the clusters of the Matroska are short.
        let args = ["-f", "lavfi", "-i", source, "-movflags", "faststart"];
        let args = [
            &args[..],
            &["-cluster_time_limit", "500", file.to_str().unwrap()],
        ]
        .concat();
        if !ffmpeg(&args) {
            return;
        }
        let bytes = fs::read(&file).unwrap();
        let cut = folder.put(&format!("cut-{name}"), &bytes[..bytes.len() * 6 / 10]);
        let (samples, notes) = by_name(&cut);
        assert!(
            (80_000..200_000).contains(&samples.len()),
            "{name}: {}",
            samples.len()
        );
        assert!(notes.iter().any(Note::is_loss), "{name}: {notes:?}");
    }
}
