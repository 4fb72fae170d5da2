//! Every format and depth is preserved.

use std::fs;

use quietwire_file::{Input, Reader, SampleFormat};

use crate::{options, run, sample, samples, unchanged};
use quietwire_testing::files::{Folder, Wav, chunk, data16, ffmpeg, riff, signal};

#[test]
fn every_depth_comes_back_exactly_at_attenuation_0() {
    let folder = Folder::new("depths");
    let ints = |scale: f32, bytes: usize| -> Vec<u8> {
        let ints = signal(5000).into_iter().map(|s| (s * scale) as i32);
        ints.flat_map(|v| v.to_le_bytes()[..bytes].to_vec())
            .collect()
    };
    let u8s = signal(5000)
        .iter()
        .map(|s| (s * 127.0 + 128.0) as u8)
        .collect();
    // The 24 most significant bits of a 32-bit integer survive.
    let s32 = ints(8_388_607.0, 4)
        .chunks(4)
        .flat_map(|b| [0, b[0], b[1], b[2]])
        .collect();
    let f32s = signal(5000)
        .iter()
        .flat_map(|s| (1.5 * s).to_le_bytes())
        .collect();
    let f64s = signal(5000)
        .iter()
        .flat_map(|s| f64::from(*s).to_le_bytes())
        .collect();
    for wav in [
        Wav::int(8, 1, u8s),
        Wav::int(16, 1, ints(32767.0, 2)),
        Wav::int(24, 2, ints(8_388_607.0, 3)),
        Wav::int(32, 1, s32),
        Wav::float(32, 2, f32s),
        Wav::float(64, 1, f64s),
    ] {
        let out = unchanged(&folder, &wav.bytes());
        assert_eq!(
            chunk(&out, b"fmt ")[..16],
            wav.format_chunk(),
            "{} bit",
            wav.bits
        );
        assert!(
            chunk(&out, b"data") == wav.data,
            "{}-bit samples changed",
            wav.bits
        );
    }
}

#[test]
fn every_rate_comes_back_exactly_at_attenuation_0() {
    let folder = Folder::new("rates");
    for rate_hz in [8000, 11025, 16000, 44100, 96000, 192_000] {
        let wav = Wav {
            rate_hz,
            ..Wav::int(16, 1, data16(rate_hz as usize / 5 + 17))
        };
        let out = unchanged(&folder, &wav.bytes());
        assert!(chunk(&out, b"data") == wav.data, "{rate_hz} Hz changed");
    }
}

#[test]
fn a_plain_wav_comes_back_byte_for_byte() {
    let folder = Folder::new("plain");
    let wav = Wav::int(16, 1, data16(4801)).bytes();
    assert!(unchanged(&folder, &wav) == wav);
    let odd = Wav::int(8, 1, vec![100; 333]).bytes();
    assert!(
        unchanged(&folder, &odd) == odd,
        "the padding of an odd length"
    );
}

#[test]
fn lengths_are_kept_from_one_sample_up() {
    let folder = Folder::new("lengths");
    for frames in [1, 2, 479, 480, 481, 959, 960, 961, 4799, 48_001] {
        let wav = Wav::int(16, 2, data16(2 * frames));
        assert!(
            chunk(&unchanged(&folder, &wav.bytes()), b"data") == wav.data,
            "{frames} frames"
        );
        let (input, output) = (folder.join("in.wav"), folder.join("cleaned.wav"));
        let mut options = options(40.0);
        options.overwrite = true;
        let cleaned = run(&input, &output, &options).unwrap();
        assert_eq!(cleaned.input.info.frames, Some(frames as u64));
        assert_eq!(chunk(&fs::read(output).unwrap(), b"data").len(), 4 * frames);
    }
}

#[test]
fn extensible_headers_keep_their_speaker_mask() {
    let folder = Folder::new("extensible");
    let plain = Wav::int(24, 2, signal(2000).iter().flat_map(|_| [1, 2, 3]).collect());
    let mut format = plain.format_chunk();
    format[..2].copy_from_slice(&0xFFFEu16.to_le_bytes());
    format.extend(22u16.to_le_bytes());
    format.extend(24u16.to_le_bytes());
    format.extend(3u32.to_le_bytes());
    format.extend(1u16.to_le_bytes());
    format.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71]);
    let wav = riff(&[(b"fmt ", format.clone()), (b"data", plain.data.clone())]);
    let out = unchanged(&folder, &wav);
    assert_eq!(chunk(&out, b"fmt "), format);
    assert!(chunk(&out, b"data") == plain.data);
}

#[test]
fn other_chunks_and_odd_padding_are_skipped() {
    let folder = Folder::new("chunks");
    let wav = Wav::int(16, 1, data16(999));
    let bytes = riff(&[
        (b"bext", vec![7; 603]),
        (b"fmt ", wav.format_chunk()),
        (b"LIST", vec![1; 5]),
        (b"data", wav.data.clone()),
        (b"id3 ", vec![9; 77]),
    ]);
    assert!(chunk(&unchanged(&folder, &bytes), b"data") == wav.data);
}

#[test]
fn headers_that_a_pipe_left_unfinished_are_read_to_the_end() {
    let folder = Folder::new("pipes");
    let wav = Wav::int(16, 1, data16(3000));
    for (riff_size, data_size) in [
        (u32::MAX, u32::MAX),
        (0, 0),
        (0x7FFF_F024, 0x7FFF_F000),
        (0x8000_0024, 0x8000_0000),
    ] {
        let mut bytes = wav.bytes();
        bytes[4..8].copy_from_slice(&riff_size.to_le_bytes());
        bytes[40..44].copy_from_slice(&data_size.to_le_bytes());
        let out = unchanged(&folder, &bytes);
        assert!(chunk(&out, b"data") == wav.data, "{data_size:#x}");
    }
}

