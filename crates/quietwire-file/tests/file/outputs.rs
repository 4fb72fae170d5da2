//! Outputs beside the cleaned audio, and protection of existing files.

use std::fs;
use std::path::Path;

use quietwire::{Denoiser, DenoiserOptions, Model};
use quietwire_file::{CleanJob, FileError, Input, Output, ReportFormat, clean};

use crate::{options, run, sample, samples};
use quietwire_testing::files::{Folder, Wav, data16, signal};

#[test]
fn residual_and_output_add_up_to_the_input() {
    let folder = Folder::new("residual");
    for name in ["office-fan.wav", "street.flac", "telephone.wav"] {
        let file = |what: &str| folder.join(&format!("{what}-{name}"));
        let mut job = CleanJob::new(Input::File(sample(name)), Output::File(file("out")));
        job.residual = Some(file("rest"));
        clean(job, &options(40.0), &mut |_| ()).unwrap();
        let (before, after) = (samples(&sample(name)), samples(&file("out")));
        let rest = samples(&file("rest"));
        assert_eq!(rest.len(), before.len());
        assert!(
            rest.iter().any(|r| *r != 0.0),
            "{name}: the residual is silent"
        );
        let fits = before
            .iter()
            .zip(&after)
            .zip(&rest)
            .all(|((b, a), r)| *b == a + r);
        assert!(fits, "{name}");
    }
}

#[test]
fn telemetry_has_one_line_for_every_hop() {
    let folder = Folder::new("telemetry");
    for name in ["office-fan.wav", "telephone.wav"] {
        let input = Input::File(sample(name));
        let mut job = CleanJob::new(input, Output::File(folder.join(&format!("out-{name}"))));
        let path = folder.join(&format!("{name}.jsonl"));
        job.telemetry = Some(path.clone());
        let cleaned = clean(job, &options(40.0), &mut |_| ()).unwrap();
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let hops = (cleaned.input.seconds * 100.0) as usize;
        assert!(lines.len().abs_diff(hops) <= 4, "{} of {hops}", lines.len());
        let value = |line: &serde_json::Value, key: &str| line[key].as_f64().unwrap();
        for pair in lines.windows(2) {
            let step = value(&pair[1], "time_s") - value(&pair[0], "time_s");
            assert!((0.005..0.02).contains(&step), "{name}: {step} s");
        }
        let share = lines
            .iter()
            .filter(|line| value(line, "speech_probability") > 0.5)
            .count() as f64
            / lines.len() as f64;
        assert!((share - cleaned.speech_share).abs() < 0.02, "{name}");
        // The gain is at most 0 dB or slightly above, and smaller for noise than for speech.
        let gains: Vec<f64> = lines.iter().map(|line| value(line, "gain_db")).collect();
        let lowest = gains.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = gains.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert!(lowest < -15.0 && highest < 3.0 && highest > -6.0, "{name}");
    }
}

#[test]
fn telemetry_equals_that_of_the_stream_at_every_rate() {
    let folder = Folder::new("hops");
    for name in ["office-fan.wav", "street.flac", "telephone.wav"] {
        let path = folder.join(&format!("{name}.jsonl"));
        let output = Output::File(folder.join(&format!("out-{name}")));
        let mut job = CleanJob::new(Input::File(sample(name)), output);
        job.telemetry = Some(path.clone());
        let report = clean(job, &options(40.0), &mut |_| ()).unwrap();

        let mut stream = DenoiserOptions::default();
        stream.rate_hz = Some(report.input.info.rate_hz);
        stream.channels = report.input.info.channels.into();
        stream.telemetry_hops = 10_000;
        let mut denoiser = Denoiser::new(&[Model::embedded("base").unwrap()], &stream).unwrap();
        denoiser
            .process_in_place(&mut samples(&sample(name)))
            .unwrap();
        let expected: Vec<f64> = denoiser
            .drain_telemetry()
            .map(|hop| hop.input_dbfs.into())
            .collect();
        let text = fs::read_to_string(path).unwrap();
        let found = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["input_dbfs"].as_f64().unwrap()
        });
        let found: Vec<f64> = found.collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        let is_same = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-4;
        assert!(found.iter().zip(&expected).all(is_same), "{name}");
    }
}

