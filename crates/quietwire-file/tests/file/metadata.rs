//! Metadata comes through: unchanged from WAV to WAV and from FLAC to FLAC, otherwise as far as the
//! output can hold it.

use std::fs;
use std::path::Path;

use quietwire_file::{CleanJob, Input, Note, Output, clean};
use quietwire_testing::files::{Folder, Wav, chunk, data16, ffmpeg, riff};

use crate::{options, run, sample, samples};

/// The chunks of a WAV, in their order.
fn chunks(wav: &[u8]) -> Vec<([u8; 4], Vec<u8>)> {
    let riff_size = u32::from_le_bytes(wav[4..8].try_into().unwrap()) as usize;
    assert_eq!(riff_size + 8, wav.len());
    let (mut at, mut found) = (12, Vec::new());
    while at < wav.len() {
        let size = u32::from_le_bytes(wav[at + 4..at + 8].try_into().unwrap()) as usize;
        let id = wav[at..at + 4].try_into().unwrap();
        found.push((id, wav[at + 8..at + 8 + size].to_vec()));
        at += 8 + size + size % 2;
    }
    found
}

/// The metadata blocks of a FLAC file.
fn blocks(flac: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut at, mut found) = (4, Vec::new());
    loop {
        let size = u32::from_be_bytes([0, flac[at + 1], flac[at + 2], flac[at + 3]]) as usize;
        found.push((flac[at] & 0x7F, flac[at + 4..at + 4 + size].to_vec()));
        if flac[at] & 0x80 != 0 {
            return found;
        }
        at += 4 + size;
    }
}

/// A `bext` chunk of version 2.
fn bext() -> Vec<u8> {
    let mut bext = vec![0; 602];
    bext[..9].copy_from_slice(b"Interview");
    bext[256..264].copy_from_slice(b"Recorder");
    bext[320..330].copy_from_slice(b"2026-01-31");
    bext[330..338].copy_from_slice(b"11:22:33");
    bext[338..346].copy_from_slice(&1_966_080_000u64.to_le_bytes());
    bext[346] = 2;
    bext[412..414].copy_from_slice(&(-2300i16).to_le_bytes());
    bext.extend(b"A=PCM,F=48000,W=16,M=mono\r\n");
    bext
}

/// A WAV with metadata before and after its audio.
fn tagged_wav() -> Vec<u8> {
    let wav = Wav::int(16, 1, data16(4801));
    let mut cue = 1u32.to_le_bytes().to_vec();
    cue.extend(1u32.to_le_bytes());
    cue.extend(2400u32.to_le_bytes());
    cue.extend(b"data\0\0\0\0\0\0\0\0");
    cue.extend(2400u32.to_le_bytes());
    riff(&[
        (b"bext", bext()),
        (b"iXML", b"<BWFXML><SCENE>1</SCENE></BWFXML>".to_vec()),
        (b"fmt ", wav.format_chunk()),
        (b"data", wav.data.clone()),
        (b"cue ", cue),
        (b"LIST", b"adtllabl\x09\0\0\0\x01\0\0\0tone\0\0".to_vec()),
        (
            b"LIST",
            b"INFOINAM\x06\0\0\0Title\0IART\x04\0\0\0Ann\0".to_vec(),
        ),
        (b"id3 ", b"ID3\x04\0\0\0\0\0\0".to_vec()),
        (b"zzzz", vec![1, 2, 3]),
    ])
}

