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
    let cases: [&[&str]; 17] = [
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
        &["clean", "a.wav", "sub/a.mp3", "-o", "out"],
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
