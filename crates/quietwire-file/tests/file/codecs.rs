//! Codecs and containers, compared with ffmpeg.

use std::fs;
use std::path::{Path, PathBuf};

use quietwire_file::{FileError, Input, Note, Reader, SampleFormat};
use quietwire_testing::files::{Folder, ffmpeg};

use crate::{options, read, run, samples};

/// Encodes different tones in every channel with ffmpeg. `None` where it is not installed.
fn encoded(folder: &Folder, name: &str, channels: usize, extra: &[&str]) -> Option<PathBuf> {
    let file = folder.join(name);
    let tones = (0..channels)
        .map(|channel| {
            format!(
                "0.3*sin(2*PI*{}*t)*(1+0.5*sin(2*PI*{}*t))",
                200 + 130 * channel,
                channel + 1
            )
        })
        .collect::<Vec<_>>()
        .join("|");
    let layouts = ["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"];
    let source = format!("aevalsrc={tones}:s=48000:d=2:c={}", layouts[channels - 1]);
    let mut args = vec!["-f", "lavfi", "-i", &source];
    args.extend(extra);
    args.push(file.to_str().unwrap());
    ffmpeg(&args).then_some(file)
}

/// What ffmpeg decodes.
fn reference(folder: &Folder, file: &Path) -> Vec<f32> {
    let wav = folder.join("reference.wav");
    let (from, to) = (file.to_str().unwrap(), wav.to_str().unwrap());
    assert!(ffmpeg(&["-i", from, "-c:a", "pcm_f32le", to]));
    samples(&wav)
}

/// Signal-to-error ratio, dB.
fn snr_db(expected: &[f32], found: &[f32]) -> f64 {
    let power = |samples: &mut dyn Iterator<Item = f32>| {
        samples.map(|s| f64::from(s) * f64::from(s)).sum::<f64>()
    };
    let signal = power(&mut expected.iter().copied());
    let error = power(&mut expected.iter().zip(found).map(|(a, b)| a - b));
    10.0 * (signal / error.max(1e-20)).log10()
}

fn mask(file: &Path) -> Option<u32> {
    Reader::open(Input::File(file.into()))
        .unwrap()
        .info()
        .channel_mask
}

#[test]
fn vorbis_of_1_to_8_channels_equals_libvorbis() {
    let folder = Folder::new("vorbis");
    let masks = [0, 0, 0x7, 0x33, 0x37, 0x3F, 0x70F, 0x63F];
    for channels in 1..=8 {
        for quality in ["-1", "2", "5", "9"] {
            let args = ["-c:a", "libvorbis", "-q:a", quality];
            let Some(file) = encoded(&folder, "a.ogg", channels, &args) else {
                return;
            };
            let expected = reference(&folder, &file);
            let found = samples(&file);
            assert_eq!(found.len(), expected.len(), "{channels} channels");
            let snr = snr_db(&expected, &found);
            assert!(
                snr > 80.0,
                "{channels} channels, quality {quality}: {snr:.1} dB"
            );
            let expected = Some(masks[channels - 1]).filter(|_| channels > 2);
            assert_eq!(mask(&file), expected, "{channels} channels");
        }
    }
    // A channel without sound among coupled ones.
    let silent = folder.join("silent.ogg");
    let source = "aevalsrc=0|0.3*sin(2000*t)|0|0|0.2*sin(900*t)|0:s=48000:d=2:c=5.1";
    let args = [
        "-f",
        "lavfi",
        "-i",
        source,
        "-c:a",
        "libvorbis",
        "-q:a",
        "1",
    ];
    assert!(ffmpeg(&[&args[..], &[silent.to_str().unwrap()]].concat()));
    assert!(snr_db(&reference(&folder, &silent), &samples(&silent)) > 80.0);
}

#[test]
fn opus_of_1_to_8_channels_equals_libopus() {
    let folder = Folder::new("opus");
    for channels in [1, 2, 3, 4, 5, 6, 7, 8] {
        let family = if channels > 2 { "1" } else { "-1" };
        let args = ["-c:a", "libopus", "-mapping_family", family];
        for name in ["a.opus", "a.mka"] {
            let Some(file) = encoded(&folder, name, channels, &args) else {
                return;
            };
            let expected = reference(&folder, &file);
            let found = samples(&file);
            assert_eq!(found.len(), expected.len(), "{channels} channels, {name}");
            let snr = snr_db(&expected, &found);
            assert!(snr > 50.0, "{channels} channels, {name}: {snr:.1} dB");
        }
    }
}