#[test]
fn reports_hold_the_numbers_and_refer_to_no_other_address() {
    let folder = Folder::new("reports");
    let input = folder.put("<b>&'.wav", &fs::read(sample("office-fan.wav")).unwrap());
    let mut job = CleanJob::new(Input::File(input), Output::File(folder.join("out.wav")));
    job.reports = vec![
        (ReportFormat::Json, folder.join("r.json")),
        (ReportFormat::Html, folder.join("r.html")),
    ];
    job.spectrogram = Some(folder.join("p.png"));
    let cleaned = clean(job, &options(40.0), &mut |_| ()).unwrap();

    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.join("r.json")).unwrap()).unwrap();
    assert_eq!(json["input"]["rate_hz"], 48000);
    assert_eq!(json["output"]["frames"], 427_200);
    assert_eq!(json["model"]["id"], "base");
    assert_eq!(json["model"]["attenuation_db"], 40.0);
    for side in ["input", "output"] {
        for key in [
            "peak_dbfs",
            "rms_dbfs",
            "noise_floor_dbfs",
            "clipped_samples",
            "seconds",
        ] {
            assert!(json[side][key].is_number(), "{side}.{key}");
        }
    }
    assert!(json["speed"].as_f64().unwrap() > 0.0);
    assert!(
        (cleaned.input.levels.rms_dbfs + 27.1).abs() < 0.1,
        "{:?}",
        cleaned.input.levels
    );

    let html = fs::read_to_string(folder.join("r.html")).unwrap();
    assert!(html.contains("<h1>&lt;b&gt;&amp;&#39;.wav</h1>"));
    assert!(!html.contains("<b>&"), "the name is not escaped");
    assert!(!html.contains("http"), "the page refers to another address");
    assert_eq!(html.matches("data:audio/flac;base64,").count(), 2);
    assert_eq!(html.matches("data:image/png;base64,").count(), 1);
    assert!(!html.contains("The players hold the first"));
    assert_eq!(fs::read(folder.join("p.png")).unwrap()[..4], *b"\x89PNG");
}

#[test]
fn the_page_of_a_long_file_states_that_its_players_are_cut() {
    let folder = Folder::new("long");
    let wav = Wav {
        rate_hz: 8000,
        ..Wav::int(16, 1, data16(61 * 8000))
    };
    let input = folder.put("in.wav", &wav.bytes());
    let mut job = CleanJob::new(Input::File(input), Output::File(folder.join("out.wav")));
    job.reports = vec![(ReportFormat::Html, folder.join("r.html"))];
    clean(job, &options(0.0), &mut |_| ()).unwrap();
    let html = fs::read_to_string(folder.join("r.html")).unwrap();
    assert!(html.contains("The players hold the first 60 seconds only."));
}

#[test]
fn clipping_is_counted_before_and_after() {
    let folder = Folder::new("clips");
    let loud = signal(48000)
        .iter()
        .flat_map(|s| (4.0 * s).to_le_bytes())
        .collect();
    let input = folder.put("loud.wav", &Wav::float(32, 1, loud).bytes());
    let output = folder.join("loud.flac");
    let cleaned = run(&input, &output, &options(0.0)).unwrap();
    let beyond = signal(48000)
        .iter()
        .filter(|s| 4.0 * **s * 8_388_608.0 > 8_388_607.5)
        .count()
        + signal(48000).iter().filter(|s| 4.0 * **s < -1.0).count();
    assert!(beyond > 1000);
    assert_eq!(cleaned.output.clipped_samples, beyond as u64);
    assert!(cleaned.input.clipped_samples > beyond as u64 / 2);
    let again = run(&output, &folder.join("again.flac"), &options(0.0)).unwrap();
    assert!(again.input.clipped_samples > beyond as u64 / 2);
    assert_eq!(again.output.clipped_samples, 0);
}

#[test]
fn progress_reaches_the_end() {
    let folder = Folder::new("progress");
    let job = CleanJob::new(
        Input::File(sample("telephone.wav")),
        Output::File(folder.join("out.wav")),
    );
    let mut last = None;
    clean(job, &options(0.0), &mut |progress| last = Some(progress)).unwrap();
    let last = last.unwrap();
    assert_eq!(
        (last.frames, last.total, last.rate_hz),
        (51_200, Some(51_200), 8000)
    );
}

/// A recording that was cut off: its header states more frames than there are.
#[test]
fn progress_reaches_the_end_of_an_input_that_ends_early() {
    let folder = Folder::new("progress-early");
    let bytes = fs::read(sample("street.flac")).unwrap();
    let cut = folder.put("cut.flac", &bytes[..bytes.len() / 2]);
    let job = CleanJob::new(Input::File(cut), Output::File(folder.join("out.wav")));
    let mut seen = Vec::new();
    let report = clean(job, &options(0.0), &mut |progress| seen.push(progress)).unwrap();
    let last = seen.last().unwrap();
    assert!(seen[0].total > Some(report.input.info.frames.unwrap()));
    assert_eq!(Some(last.frames), report.input.info.frames);
    assert_eq!(last.total, Some(last.frames));
}

