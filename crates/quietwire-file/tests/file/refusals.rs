//! Each kind of bad input has its own error and leaves no output.

use std::fs;
use std::path::PathBuf;

use quietwire_file::{FileError, Input, OutputFormat, Reader};

use crate::{options, refused, run, sample};
use quietwire_testing::files::{Folder, Wav, data16, ffmpeg, riff, signal};

#[test]
fn files_without_audio_are_refused() {
    let error = refused("empty", "a.wav", b"");
    assert!(matches!(error, FileError::Empty { .. }), "{error}");
    let error = refused("headeronly", "a.wav", &Wav::int(16, 1, Vec::new()).bytes());
    assert!(matches!(error, FileError::Empty { .. }), "{error}");
    for name in ["a.wav", "a.flac", "a.mp3", "a.opus"] {
        let error = refused(
            "text",
            name,
            "Dear diary, today I recorded nothing.\n".as_bytes(),
        );
        assert!(matches!(error, FileError::NotAudio { .. }), "{error}");
        assert!(error.to_string().contains("text (`Dear diary"), "{error}");
    }
    let noise: Vec<u8> = signal(5000)
        .iter()
        .flat_map(|s| s.to_bits().to_le_bytes())
        .collect();
    let error = refused("noise", "a.ogg", &noise);
    assert!(matches!(error, FileError::NotAudio { .. }), "{error}");
}

#[test]
fn broken_wav_headers_are_refused() {
    let wav = Wav::int(16, 2, data16(400));
    let at = |offset: usize, bytes: &[u8]| {
        let mut file = wav.bytes();
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        file
    };
    let broken: [(&str, Vec<u8>); 7] = [
        ("no channels", at(22, &[0, 0])),
        ("no rate", at(24, &[0; 4])),
        ("frame of 3 bytes for 2 channels", at(32, &[3, 0])),
        ("more bits than bytes", at(34, &[24, 0])),
        ("no bits", at(34, &[0, 0])),
        ("ends in the header", wav.bytes()[..30].to_vec()),
        ("no format", riff(&[(b"data", data16(10))])),
    ];
    for (what, bytes) in broken {
        let error = refused("header", "a.wav", &bytes);
        assert!(matches!(error, FileError::Wav { .. }), "{what}: {error}");
    }
    let error = refused("depth", "a.wav", &Wav::float(16, 1, data16(10)).bytes());
    assert!(error.to_string().contains("16-bit float WAV"), "{error}");
    let slow = Wav {
        rate_hz: 4000,
        ..Wav::int(16, 1, data16(100))
    };
    let error = refused("slow", "a.wav", &slow.bytes());
    assert!(
        matches!(error, FileError::Rate { found_hz: 4000, .. }),
        "{error}"
    );
    let error = refused("wide", "a.wav", &Wav::int(16, 200, data16(2000)).bytes());
    assert!(
        matches!(error, FileError::Channels { found: 200, .. }),
        "{error}"
    );
}

#[test]
fn a_damaged_flac_is_refused() {
    let mut flac = fs::read(sample("street.flac")).unwrap();
    let middle = flac.len() / 2;
    flac[middle..middle + 40].fill(0x55);
    let error = refused("damaged", "a.flac", &flac);
    assert!(matches!(error, FileError::Corrupt { .. }), "{error}");
}

#[test]
fn files_beyond_the_limits_of_flac_are_refused() {
    let folder = Folder::new("noflac");
    let input = folder.put("in.wav", &Wav::int(16, 9, data16(900)).bytes());
    let error = run(&input, &folder.join("o.flac"), &options(0.0)).unwrap_err();
    assert!(
        matches!(error, FileError::UnsupportedByFlac { channels: 9, .. }),
        "{error}"
    );
    let mut options = options(0.0);
    options.format = OutputFormat::Wav;
    run(&input, &folder.join("o.wav"), &options).unwrap();
    assert_eq!(folder.list(), ["in.wav", "o.wav"]);
}

#[test]
fn damaged_files_of_every_format_never_panic() {
    let folder = Folder::new("fuzz");
    let mut seeds = vec![sample("street.flac"), sample("telephone.wav")];
    for name in ["a.mp3", "a.ogg", "a.opus", "a.m4a", "a.webm"] {
        let file = folder.join(name);
        let input = sample("telephone.wav");
        if !ffmpeg(&[
            "-i",
            input.to_str().unwrap(),
            "-t",
            "1",
            file.to_str().unwrap(),
        ]) {
            break;
        }
        seeds.push(file);
    }
    let mut random = 1u64;
    for seed in &seeds {
        let complete = fs::read(seed).unwrap();
        let complete = &complete[..complete.len().min(60_000)];
        for round in 0..40 {
            let mut bytes = complete.to_vec();
            for _ in 0..1 + round % 12 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                // Every second file is damaged in its header.
                let span = if round % 2 == 0 {
                    bytes.len()
                } else {
                    bytes.len().min(300)
                };
                let at = (random >> 33) as usize % span;
                bytes[at] = (random >> 24) as u8;
            }
            let name = PathBuf::from("bad").with_extension(seed.extension().unwrap());
            let path = folder.put(name.to_str().unwrap(), &bytes);
            let Ok(mut reader) = Reader::open(Input::File(path)) else {
                continue;
            };
            let mut block = Vec::new();
            for _ in 0..2000 {
                if reader.read(480, &mut block).unwrap_or(0) == 0 {
                    break;
                }
            }
        }
    }
}