#[test]
fn lossless_and_compressed_recordings_equal_ffmpeg() {
    let folder = Folder::new("codecs");
    for (name, channels, extra, format) in [
        ("alac.caf", 2, &["-c:a", "alac"][..], SampleFormat::S24),
        (
            "alac16.caf",
            1,
            &["-c:a", "alac", "-sample_fmt", "s16p"],
            SampleFormat::S16,
        ),
        ("alac.m4a", 6, &["-c:a", "alac"], SampleFormat::S24),
        ("pcm.w64", 2, &["-c:a", "pcm_s24le"], SampleFormat::S24),
        ("float.w64", 1, &["-c:a", "pcm_f32le"], SampleFormat::F32),
        ("ms.wav", 2, &["-c:a", "adpcm_ms"], SampleFormat::S16),
        ("ima.wav", 1, &["-c:a", "adpcm_ima_wav"], SampleFormat::S16),
        ("alaw.wav", 1, &["-c:a", "pcm_alaw"], SampleFormat::S16),
        ("mp3.wav", 2, &["-c:a", "libmp3lame"], SampleFormat::S16),
        ("a.mp2", 2, &[], SampleFormat::S16),
        ("pcm.mov", 2, &["-c:a", "pcm_s24be"], SampleFormat::S24),
        ("little.mov", 2, &["-c:a", "pcm_s24le"], SampleFormat::S24),
        ("surround.mov", 6, &["-c:a", "pcm_s16be"], SampleFormat::S16),
        ("quad.mov", 4, &["-c:a", "pcm_s24le"], SampleFormat::S24),
        ("int32.mov", 1, &["-c:a", "pcm_s32be"], SampleFormat::S32),
        ("float.aiff", 2, &["-c:a", "pcm_f32be"], SampleFormat::F32),
        ("double.aiff", 1, &["-c:a", "pcm_f64be"], SampleFormat::F64),
        ("float.caf", 2, &["-c:a", "pcm_f32le"], SampleFormat::F32),
        ("double.caf", 2, &["-c:a", "pcm_f64le"], SampleFormat::F64),
        ("float.mka", 2, &["-c:a", "pcm_f32le"], SampleFormat::F32),
        ("float.mov", 2, &["-c:a", "pcm_f32be"], SampleFormat::F32),
        ("double.mov", 2, &["-c:a", "pcm_f64le"], SampleFormat::F64),
        ("flac.mka", 6, &["-c:a", "flac"], SampleFormat::S24),
        ("flac.ogg", 2, &["-c:a", "flac"], SampleFormat::S24),
    ] {
        let Some(file) = encoded(&folder, name, channels, extra) else {
            return;
        };
        let expected = reference(&folder, &file);
        let (found, notes) = read(Reader::open(Input::File(file.clone())).unwrap());
        assert!(notes.is_empty(), "{name}: {notes:?}");
        // The decoder of ffmpeg does not know the delay of an MP3 in a WAV or of an MP2.
        assert_eq!(found.len(), expected.len(), "{name}");
        let snr = snr_db(&expected, &found);
        assert!(snr > 80.0, "{name}: {snr:.1} dB");
        let report = run(
            &file,
            &folder.join(&format!("{name}.out.wav")),
            &options(0.0),
        )
        .unwrap();
        assert_eq!(report.output.info.sample_format, format, "{name}");
        assert!(report.is_complete());
    }
}