#[test]
fn no_file_is_overwritten_by_default() {
    let folder = Folder::new("overwrite");
    let input = folder.put("in.wav", &Wav::int(16, 1, data16(1000)).bytes());
    let output = folder.put("out.wav", b"precious");
    let error = run(&input, &output, &options(0.0)).unwrap_err();
    assert!(matches!(error, FileError::Exists { .. }), "{error}");
    // Flags belong to a program, not to a library.
    assert!(!error.to_string().contains("--"), "{error}");
    assert_eq!(fs::read(&output).unwrap(), b"precious");

    let mut options = options(0.0);
    options.overwrite = true;
    let error = run(&input, &input, &options).unwrap_err();
    assert!(matches!(error, FileError::SameFile { .. }), "{error}");
    let mut job = CleanJob::new(
        Input::File(input.clone()),
        Output::File(folder.join("x.wav")),
    );
    job.residual = Some(folder.join("x.wav"));
    let error = clean(job, &options, &mut |_| ()).unwrap_err();
    assert!(
        matches!(error, FileError::DuplicateOutput { .. }),
        "{error}"
    );
    run(&input, &output, &options).unwrap();
    assert!(fs::read(&output).unwrap() == fs::read(&input).unwrap());
    assert_eq!(folder.list(), ["in.wav", "out.wav"]);
}

#[test]
fn an_output_that_cannot_be_made_is_named() {
    let folder = Folder::new("nowhere");
    let input = folder.put("in.wav", &Wav::int(16, 1, data16(1000)).bytes());
    let error = run(&input, &folder.join("none/out.wav"), &options(0.0)).unwrap_err();
    assert!(matches!(&error, FileError::Write { .. }), "{error}");
    assert!(error.to_string().contains("none/out.wav"));
    let error = run(
        Path::new("/nothing.wav"),
        &folder.join("o.wav"),
        &options(0.0),
    )
    .unwrap_err();
    assert!(matches!(error, FileError::Open { .. }), "{error}");
    assert_eq!(folder.list(), ["in.wav"]);
}