#[test]
fn wav_to_wav_keeps_every_chunk_bit_for_bit() {
    let folder = Folder::new("wavchunks");
    let wav = tagged_wav();
    let input = folder.put("in.wav", &wav);
    let output = folder.join("out.wav");
    let report = run(&input, &output, &options(0.0)).unwrap();
    assert!(report.input.notes.is_empty(), "{:?}", report.input.notes);
    let others = |wav: &[u8]| -> Vec<_> {
        let chunks = chunks(wav).into_iter();
        chunks.filter(|(id, _)| id != b"fmt ").collect()
    };
    let cleaned = fs::read(&output).unwrap();
    assert_eq!(others(&cleaned), others(&wav));
    // From a pipe the chunks after the audio are known at the end only.
    let source = Box::new(fs::File::open(&input).unwrap());
    let piped = folder.join("piped.wav");
    let job = CleanJob::new(Input::Stream(source), Output::File(piped.clone()));
    clean(job, &options(0.0), &mut |_| ()).unwrap();
    assert_eq!(others(&fs::read(piped).unwrap()), others(&wav));

    let mut stripped = options(0.0);
    stripped.strip_metadata = true;
    let plain = folder.join("plain.wav");
    let report = run(&input, &plain, &stripped).unwrap();
    assert!(report.input.notes.is_empty());
    assert_eq!(chunks(&fs::read(plain).unwrap()).len(), 2);
}

#[test]
fn flac_to_flac_keeps_every_block_bit_for_bit() {
    let folder = Folder::new("flacblocks");
    let flac = fs::read(sample("street.flac")).unwrap();
    let audio = {
        let sizes = blocks(&flac);
        4 + sizes.iter().map(|(_, body)| 4 + body.len()).sum::<usize>()
    };
    let added = [
        (
            4,
            b"\x04\0\0\0test\x02\0\0\0\x07\0\0\0TITLE=x\x04\0\0\0bad\xFF".to_vec(),
        ),
        (6, vec![9; 1000]),
        (2, b"riffLIST".to_vec()),
        (5, vec![7; 396]),
        (77, vec![3; 5]),
    ];
    let mut bytes = flac[..42].to_vec();
    bytes[4] = 0;
    for (index, (kind, body)) in added.iter().enumerate() {
        let last = if index + 1 == added.len() { 0x80 } else { 0 };
        bytes.push(kind | last);
        bytes.extend(&(body.len() as u32).to_be_bytes()[1..]);
        bytes.extend(body);
    }
    bytes.extend(&flac[audio..]);
    let input = folder.put("in.flac", &bytes);
    let output = folder.join("out.flac");
    let report = run(&input, &output, &options(0.0)).unwrap();
    assert!(report.input.notes.is_empty(), "{:?}", report.input.notes);
    let cleaned = fs::read(&output).unwrap();
    let found: Vec<_> = blocks(&cleaned)
        .into_iter()
        .filter(|(kind, _)| ![0, 1, 3].contains(kind))
        .collect();
    assert_eq!(found, added);
    assert!(samples(&output) == samples(&sample("street.flac")));
}

#[test]
fn a_wav_becomes_flac_with_its_tags_and_a_note_of_what_is_left() {
    let folder = Folder::new("wavflac");
    let input = folder.put("in.wav", &tagged_wav());
    let output = folder.join("out.flac");
    let report = run(&input, &output, &options(0.0)).unwrap();
    let names: Vec<String> = ["iXML", "cue", "LIST/adtl", "id3", "zzzz"]
        .map(Into::into)
        .into();
    assert_eq!(report.input.notes, [Note::MetadataLeft { names }]);
    let flac = fs::read(&output).unwrap();
    let comments = blocks(&flac)
        .into_iter()
        .find(|(kind, _)| *kind == 4)
        .unwrap()
        .1;
    let comments = String::from_utf8_lossy(&comments).into_owned();
    for expected in [
        "TITLE=Title",
        "ARTIST=Ann",
        "DESCRIPTION=Interview",
        "ORIGINATION_DATE=2026-01-31",
        "TIME_REFERENCE=1966080000",
        "LOUDNESS_VALUE=-23.00",
        "CODING_HISTORY=A=PCM",
    ] {
        assert!(comments.contains(expected), "{expected}: {comments}");
    }
}