#[test]
fn float_samples_above_full_scale_survive() {
    let folder = Folder::new("hot");
    let source = "aevalsrc=3*sin(900*t):s=48000:d=1";
    for (name, codec) in [
        ("a.aiff", "pcm_f32be"),
        ("a.caf", "pcm_f64be"),
        ("a.mka", "pcm_f32le"),
        ("a.mov", "pcm_f64le"),
        ("a.wav", "pcm_f64le"),
        ("a.w64", "pcm_f64le"),
    ] {
        let file = folder.join(name);
        let path = file.to_str().unwrap();
        if !ffmpeg(&["-f", "lavfi", "-i", source, "-c:a", codec, path]) {
            return;
        }
        let output = folder.join(&format!("{name}.out.wav"));
        run(&file, &output, &options(0.0)).unwrap();
        let cleaned = samples(&output);
        assert!(cleaned == samples(&file), "{name}");
        assert!(cleaned.iter().any(|s| *s > 2.9), "{name}");
    }
}

#[test]
fn streams_one_after_another_are_one_recording() {
    let folder = Folder::new("chained");
    for (name, channels, extra) in [
        ("a.ogg", 1, &[][..]),
        ("a.opus", 2, &["-b:a", "96k"]),
        ("b.ogg", 6, &[]),
        ("flac.oga", 2, &["-c:a", "flac"]),
    ] {
        let Some(file) = encoded(&folder, name, channels, extra) else {
            return;
        };
        let one = samples(&file);
        let bytes = fs::read(&file).unwrap();
        let chained = folder.put(
            &format!("chained-{name}"),
            &[&bytes[..], &bytes, &bytes].concat(),
        );
        for input in [
            Input::File(chained.clone()),
            Input::Stream(Box::new(fs::File::open(&chained).unwrap())),
        ] {
            let (found, notes) = read(Reader::open(input).unwrap());
            assert!(notes.is_empty(), "{name}: {notes:?}");
            assert!(
                found == [&one[..], &one, &one].concat(),
                "{name}: {}",
                found.len()
            );
        }
    }
    // A stream with other channels ends the recording, and a note says so.
    let (Some(mono), Some(stereo)) = (
        encoded(&folder, "mono.ogg", 1, &[]),
        encoded(&folder, "stereo.ogg", 2, &[]),
    ) else {
        return;
    };
    let bytes = [fs::read(&mono).unwrap(), fs::read(stereo).unwrap()].concat();
    let report = run(
        &folder.put("both.ogg", &bytes),
        &folder.join("both.wav"),
        &options(0.0),
    )
    .unwrap();
    assert!(!report.is_complete());
    assert!(matches!(report.input.notes[..], [Note::Stopped { .. }]));
    assert_eq!(
        samples(&folder.join("both.wav")).len(),
        samples(&mono).len()
    );
}