#[cfg(unix)]
#[test]
fn outputs_have_the_permissions_and_the_recordings_have_the_times_of_the_input() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, SystemTime};

    let folder = Folder::new("attributes");
    let input = folder.put("in.wav", &Wav::int(16, 1, data16(48_000)).bytes());
    let recorded = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for mode in [0o600, 0o640, 0o644, 0o444] {
        let file = fs::File::options().write(true).open(&input).unwrap();
        file.set_modified(recorded).unwrap();
        fs::set_permissions(&input, fs::Permissions::from_mode(mode)).unwrap();
        let at = |name: &str| folder.join(&format!("{mode:o}.{name}"));
        let mut job = CleanJob::new(Input::File(input.clone()), Output::File(at("wav")));
        job.residual = Some(at("residual.flac"));
        job.spectrogram = Some(at("png"));
        job.telemetry = Some(at("jsonl"));
        job.reports = vec![(ReportFormat::Html, at("html"))];
        let mut options = options(0.0);
        options.overwrite = true;
        let parts = || {
            folder
                .list()
                .into_iter()
                .filter(|name| name.starts_with('.'))
        };
        let mut seen = 0;
        clean(job, &options, &mut |_| {
            for part in parts() {
                let part = fs::metadata(folder.join(&part)).unwrap();
                assert_eq!(part.permissions().mode() & 0o777, 0o600);
                seen += 1;
            }
        })
        .unwrap();
        assert!(seen >= 3);
        for name in ["wav", "residual.flac", "png", "jsonl", "html"] {
            let written = fs::metadata(at(name)).unwrap();
            assert_eq!(written.permissions().mode() & 0o777, mode, "{name}");
            let kept = written.modified().unwrap() == recorded;
            assert_eq!(kept, name == "wav" || name == "residual.flac", "{name}");
        }
        fs::set_permissions(&input, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn names_up_to_the_limit_of_the_file_system_are_written() {
    let folder = Folder::new("longnames");
    let input = folder.put("in.wav", &Wav::int(16, 1, data16(1000)).bytes());
    for bytes in [200, 238, 239, 240, 255] {
        let name = "n".repeat(bytes - 4) + ".wav";
        run(&input, &folder.join(&name), &options(0.0)).unwrap();
        assert_eq!(fs::metadata(folder.join(&name)).unwrap().len(), 2044);
    }
    assert_eq!(folder.list().len(), 6);
    let error = run(&input, &folder.join(&"n".repeat(256)), &options(0.0)).unwrap_err();
    assert!(matches!(error, FileError::Write { .. }), "{error}");
}

#[test]
fn the_file_of_a_killed_run_is_replaced_and_that_of_a_running_one_is_not() {
    let folder = Folder::new("leftover");
    let input = folder.put("in.wav", &Wav::int(16, 1, data16(1000)).bytes());
    let long = "n".repeat(251) + ".wav";
    for name in ["out.wav", long.as_str()] {
        let output = folder.join(name);
        // The temporary name, from a run that is interrupted.
        let mut part = None;
        let job = CleanJob::new(Input::File(input.clone()), Output::File(output.clone()));
        clean(job, &options(0.0), &mut |_| {
            part = folder
                .list()
                .into_iter()
                .find(|name| name.ends_with(".part"));
        })
        .unwrap();
        fs::remove_file(&output).unwrap();

        let part = folder.put(&part.unwrap(), b"half");
        run(&input, &output, &options(0.0)).unwrap();
        assert_eq!(folder.list().len(), 2);
        fs::remove_file(&output).unwrap();

        let other = fs::File::create(&part).unwrap();
        other.lock().unwrap();
        let error = run(&input, &output, &options(0.0)).unwrap_err();
        assert!(matches!(error, FileError::InUse { .. }), "{error}");
        assert!(part.exists());
        drop(other);
        fs::remove_file(part).unwrap();
    }
}

/// Measures the page in Chromium: whether anything but the spectrograms is wider than a phone.
/// Each width is measured with the fonts of this machine and with letters 1 px further apart, which stand for wider
/// fonts, and with a scrollbar, because the frame is shorter than the page.
#[test]
fn the_page_fits_a_phone() {
    use std::process::{Command, Stdio};

    let folder = Folder::new("phone");
    let name = "a_name_without_spaces_that_is_wider_than_the_screen_of_a_phone.wav";
    let input = folder.put(name, &fs::read(sample("office-fan.wav")).unwrap());
    let mut job = CleanJob::new(Input::File(input), Output::File(folder.join("out.wav")));
    job.reports = vec![(ReportFormat::Html, folder.join("r.html"))];
    clean(job, &options(40.0), &mut |_| ()).unwrap();
    let page = fs::read_to_string(folder.join("r.html")).unwrap();
    // A window may have a smallest width, a frame has none.
    let host = format!(
        "<!DOCTYPE html><title></title><body><script>
        const page = {};
        const fits = (e) => e.scrollWidth <= e.clientWidth;
        for (const width of [320, 360, 412, 700, 1200]) for (const spacing of ['0px', '1px']) {{
          const frame = document.createElement('iframe');
          frame.style = `border: 0; height: 600px; width: ${{width}}px`;
          frame.srcdoc = page.replace('</style>', `body {{ letter-spacing: ${{spacing}} }}</style>`);
          frame.onload = () => {{
            const root = frame.contentDocument;
            const table = root.querySelector('table').parentElement;
            const letters = root.querySelector('img').clientWidth / 1256;
            const good = fits(root.documentElement) && fits(table) && letters > 0.5;
            document.title += good ? `${{width}} ${{spacing}} fits, ` : `${{width}} ${{spacing}} does not: `
              + `table ${{table.scrollWidth}} of ${{table.clientWidth}} px, image ${{letters}}, `;
          }};
          document.body.append(frame);
        }}
        </script>",
        serde_json::to_string(&page).unwrap().replace("</", "<\\/")
    );
    let host = folder.put("host.html", host.as_bytes());
    let run = Command::new(std::env::var("CHROMIUM").unwrap_or("chromium".into()))
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg("--virtual-time-budget=10000")
        .arg(format!(
            "--user-data-dir={}",
            folder.join("profile").display()
        ))
        .arg(&host)
        .stderr(Stdio::null())
        .output();
    let Ok(run) = run else {
        assert!(
            std::env::var_os("CI").is_none(),
            "Chromium is not installed"
        );
        eprintln!("SKIPPED: Chromium is not installed: the page was not tested");
        return;
    };
    let dom = String::from_utf8_lossy(&run.stdout);
    let title = dom.split_once("<title>").unwrap().1;
    let title = title.split_once("</title>").unwrap().0;
    for width in [320, 360, 412, 700, 1200] {
        for spacing in ["0px", "1px"] {
            assert!(
                title.contains(&format!("{width} {spacing} fits")),
                "{title}"
            );
        }
    }
}