#[test]
fn rf64_is_read_with_lengths_beyond_4_gib() {
    let folder = Folder::new("rf64");
    let wav = Wav::int(16, 2, data16(2000));
    let header = |data_bytes: u64| {
        let mut ds64 = (data_bytes + 72).to_le_bytes().to_vec();
        ds64.extend(data_bytes.to_le_bytes());
        ds64.extend((data_bytes / 4).to_le_bytes());
        ds64.extend([0; 4]);
        let mut bytes = riff(&[
            (b"ds64", ds64),
            (b"fmt ", wav.format_chunk()),
            (b"data", Vec::new()),
        ]);
        bytes[..4].copy_from_slice(b"RF64");
        let end = bytes.len();
        for at in [4, end - 4] {
            bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        }
        bytes
    };
    let mut short = header(wav.data.len() as u64);
    short.extend(&wav.data);
    assert!(chunk(&unchanged(&folder, &short), b"data") == wav.data);

    let long = folder.put("long.wav", &header(6 << 30));
    // Sparse: takes no space on the disk.
    fs::File::options()
        .write(true)
        .open(&long)
        .unwrap()
        .set_len(80 + (6 << 30))
        .unwrap();
    let mut reader = Reader::open(Input::File(long)).unwrap();
    assert_eq!(reader.info().frames, Some((6 << 30) / 4));
    assert_eq!(reader.read(480, &mut Vec::new()).unwrap(), 480);
}

#[test]
fn flac_comes_back_exactly_at_16_and_24_bit() {
    let folder = Folder::new("flac");
    for (name, format) in [
        ("office-fan.clean.flac", SampleFormat::S16),
        ("street.flac", SampleFormat::S24),
    ] {
        let output = folder.join(name);
        let cleaned = run(&sample(name), &output, &options(0.0)).unwrap();
        assert_eq!(cleaned.output.info.sample_format, format);
        assert!(samples(&sample(name)) == samples(&output), "{name} changed");
    }
    // A float WAV becomes FLAC of 24 bits.
    let floats = signal(9999).iter().flat_map(|s| s.to_le_bytes()).collect();
    let input = folder.put("float.wav", &Wav::float(32, 1, floats).bytes());
    let cleaned = run(&input, &folder.join("float.flac"), &options(0.0)).unwrap();
    assert_eq!(cleaned.output.info.sample_format, SampleFormat::S24);
    assert_eq!(cleaned.output.info.container, "FLAC");
    assert_eq!(samples(&folder.join("float.flac")).len(), 9999);
    let small = folder.put("small.wav", &Wav::int(8, 1, (0..=255).collect()).bytes());
    run(&small, &folder.join("small.flac"), &options(0.0)).unwrap();
    assert!(samples(&small) == samples(&folder.join("small.flac")));
}

#[test]
fn lossy_formats_keep_their_exact_length() {
    let folder = Folder::new("lossy");
    let original = samples(&sample("office-fan.clean.flac"));
    let input = sample("office-fan.clean.flac");
    let codecs: [(&str, &[&str]); 9] = [
        ("a.mp3", &[]),
        ("a.ogg", &[]),
        ("a.opus", &["-b:a", "96k"]),
        ("a.m4a", &[]),
        ("opus.mp4", &["-c:a", "libopus"]),
        ("alac.m4a", &["-c:a", "alac"]),
        ("a.mka", &["-c:a", "flac"]),
        ("a.aiff", &[]),
        ("a.caf", &[]),
    ];
    for (name, extra) in codecs {
        let file = folder.join(name);
        let mut args = vec!["-i", input.to_str().unwrap()];
        args.extend(extra);
        args.push(file.to_str().unwrap());
        if !ffmpeg(&args) {
            return;
        }
        let output = folder.join(&format!("{name}.wav"));
        run(&file, &output, &options(0.0)).unwrap();
        let decoded = samples(&output);
        assert_eq!(decoded.len(), original.len(), "{name}");
        // A delay of one sample would reduce the SNR below this limit.
        let (mut power, mut error) = (0.0f64, 0.0f64);
        for (a, b) in original.iter().zip(&decoded) {
            power += f64::from(a * a);
            error += f64::from((a - b) * (a - b));
        }
        let snr = 10.0 * (power / error.max(1e-12)).log10();
        assert!(snr > 12.0, "{name}: {snr:.1} dB");
    }
}

#[test]
fn samples_that_are_not_finite_are_cleaned_as_zero_and_counted() {
    let folder = Folder::new("nan");
    let mut samples = signal(96_000);
    for (at, bad) in [
        (0, f32::NAN),
        (60_001, f32::INFINITY),
        (95_999, f32::NEG_INFINITY),
    ] {
        samples[at] = bad;
    }
    let bytes = |samples: &[f32]| samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let input = Wav::float(32, 2, bytes(&samples)).bytes();
    for sample in samples.iter_mut().filter(|sample| !sample.is_finite()) {
        *sample = 0.0;
    }
    let expected = Wav::float(32, 2, bytes(&samples));
    let output = unchanged(&folder, &input);
    assert!(chunk(&output, b"data") == expected.data);

    let input = folder.put("nan.wav", &input);
    let report = run(&input, &folder.join("nan.clean.wav"), &options(40.0)).unwrap();
    let counts = (
        report.input.non_finite_samples,
        report.output.non_finite_samples,
    );
    assert_eq!(counts, (3, 0));
    assert!(report.output.levels.rms_dbfs.is_finite());
    let measured = quietwire_file::measure(quietwire_file::Input::File(input)).unwrap();
    assert_eq!(measured.non_finite_samples, 3);
}