#[test]
fn formats_that_cannot_be_decoded_are_named() {
    let folder = Folder::new("named");
    let refused = |file: &Path, name: &str| {
        let error = run(file, &folder.join("none.wav"), &options(0.0)).unwrap_err();
        assert!(matches!(error, FileError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    };
    for (head, name) in [
        (&b"#!AMR\n\x3C\x91"[..], "AMR-NB"),
        (b"#!AMR-WB\n\x04\x91", "AMR-WB"),
        (b"MAC \x96\x0F\0\0", "Monkey's Audio"),
        (b"wvpk\x10\0\0\0", "WavPack"),
        (
            b"\x30\x26\xB2\x75\x8E\x66\xCF\x11\xA6\xD9\0\xAA",
            "Windows Media Audio",
        ),
        (b".snd\0\0\0\x18", "Sun AU"),
    ] {
        refused(&folder.put("in.bin", &[head, &[0x55; 500]].concat()), name);
    }
    for (name, channels, extra, expected) in [
        (
            "gsm.wav",
            1,
            &["-ar", "8000", "-c:a", "libgsm_ms"][..],
            "GSM 6.10",
        ),
        ("wma.wma", 2, &[], "Windows Media Audio"),
        ("a.m4a", 6, &["-c:a", "aac"], "AAC with 6 channels"),
        ("a.ts", 2, &[], "MPEG transport stream"),
        ("ac3.mka", 2, &["-c:a", "ac3"], "AC-3"),
        (
            "speex.ogg",
            1,
            &["-c:a", "libspeex", "-ar", "16000"],
            "Speex",
        ),
    ] {
        let Some(file) = encoded(&folder, name, channels, extra) else {
            return;
        };
        refused(&file, expected);
        // ffmpeg decodes it where that is wanted.
        let mut options = options(0.0);
        options.read.via_ffmpeg = true;
        let output = folder.join(&format!("{name}.out.wav"));
        let report = run(&file, &output, &options).unwrap();
        let program = "ffmpeg".to_string();
        assert_eq!(report.input.notes, [Note::DecodedBy { program }], "{name}");
        let expected = reference(&folder, &file);
        let found = samples(&output);
        assert_eq!(found.len(), expected.len(), "{name}");
        assert!(snr_db(&expected, &found) > 50.0, "{name}");
    }
    // From a pipe, too.
    if let Some(file) = encoded(&folder, "piped.wma", 1, &[]) {
        let mut options = quietwire_file::ReadOptions::default();
        options.via_ffmpeg = true;
        let source = Box::new(fs::File::open(&file).unwrap());
        let (found, notes) = read(Reader::open_with(Input::Stream(source), &options).unwrap());
        assert_eq!(found.len(), reference(&folder, &file).len());
        assert!(matches!(notes[..], [Note::DecodedBy { .. }]), "{notes:?}");
    }
    let missing = Input::File(folder.put("text.txt", b"Dear diary"));
    let mut via_ffmpeg = quietwire_file::ReadOptions::default();
    via_ffmpeg.via_ffmpeg = true;
    let Err(error) = Reader::open_with(missing, &via_ffmpeg) else {
        panic!("a text was read")
    };
    assert!(
        matches!(error, FileError::Read { .. } | FileError::Empty { .. }),
        "{error}"
    );
    let Some(complete) = encoded(&folder, "full.m4a", 1, &[]) else {
        return;
    };
    let bytes = fs::read(complete).unwrap();
    let cut = folder.put("cut.m4a", &bytes[..bytes.len() / 2]);
    let error = run(&cut, &folder.join("none.wav"), &options(0.0)).unwrap_err();
    assert!(error.to_string().contains("moov"), "{error}");
}

#[test]
fn aac_that_may_have_an_upper_half_of_its_band_is_noted() {
    let folder = Folder::new("heaac");
    for (name, rate, is_noted) in [
        ("low.aac", "22050", true),
        ("high.aac", "44100", false),
        ("low.m4a", "22050", false),
    ] {
        let Some(file) = encoded(&folder, name, 2, &["-ar", rate]) else {
            return;
        };
        let (_, notes) = read(Reader::open(Input::File(file.clone())).unwrap());
        let expected = Note::MaybeHeAac { rate_hz: 22_050 };
        assert_eq!(notes.contains(&expected), is_noted, "{name}: {notes:?}");
        let mut options = quietwire_file::ReadOptions::default();
        options.via_ffmpeg = true;
        let (_, notes) = read(Reader::open_with(Input::File(file), &options).unwrap());
        let is_decoded = matches!(notes[..], [Note::DecodedBy { .. }]);
        assert_eq!(is_decoded, is_noted, "{name}: {notes:?}");
    }
}

#[test]
fn pcm_in_caf_and_quicktime_keeps_its_speaker_mask() {
    let folder = Folder::new("layouts");
    for (layout, caf, mov) in [
        ("2.1", 0xB, 0xB),
        ("quad", 0x603, 0x33),
        ("5.0(side)", 0x607, 0x607),
        ("5.1", 0x60F, 0x3F),
        ("5.1(side)", 0x60F, 0x60F),
        ("6.1", 0x70F, 0x70F),
        ("7.1", 0x63F, 0x63F),
        ("7.1(wide)", 0xFF, 0xFF),
    ] {
        for (name, expected) in [("a.caf", caf), ("a.mov", mov)] {
            let file = folder.join(name);
            let layout_of = format!("aformat=channel_layouts={layout}");
            let source = ["-f", "lavfi", "-i", "anoisesrc=d=0.2:a=0.1"];
            let output = ["-filter_complex", &layout_of, "-c:a", "pcm_s16le"];
            let name = [file.to_str().unwrap()];
            if !ffmpeg(&[&source[..], &output, &name].concat()) {
                return;
            }
            assert_eq!(mask(&file), Some(expected), "{layout} in {name:?}");
        }
    }
}
