//! Wrong usage, and the commands other than `clean`.

use quietwire_testing::files::Folder;

#[cfg(feature = "clean")]
use crate::audio::{sample, wav};
#[cfg(any(feature = "clean", not(feature = "relay")))]
use crate::stderr;
use crate::{quietwire, stdout, succeeded};

#[cfg(feature = "clean")]
#[test]
fn wrong_usage_and_failure_have_different_exit_codes() {
    let folder = Folder::new("usage");
    folder.put("a.wav", &wav(100));
    folder.put("b.wav", &wav(100));
    folder.put("sub/a.mp3", b"x");
    let cases: [&[&str]; 19] = [
        &["clean"],
        &["clean", "a.wav", "--attenuation", "-3"],
        &["clean", "a.wav", "--attenuation", "loud"],
        &["clean", "a.wav", "--level", "loud"],
        &["clean", "a.wav", "--level", "low", "--attenuation", "12"],
        &["clean", "a.wav", "--force", "--resume"],
        &["clean", "a.wav", "b.wav", "-o", "-"],
        &["clean", "a.wav", "-"],
        &["clean", "a.wav", "--raw", "s16le", "--rate", "8000"],
        &["clean", "-", "--raw", "s16le"],
        &["clean", "a.wav", "-o", "-", "--format", "flac"],
        &["clean", "a.wav", "-o", "-", "--report", "json"],
        &["clean", "a.wav", "b.wav", "-o", "a.wav"],
        &["clean", "a.wav", "-o", "a.flac", "--format", "wav"],
        &["clean", "a.wav", "-o", "a.BWF", "--format", "flac"],
        &["clean", "a.wav", "--residual", "r.flac", "--format", "wav"],
        &["clean", "a.wav", "-o", "out.mp3"],
        &["clean", "sub", "-o", "sub"],
        &["frobnicate"],
    ];
    for args in cases {
        let output = quietwire(&folder, args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).starts_with("error: "),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let output = quietwire(&folder, &["clean", "a.wav", "--model", "nonesuch"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nonesuch") && stderr(&output).contains("base"));
    let output = quietwire(&folder, &["clean", "a.wav", "-o", "a.wav", "--force"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("a.wav is both an input and an output"));
    assert_eq!(folder.list(), ["a.wav", "b.wav", "sub/a.mp3"]);
}

#[cfg(feature = "clean")]
#[test]
fn info_shows_format_and_levels() {
    let folder = Folder::new("info");
    let path = sample("street.flac");
    let output = succeeded(quietwire(&folder, &["info", path.to_str().unwrap()]));
    let text = stdout(&output);
    for expected in [
        "FLAC, flac",
        "44100 Hz",
        "24-bit int",
        "4.800 s, 211680 frames",
        "dBFS",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    folder.put("bad.wav", b"");
    let output = quietwire(&folder, &["info", "bad.wav", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("44100 Hz") && stderr(&output).contains("bad.wav"));
}

#[test]
fn models_and_bench_print_their_lines() {
    let folder = Folder::new("models");
    let text = stdout(&succeeded(quietwire(&folder, &["models", "list"])));
    assert!(
        text.starts_with("base ") && text.contains("default") && text.contains("\ntiny "),
        "{text}"
    );
    let text = stdout(&succeeded(quietwire(&folder, &["models", "show", "base"])));
    for expected in ["license", "latency", "ms at 48000 Hz", "us for each hop"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let text = stdout(&succeeded(quietwire(&folder, &["bench", "--seconds", "1"])));
    for expected in [
        "median",
        "99 % within",
        "worst",
        "real-time factor",
        "streams per core",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let output = quietwire(&folder, &["models", "show", "nonesuch"]);
    assert_eq!(output.status.code(), Some(1));
}

#[cfg(feature = "clean")]
#[test]
fn help_and_completions_cover_every_command() {
    let folder = Folder::new("help");
    let text = stdout(&succeeded(quietwire(&folder, &["--help"])));
    for expected in [
        "clean",
        "models",
        "bench",
        "info",
        "completions",
        "Examples:",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let text = stdout(&succeeded(quietwire(&folder, &["clean", "--help"])));
    assert!(
        text.contains("Examples:") && text.contains("--resume"),
        "{text}"
    );
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = stdout(&succeeded(quietwire(&folder, &["completions", shell])));
        assert!(
            text.contains("quietwire") && text.contains("residual"),
            "{shell}"
        );
    }
}

#[cfg(feature = "clean")]
#[test]
fn levels_are_attenuation_limits() {
    let folder = Folder::new("levels");
    std::fs::copy(sample("telephone.wav"), folder.join("a.wav")).unwrap();
    let clean = |extra: &[&str]| {
        let args = ["clean", "a.wav", "-o", "out.wav", "--force"];
        succeeded(quietwire(&folder, &[&args[..], extra].concat()));
        std::fs::read(folder.join("out.wav")).unwrap()
    };
    let default = clean(&[]);
    let mut different = Vec::new();
    for (level, db) in [("low", "12"), ("medium", "20"), ("high", "40")] {
        let output = clean(&["--level", level]);
        assert!(output == clean(&["--attenuation", db]), "{level}");
        different.push(output);
    }
    assert!(default == different[2]);
    assert!(different[0] != different[1] && different[1] != different[2]);
}

#[cfg(feature = "clean")]
#[test]
fn snr_gating_needs_a_model_with_a_gate() {
    let folder = Folder::new("gating");
    folder.put("a.wav", &wav(1000));
    for flag in ["--snr-gating", "--gate"] {
        let output = quietwire(&folder, &["clean", "a.wav", flag]);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.contains("a.wav: model `base`"), "{text}");
        assert!(text.contains("leave out --snr-gating"), "{text}");
    }
    let help = stdout(&succeeded(quietwire(&folder, &["clean", "--help"])));
    assert!(help.contains("--snr-gating") && !help.contains("--gate"));
}

#[cfg(not(feature = "relay"))]
#[test]
fn a_build_without_the_relay_names_the_one_that_has_it() {
    let folder = Folder::new("no-relay");
    for args in [
        &["relay"][..],
        &["relay", "--http", "127.0.0.1:1", "--help"],
    ] {
        let output = quietwire(&folder, args);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("--features relay"),
            "{}",
            stderr(&output)
        );
    }
}

#[cfg(feature = "clean")]
#[test]
fn numbers_that_are_negative_or_zero_are_named_with_their_range() {
    let folder = Folder::new("numbers");
    folder.put("a.wav", &wav(100));
    let raw = ["clean", "-", "--raw", "s16le", "--rate"];
    let cases: [(&[&str], &str); 9] = [
        (&["clean", "a.wav", "--attenuation", "-3"], "0 or more"),
        (&["clean", "a.wav", "--attenuation", "-inf"], "0 or more"),
        (&["clean", "a.wav", "--attenuation", "nan"], "0 or more"),
        (&["clean", "a.wav", "--jobs", "-2"], "1 or more"),
        (&["clean", "a.wav", "--jobs", "0"], "1 or more"),
        (&["bench", "--seconds", "-3"], "-3 is not in 1..=3600"),
        (
            &[raw[0], raw[1], raw[2], raw[3], raw[4], "-8000"],
            "-8000 is not in 1..",
        ),
        (
            &[
                raw[0],
                raw[1],
                raw[2],
                raw[3],
                raw[4],
                "8000",
                "--raw-channels",
                "-1",
            ],
            "-1 is not in 1..",
        ),
        (
            &[
                raw[0],
                raw[1],
                raw[2],
                raw[3],
                raw[4],
                "8000",
                "--raw-channels",
                "0",
            ],
            "0 is not in 1..",
        ),
    ];
    for (args, expected) in cases {
        let output = quietwire(&folder, args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains("invalid value"), "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}

#[cfg(feature = "clean")]
#[test]
fn names_that_look_like_options_are_pointed_out() {
    let folder = Folder::new("dashes");
    folder.put("-talk.wav", &wav(100));
    folder.put("-notes", &wav(100));
    folder.put("-a\x1b[31m.wav", &wav(100));
    let cases: [(&[&str], &str); 5] = [
        (&["clean", "-talk.wav"], "'./-talk.wav'"),
        (&["info", "-notes"], "'./-notes'"),
        (&["clean", "./-talk.wav", "-o", "-out.wav"], "'./-out.wav'"),
        (
            &["clean", "./-talk.wav", "--residual", "-r.wav"],
            "'./-r.wav'",
        ),
        (&["clean", "-a\x1b[31m.wav"], "'./-a\\u{1b}[31m.wav'"),
    ];
    for (args, expected) in cases {
        let output = quietwire(&folder, args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
        assert!(!text.contains('\x1b') && !text.contains("'-- "), "{text}");
    }
    succeeded(quietwire(&folder, &["clean", "--", "-talk.wav"]));
    succeeded(quietwire(
        &folder,
        &["clean", "./-notes", "-o", "./-out.wav"],
    ));
    let expected = [
        "-a\u{1b}[31m.wav",
        "-notes",
        "-out.wav",
        "-talk.clean.wav",
        "-talk.wav",
    ];
    assert_eq!(folder.list(), expected);
    // An option that does not exist is still called one.
    let output = quietwire(&folder, &["clean", "./-talk.wav", "--atenuation", "3"]);
    assert!(
        stderr(&output).contains("'--attenuation'"),
        "{}",
        stderr(&output)
    );
}

#[cfg(feature = "clean")]
#[test]
fn samples_that_are_not_finite_are_counted_in_the_line_of_the_file() {
    use quietwire_testing::files::{Wav, signal};

    let folder = Folder::new("nan");
    let mut samples = signal(2000);
    samples[500] = f32::NAN;
    samples[700] = f32::NAN;
    let data = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    folder.put("a.wav", &Wav::float(32, 1, data).bytes());
    let text = stderr(&succeeded(quietwire(&folder, &["clean", "a.wav"])));
    assert!(
        text.contains("2 samples not finite (NaN or infinity), cleaned as zero"),
        "{text}"
    );
    let text = stdout(&succeeded(quietwire(&folder, &["info", "a.wav"])));
    assert!(text.contains("not finite   2 samples"), "{text}");
}