/// A file with a title, a picture and chapters, made by ffmpeg.
fn tagged(folder: &Folder, name: &str, extra: &[&str]) -> Option<std::path::PathBuf> {
    let file = folder.join(name);
    let chapters = ";FFMETADATA1\ntitle=The title\nartist=Ann\nmood=calm\n\
        [CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=one\n\
        [CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1000\ntitle=two\n";
    let chapters = folder.put("chapters.txt", chapters.as_bytes());
    let tone = "sine=frequency=440:sample_rate=48000:duration=1";
    let picture = "color=size=16x16:rate=1:duration=1";
    let mut args = vec!["-f", "lavfi", "-i", tone, "-f", "lavfi", "-i", picture];
    args.extend([
        "-i",
        chapters.to_str().unwrap(),
        "-map_metadata",
        "2",
        "-map",
        "0:a",
    ]);
    args.extend(extra);
    args.push(file.to_str().unwrap());
    ffmpeg(&args).then_some(file)
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

#[test]
fn tags_pictures_and_chapters_of_other_formats_are_kept() {
    let folder = Folder::new("othertags");
    let cover = [
        "-map",
        "1:v",
        "-c:v",
        "mjpeg",
        "-frames:v",
        "1",
        "-disposition:v",
        "attached_pic",
    ];
    for (name, extra, has_cover) in [
        (
            "a.mp3",
            [&cover[..], &["-id3v2_version", "4"]].concat(),
            true,
        ),
        ("a.flac", cover.to_vec(), true),
        ("a.m4a", cover.to_vec(), true),
        ("a.ogg", vec![], false),
        ("a.mka", vec![], false),
    ] {
        let Some(file) = tagged(&folder, name, &extra) else {
            return;
        };
        let wav = folder.join(&format!("{name}.wav"));
        let report = run(&file, &wav, &options(0.0)).unwrap();
        assert!(
            report.input.notes.is_empty(),
            "{name}: {:?}",
            report.input.notes
        );
        let bytes = fs::read(&wav).unwrap();
        let list = chunk(&bytes, b"LIST");
        assert!(list.windows(9).any(|w| w == b"The title"), "{name}");
        assert!(list.windows(3).any(|w| w == b"Ann"), "{name}");
        let id3 = chunk(&bytes, b"id3 ");
        if name == "a.mp3" {
            let mp3 = fs::read(&file).unwrap();
            assert_eq!(id3[..], mp3[..id3.len()]);
        }
        // ffmpeg writes no unusual tags to an MP4.
        let mood = text(&wav).to_lowercase().contains("mood");
        assert_eq!(mood, name != "a.m4a", "{name}");
        assert_eq!(
            text(&wav).contains("JFIF") || text(&wav).contains("image/jpeg"),
            has_cover,
            "{name}"
        );

        let flac = folder.join(&format!("{name}.out.flac"));
        run(&file, &flac, &options(0.0)).unwrap();
        let decoded = folder.join(&format!("{name}.decoded.wav"));
        ffmpeg(&["-i", flac.to_str().unwrap(), decoded.to_str().unwrap()]);
        let text = text(&flac);
        assert!(text.contains("=The title"), "{name}");
        assert_eq!(text.contains("image/jpeg"), has_cover, "{name}");
        assert!(samples(&flac).len() == samples(&wav).len(), "{name}");
    }
}

#[test]
fn chapters_become_cue_points_and_comments() {
    let folder = Folder::new("chapters");
    for name in ["a.m4a", "a.mka", "a.mp3"] {
        let Some(file) = tagged(&folder, name, &[]) else {
            return;
        };
        let wav = folder.join(&format!("{name}.wav"));
        run(&file, &wav, &options(0.0)).unwrap();
        let bytes = fs::read(&wav).unwrap();
        let cue = chunk(&bytes, b"cue ");
        assert_eq!(cue[..4], 2u32.to_le_bytes(), "{name}");
        assert_eq!(cue[28 + 20..28 + 24], 24_000u32.to_le_bytes(), "{name}");
        assert!(text(&wav).contains("two\0"), "{name}");
        let flac = folder.join(&format!("{name}.flac"));
        run(&file, &flac, &options(0.0)).unwrap();
        let text = text(&flac);
        assert!(text.contains("CHAPTER001=00:00:00.500"), "{name}");
        assert!(text.contains("CHAPTER001NAME=two"), "{name}");
    }
}
